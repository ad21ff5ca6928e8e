//! SQL statements over tables of one namespace: planned by `dataset::sql`, run here.

use super::database::{Database, Tx};
use super::query;
use super::stage::Stage;
use super::view::View;
use super::write::{self, Goal};
use super::{alter, change};
use crate::dataset::sql::{self, Named, Plan, QueryPlan, Source, Tables};
use crate::dataset::{Assignment, CreateMode, DatasetError, NewValue, Place, SqlRequest, SqlTable, TableAt};
use crate::error_code::RoomCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A statement and what it needs.
pub(super) struct Statement {
    pub place: Place,
    pub request: SqlRequest,
    pub names: Tables,
    /// Where rows that are too many for memory go: the namespace's folder, and a file's name.
    pub dir: PathBuf,
    pub file: String,
}

/// What a statement that writes did: rows, the version that there is now, lines that are no more.
pub(super) struct Done {
    pub rows: u64,
    pub version: Option<(i64, u64)>,
    pub dropped: Vec<i64>,
}

/// The one place that all tables of a request are in.
pub(super) fn place_of(place: &Place, request: &SqlRequest) -> Result<Place, DatasetError> {
    let Some(first) = request.tables.first() else { return Ok(place.clone()) };
    let one = &first.at.place;
    match request.tables.iter().find(|table| table.at.place.namespace != one.namespace) {
        Some(other) => Err(DatasetError::invalid(format!(
            "tables `{}` and `{}` are in different namespaces; one statement reads tables of one namespace",
            first.alias, other.alias
        ))),
        None => Ok(one.clone()),
    }
}

impl Statement {
    pub fn is_query(&self) -> bool {
        self.names.writes.is_empty() && self.names.alters.is_empty()
    }

    /// The table that goes by a name in the statement.
    fn table(&self, tx: &Tx<'_>, name: &Named) -> Result<Option<SqlTable>, DatasetError> {
        if !self.request.tables.is_empty() {
            let aliases: Vec<&str> = self.request.tables.iter().map(|table| table.alias.as_str()).collect();
            let found = name.find(&aliases);
            return Ok(found
                .and_then(|alias| self.request.tables.iter().find(|t| t.alias == alias))
                .cloned());
        }
        let all = tx.tables(&self.place)?;
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        Ok(name.find(&names).map(|name| SqlTable { at: self.at(name), alias: name.to_owned() }))
    }

    fn at(&self, table: &str) -> TableAt {
        TableAt { place: self.place.clone(), table: table.to_owned(), version: None }
    }

    /// Where a table of the plan is.
    fn target(&self, alias: &str) -> TableAt {
        let named = self.request.tables.iter().find(|table| table.alias == alias);
        named.map_or_else(|| self.at(alias), |table| table.at.clone())
    }

    /// Plans it over its tables as they are at this moment.
    fn plan(&self, tx: &Tx<'_>) -> Result<Plan, DatasetError> {
        let mut sources: Vec<Source> = Vec::new();
        for name in self.names.reads.iter().chain(&self.names.writes).chain(&self.names.alters) {
            let Some(table) = self.table(tx, name)? else { continue };
            if sources.iter().any(|source| source.name == table.alias) {
                continue;
            }
            let at = &table.at;
            match View::resolve(tx, at) {
                Ok(view) => {
                    sources.push(Source { name: table.alias, schema: view.schema(), sql: view.select() });
                }
                // A table that is to be made is not there; the plan says what else is missing.
                Err(error) if error.code == RoomCode::NotFound && self.names.alters.contains(name) => {}
                Err(error) => return Err(error),
            }
        }
        sql::plan(&self.request.query, &sources, self.request.params.clone())
    }

    /// Runs a query to its end.
    pub fn query(&self, tx: &Tx<'_>) -> Result<(QueryPlan, Stage), DatasetError> {
        match self.plan(tx)? {
            Plan::Query(plan) => {
                let rows = query::run(tx, &plan, &self.dir, &self.file)?;
                Ok((plan, rows))
            }
            _ => Err(super::error::broken("a query that writes")),
        }
    }

    pub fn execute(&self, tx: &Tx<'_>) -> Result<Done, DatasetError> {
        let done = |(line, written): (i64, crate::dataset::Written)| Done {
            rows: written.rows,
            version: Some((line, written.version)),
            dropped: Vec::new(),
        };
        match self.plan(tx)? {
            Plan::Query(_) => Err(super::error::broken("a statement that only reads")),
            Plan::Insert { table, rows } => {
                let at = self.target(&table);
                let head = tx.head(&at)?;
                let goal = Goal::Insert { line: head.line };
                self.write(tx, &at, &goal, &rows)
            }
            Plan::Update { table, filter, values } => {
                let values = values
                    .into_iter()
                    .map(|(column, text)| Assignment { column, value: NewValue::Expression(text) });
                let values: Vec<Assignment> = values.collect();
                change::update(tx, &self.target(&table), &filter, &values).map(done)
            }
            Plan::Delete { table, filter } => change::delete(tx, &self.target(&table), &filter).map(done),
            Plan::CreateAs { table, replace, if_not_exists, rows } => {
                let mode = match (replace, if_not_exists) {
                    (true, _) => CreateMode::Overwrite,
                    (false, true) => CreateMode::CreateIfNotExists,
                    (false, false) => CreateMode::Create,
                };
                let goal = Goal::Create { mode, metadata: BTreeMap::new() };
                self.write(tx, &self.target(&table), &goal, &rows)
            }
            Plan::Drop { tables, if_exists } => {
                let mut dropped = Vec::new();
                for table in tables {
                    dropped.extend(alter::drop_table(tx, &self.target(&table), if_exists)?);
                }
                Ok(Done { rows: 0, version: None, dropped })
            }
        }
    }

    /// Writes the rows of a query.
    fn write(&self, tx: &Tx<'_>, at: &TableAt, goal: &Goal, rows: &QueryPlan) -> Result<Done, DatasetError> {
        super::catalog::newest_only(at)?;
        let mut stage = tx.bounded(|| query::run(tx, rows, &self.dir, &self.file))?;
        let schema = Some(Arc::clone(&rows.schema));
        let (line, written, dropped) = write::run(tx, at, goal, schema, &mut stage)?;
        Ok(Done {
            rows: written.rows,
            version: Some((line, written.version)),
            dropped: dropped.into_iter().collect(),
        })
    }
}

/// Runs a statement on the namespace's database.
pub(super) async fn run(
    database: Arc<Database>,
    statement: Statement,
) -> Result<crate::dataset::SqlOutcome, DatasetError> {
    if statement.is_query() {
        let (plan, rows) = database.read(move |tx| statement.query(tx)).await?;
        let reader = query::ResultReader::new(database, plan.schema, rows);
        return Ok(crate::dataset::SqlOutcome::Rows(Box::new(reader)));
    }
    let write = move |tx: &Tx<'_>| {
        let done = statement.execute(tx)?;
        Ok(((done.rows, done.dropped), done.version))
    };
    let (rows, dropped) = database.write(write).await?;
    dropped.into_iter().for_each(|line| database.forget(line));
    Ok(crate::dataset::SqlOutcome::Affected(rows))
}

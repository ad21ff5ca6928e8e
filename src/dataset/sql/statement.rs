//! Statements: what they name, and what is to be done for them.

use super::expr::Translator;
use super::params::Params;
use super::query::{Binder, Source, alias_name};
use super::scope::{Scope, same};
use super::select::outputs_of;
use super::text::{self, at};
use crate::dataset::DatasetError;
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use rusqlite::types::Value;
use sqlparser::ast::{
    AssignmentTarget, Delete, Expr, FromTable, Ident, Insert, ObjectName, ObjectNamePart, ObjectType, Query,
    Statement, TableFactor, TableObject, TableWithJoins, Update, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Names of tables in a statement, as they are written there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    pub reads: BTreeSet<Named>,
    pub writes: BTreeSet<Named>,
    /// Tables that it makes or drops.
    pub alters: BTreeSet<Named>,
}

/// A table's name as a statement has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub name: String,
    /// Without quotes it also means the same name in lower case.
    pub quoted: bool,
}

impl Named {
    /// Whether it means the table of this name: exactly, else, without quotes, in lower case.
    #[must_use]
    pub fn find<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let lower = self.name.to_lowercase();
        names
            .iter()
            .find(|n| **n == self.name)
            .or_else(|| names.iter().find(|n| !self.quoted && **n == lower))
            .copied()
    }

    fn of(ident: &Ident) -> Self {
        Self { name: ident.value.clone(), quoted: ident.quote_style.is_some() }
    }
}

/// A query for SQLite.
#[derive(Debug, Clone)]
pub struct QueryPlan {
    /// Reads only; its tables are those of the sources.
    pub sql: String,
    /// The columns that it gives, each in the stored form of its type.
    pub schema: SchemaRef,
    /// Of `?1`, `?2`, …; see [`QueryPlan::bound`].
    pub params: Vec<Value>,
}

impl QueryPlan {
    /// The parameters that the prepared statement has places for: some may be part of its text, or unused.
    pub fn bound(&self, statement: &rusqlite::Statement<'_>) -> &[Value] {
        &self.params[..statement.parameter_count().min(self.params.len())]
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Plan {
    Query(QueryPlan),
    /// The rows of the query go into the table; its columns have the table's names.
    Insert {
        table: String,
        rows: QueryPlan,
    },
    /// `filter` and expressions are SQL over the table's columns, for the methods of the port.
    Update {
        table: String,
        filter: String,
        values: Vec<(String, String)>,
    },
    Delete {
        table: String,
        filter: String,
    },
    /// A new table out of the rows of the query.
    CreateAs {
        table: String,
        replace: bool,
        if_not_exists: bool,
        rows: QueryPlan,
    },
    Drop {
        tables: Vec<String>,
        if_exists: bool,
    },
}

/// Which tables a statement reads, writes, makes and drops: for grants, before anything runs.
pub fn tables_of(text: &str) -> Result<Tables, DatasetError> {
    let statement = text::statement(text)?;
    let mut tables = Tables::default();
    let mut names = Names::default();
    let _ = statement.visit(&mut names);
    tables.reads = names.found;
    match &statement {
        Statement::Query(_) => {}
        Statement::Insert(insert) => {
            let target = inserted(insert)?;
            tables.writes.insert(Named::of(target));
            let mut source = Names::default();
            if let Some(query) = &insert.source {
                let _ = query.visit(&mut source);
            }
            tables.reads = source.found;
        }
        Statement::Update(update) => {
            let (ident, _) = single(std::slice::from_ref(&update.table), "UPDATE")?;
            tables.writes.insert(Named::of(ident));
        }
        Statement::Delete(delete) => {
            let (ident, _) = single(deleted(delete), "DELETE")?;
            tables.writes.insert(Named::of(ident));
        }
        Statement::CreateTable(create) => {
            let ident = last(&create.name)?;
            tables.alters.insert(Named::of(ident));
            let mut source = Names::default();
            if let Some(query) = &create.query {
                let _ = query.visit(&mut source);
            }
            tables.reads = source.found;
        }
        Statement::Drop { object_type: ObjectType::Table, names, .. } => {
            for name in names {
                tables.alters.insert(Named::of(last(name)?));
            }
            tables.reads.clear();
        }
        other => return Err(not_here(other)),
    }
    Ok(tables)
}

/// Names of relations, but for those that WITH gives.
#[derive(Default)]
struct Names {
    found: BTreeSet<Named>,
    given: Vec<Vec<String>>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let given = query.with.iter().flat_map(|with| &with.cte_tables);
        self.given.push(given.map(|table| alias_name(&table.alias.name)).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.given.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let Some(ObjectNamePart::Identifier(ident)) = relation.0.last() {
            // a name that WITH gives may also be a table's before it is given: both count as read then
            let given = self.given.iter().flatten().filter(|name| same(ident, name)).count();
            if given == 0 {
                self.found.insert(Named::of(ident));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Plans one statement over the tables it may name.
pub fn plan(text: &str, sources: &[Source], params: Option<RecordBatch>) -> Result<Plan, DatasetError> {
    let statement = text::statement(text)?;
    let params = Params::new(params)?;
    match statement {
        Statement::Query(query) => Ok(Plan::Query(query_plan(&query, sources, &params)?)),
        Statement::Insert(insert) => plan_insert(&insert, sources, &params),
        Statement::Update(update) => plan_update(update, sources, &params),
        Statement::Delete(delete) => plan_delete(delete, sources, &params),
        Statement::CreateTable(create) => {
            let ident = last(&create.name)?;
            let Some(query) = &create.query else {
                return Err(at(
                    ident.span.start,
                    "CREATE TABLE takes AS SELECT here; dataset.create_table makes an empty table",
                ));
            };
            let table = match sources.iter().find(|s| same(ident, &s.name)) {
                Some(known) => known.name.clone(),
                None => alias_name(ident),
            };
            let rows = query_plan(query, sources, &params)?;
            Ok(Plan::CreateAs {
                table,
                replace: create.or_replace,
                if_not_exists: create.if_not_exists,
                rows,
            })
        }
        Statement::Drop { object_type: ObjectType::Table, if_exists, names, .. } => {
            let mut tables = Vec::with_capacity(names.len());
            for name in &names {
                let ident = last(name)?;
                tables.push(
                    sources
                        .iter()
                        .find(|s| same(ident, &s.name))
                        .map_or_else(|| alias_name(ident), |s| s.name.clone()),
                );
            }
            Ok(Plan::Drop { tables, if_exists })
        }
        other => Err(not_here(&other)),
    }
}

fn not_here(statement: &Statement) -> DatasetError {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    let instead = match words.first().map(|w| w.to_uppercase()).as_deref() {
        Some("ALTER") => "dataset.add_columns, drop_columns and rename_table change tables",
        Some("TRUNCATE") => "DELETE FROM table removes all rows",
        Some("MERGE") => "dataset.merge adds and replaces rows",
        Some("CREATE") => "CREATE TABLE … AS SELECT is possible, and dataset.create_index makes indexes",
        Some("DROP") => "DROP TABLE is possible, and dataset.drop_index removes indexes",
        Some("EXPLAIN" | "ANALYZE") => "plans are not shown",
        _ => "there are SELECT, INSERT, UPDATE, DELETE, CREATE TABLE AS and DROP TABLE",
    };
    DatasetError::invalid(format!("SQL: {} is not possible here; {instead}", words.join(" ")))
}

fn query_plan(query: &Query, sources: &[Source], params: &Params) -> Result<QueryPlan, DatasetError> {
    let binder = Binder::new(sources);
    let mut translator = Translator::for_query(&binder, params);
    let bound = binder.query(&mut translator, &Scope::default(), query)?;
    let schema = Arc::new(Schema::new(outputs_of(&bound.outputs).collect::<Vec<_>>()));
    Ok(QueryPlan { sql: bound.sql, schema, params: params.values()? })
}

fn last(name: &ObjectName) -> Result<&Ident, DatasetError> {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => Ok(ident),
        _ => Err(DatasetError::invalid(format!("SQL: `{name}` is not the name of a table"))),
    }
}

fn inserted(insert: &Insert) -> Result<&Ident, DatasetError> {
    match &insert.table {
        TableObject::TableName(name) => last(name),
        _ => Err(DatasetError::invalid("SQL: INSERT INTO takes the name of a table")),
    }
}

fn deleted(delete: &Delete) -> &[TableWithJoins] {
    match &delete.from {
        FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => tables,
    }
}

/// The one table, and the name that it has in the statement.
fn single<'t>(tables: &'t [TableWithJoins], what: &str) -> Result<(&'t Ident, String), DatasetError> {
    match tables {
        [TableWithJoins { relation: TableFactor::Table { name, alias, args: None, .. }, joins }]
            if joins.is_empty() =>
        {
            let ident = last(name)?;
            Ok((ident, alias.as_ref().map_or_else(|| ident.value.clone(), |a| a.name.value.clone())))
        }
        _ => Err(DatasetError::invalid(format!("SQL: {what} is of one table here"))),
    }
}

fn known<'s>(ident: &Ident, sources: &'s [Source]) -> Result<&'s Source, DatasetError> {
    let found = sources.iter().find(|s| s.name == ident.value);
    found.or_else(|| sources.iter().find(|s| same(ident, &s.name))).ok_or_else(|| {
        let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
        let hint = super::scope::hint(&ident.value, &names);
        at(ident.span.start, format!("there is no table `{}`{hint}", ident.value))
    })
}

fn plan_insert(insert: &Insert, sources: &[Source], params: &Params) -> Result<Plan, DatasetError> {
    let ident = inserted(insert)?;
    let here = ident.span.start;
    let extra = insert.on.is_some()
        || insert.or.is_some()
        || insert.ignore
        || insert.replace_into
        || insert.overwrite;
    if extra || insert.returning.is_some() || insert.partitioned.is_some() {
        return Err(at(here, "INSERT only adds rows here; dataset.merge adds and replaces"));
    }
    let table = known(ident, sources)?;
    let Some(query) = &insert.source else {
        return Err(at(here, "INSERT wants VALUES or a SELECT"));
    };
    let fields = table.schema.fields();
    let mut targets = Vec::new();
    for name in &insert.columns {
        let column = last(name)?;
        let field = fields.iter().find(|f| *f.name() == column.value);
        let field = field.or_else(|| fields.iter().find(|f| same(column, f.name())));
        targets.push(Arc::clone(field.ok_or_else(|| Scope::of_schema(&table.schema).unknown(column))?));
    }
    if targets.is_empty() {
        targets = fields.iter().cloned().collect();
    }
    let binder = Binder::new(sources);
    let mut translator = Translator::for_query(&binder, params);
    let bound = binder.query(&mut translator, &Scope::default(), query)?;
    if bound.outputs.len() != targets.len() {
        return Err(at(
            here,
            format!("{} columns are to be filled and {} come", targets.len(), bound.outputs.len()),
        ));
    }
    let mut printed = Vec::with_capacity(targets.len());
    for (index, (output, target)) in bound.outputs.iter().zip(&targets).enumerate() {
        let column = super::query::column(index);
        let typed = super::typed::Typed { sql: column.clone(), constant: None, ..output.typed.clone() };
        printed.push(format!("{} AS {column}", translator.assign(typed, target)?.sql));
    }
    let sql = format!("SELECT {} FROM ({})", printed.join(", "), bound.sql);
    let nullable = targets.iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    Ok(Plan::Insert { table: table.name.clone(), rows: QueryPlan { sql, schema, params: params.values()? } })
}

fn plan_update(mut update: Update, sources: &[Source], params: &Params) -> Result<Plan, DatasetError> {
    let (ident, alias) = single(std::slice::from_ref(&update.table), "UPDATE")?;
    let here = ident.span.start;
    let table = known(ident, sources)?.clone();
    if update.from.is_some() || update.returning.is_some() || update.limit.is_some() || update.or.is_some() {
        return Err(at(here, "UPDATE takes SET and WHERE here"));
    }
    let mut values = Vec::with_capacity(update.assignments.len());
    for assignment in &mut update.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(at(here, "SET takes one column at a time"));
        };
        let column = last(name)?.clone();
        let fields = table.schema.fields();
        let field = fields.iter().find(|f| *f.name() == column.value);
        let field = field.or_else(|| fields.iter().find(|f| same(&column, f.name())));
        let field = field.ok_or_else(|| Scope::of_schema(&table.schema).unknown(&column))?;
        let text = row_text(&mut assignment.value, &alias, params)?;
        super::expression_for(&table.schema, &text, field)?;
        values.push((field.name().clone(), text));
    }
    let filter = filter_text(update.selection.as_mut(), &table, &alias, params)?;
    Ok(Plan::Update { table: table.name, filter, values })
}

fn plan_delete(mut delete: Delete, sources: &[Source], params: &Params) -> Result<Plan, DatasetError> {
    let (ident, alias) = single(deleted(&delete), "DELETE")?;
    let here = ident.span.start;
    let table = known(ident, sources)?.clone();
    if delete.using.is_some() || delete.returning.is_some() || delete.limit.is_some() {
        return Err(at(here, "DELETE takes FROM and WHERE here"));
    }
    let filter = filter_text(delete.selection.as_mut(), &table, &alias, params)?;
    Ok(Plan::Delete { table: table.name, filter })
}

fn filter_text(
    selection: Option<&mut Expr>,
    table: &Source,
    alias: &str,
    params: &Params,
) -> Result<String, DatasetError> {
    let Some(selection) = selection else { return Ok("TRUE".to_owned()) };
    // places of errors are those of the user's text while it is still the user's
    let translator = &mut Translator::for_row_with(params);
    let mut scope = Scope::of_schema(&table.schema);
    for column in &mut scope.columns {
        column.relation = Some(alias.to_owned());
    }
    let typed = translator.expr(&scope, selection)?;
    translator.boolean(typed)?;
    row_text(selection, alias, params)
}

/// An expression over one row as text for the methods of the port: without the table's name, values for parameters.
fn row_text(expr: &mut Expr, alias: &str, params: &Params) -> Result<String, DatasetError> {
    let mut rewrite = Rewrite { alias, params, failed: None };
    let _ = VisitMut::visit(expr, &mut rewrite);
    match rewrite.failed {
        Some(error) => Err(error),
        None => Ok(expr.to_string()),
    }
}

struct Rewrite<'a> {
    alias: &'a str,
    params: &'a Params,
    failed: Option<DatasetError>,
}

impl Rewrite<'_> {
    fn raw(&mut self, value: &ValueWithSpan) -> Result<Option<String>, DatasetError> {
        use sqlparser::ast::Value as V;
        Ok(match &value.value {
            V::Placeholder(name) => Some(self.params.literal(name, value.span.start)?),
            V::SingleQuotedString(text)
            | V::EscapedStringLiteral(text)
            | V::UnicodeStringLiteral(text)
            | V::NationalStringLiteral(text)
            | V::SingleQuotedRawStringLiteral(text) => Some(super::typed::string(text)),
            V::DollarQuotedString(text) => Some(super::typed::string(&text.value)),
            _ => None,
        })
    }
}

impl VisitorMut for Rewrite<'_> {
    type Break = ();

    /// The tree's own printer does not escape strings in every case, so they are put in as printed text.
    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        match self.raw(value) {
            Ok(Some(text)) => value.value = sqlparser::ast::Value::Number(text, false),
            Ok(None) => {}
            Err(error) => {
                self.failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(idents) = expr {
            if idents.len() > 1 && same(&idents[0], self.alias) {
                idents.remove(0);
            }
            idents.iter_mut().for_each(print);
            if let [one] = idents.as_slice() {
                *expr = Expr::Identifier(one.clone());
            }
        } else if let Expr::Identifier(ident) = expr {
            print(ident);
        }
        ControlFlow::Continue(())
    }
}

fn print(ident: &mut Ident) {
    if ident.quote_style.take().is_some() {
        ident.value = super::typed::identifier(&ident.value);
    }
}

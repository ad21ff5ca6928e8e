//! Rows on their way into a table: kept aside in a temporary table, and written in one transaction at the end.

use super::error::SqliteError;
use super::handles::{self, Handle};
use super::names::DatabaseAt;
use super::tables::{change, check_name, exists, must_exist, no_column, schema};
use super::{Mode, SqliteDatabases, decl, literal, values};
use crate::columnar::typed;
use crate::error_code::RoomCode;
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use rusqlite::{Connection, params_from_iter};
use std::fmt;
use std::sync::Arc;

/// The temporary table.
const ASIDE: &str = "temp.\"ma aside\"";

/// What becomes of the rows.
#[derive(Debug, Clone)]
enum Target {
    Insert,
    Create { mode: Mode, schema: Option<SchemaRef> },
}

/// Rows on their way into a table. Dropped before [`RowWriter::commit`], it leaves nothing behind.
pub struct RowWriter {
    handle: Option<Handle>,
    table: String,
    target: Target,
    /// Columns of the rows, once some came.
    columns: Option<Vec<String>>,
    /// The table is there and stays as it is; the rows are dropped.
    ignored: bool,
}

impl fmt::Debug for RowWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowWriter").field("table", &self.table).finish_non_exhaustive()
    }
}

impl SqliteDatabases {
    /// Begins a new table. Without a schema it takes that of the first rows.
    pub async fn create_table(
        &self,
        at: &DatabaseAt,
        table: &str,
        mode: Mode,
        schema: Option<SchemaRef>,
    ) -> Result<RowWriter, SqliteError> {
        check_name("table", table)?;
        let name = table.to_owned();
        let found = self.run(at, move |handle| exists(handle.connection()?, &name)).await?;
        if found && mode == Mode::Create {
            return Err(table_exists(table));
        }
        let mut writer = self.write(at, table, Target::Create { mode, schema }).await?;
        writer.ignored = found && mode == Mode::CreateIfNotExists;
        Ok(writer)
    }

    /// Begins to add rows.
    pub async fn insert(&self, at: &DatabaseAt, table: &str) -> Result<RowWriter, SqliteError> {
        let name = table.to_owned();
        self.run(at, move |handle| must_exist(handle.connection()?, &name)).await?;
        self.write(at, table, Target::Insert).await
    }

    async fn write(&self, at: &DatabaseAt, table: &str, target: Target) -> Result<RowWriter, SqliteError> {
        let handle = self.handle(at).await?;
        let table = table.to_owned();
        Ok(RowWriter { handle: Some(handle), table, target, columns: None, ignored: false })
    }
}

impl RowWriter {
    /// Adds rows. Columns go by name; a column that is not named has its default.
    pub async fn push(&mut self, batch: RecordBatch) -> Result<(), SqliteError> {
        if self.ignored || batch.num_columns() == 0 {
            return Ok(());
        }
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let first = self.columns.is_none();
        match &self.columns {
            Some(columns) if *columns != names => {
                return Err(SqliteError::invalid(format!(
                    "the columns changed between blocks: {} came first, then {}",
                    columns.join(", "),
                    names.join(", ")
                )));
            }
            _ => self.columns = Some(names),
        }
        if let Target::Create { schema, .. } = &mut self.target {
            schema.get_or_insert_with(|| batch.schema());
        }
        let (table, inserts) = (self.table.clone(), matches!(self.target, Target::Insert));
        self.work(move |handle| {
            let connection = handle.connection()?;
            if first && inserts {
                let known = schema(connection, &table)?;
                let unknown =
                    |field: &&Arc<arrow_schema::Field>| known.field_with_name(field.name()).is_err();
                if let Some(field) = batch.schema().fields().iter().find(unknown) {
                    return Err(no_column(&known, field.name()));
                }
            }
            aside(connection, &batch, first)
        })
        .await
    }

    /// Writes all of it; it is durable as the database is when this returns.
    pub async fn commit(mut self) -> Result<u64, SqliteError> {
        if self.ignored {
            return Ok(0);
        }
        let (table, target, columns) = (self.table.clone(), self.target.clone(), self.columns.take());
        self.work(move |handle| {
            handle.transaction(|connection| {
                if let Target::Create { mode, schema } = target {
                    create(connection, &table, mode, schema.as_deref())?;
                }
                let Some(columns) = columns else { return Ok(0) };
                let names: Vec<String> = columns.iter().map(|name| literal::name(name)).collect();
                let places: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
                let sql = format!(
                    "INSERT INTO main.{} ({}) SELECT {} FROM {ASIDE} ORDER BY rowid",
                    literal::name(&table),
                    names.join(", "),
                    places.join(", "),
                );
                let rows = connection.execute(&sql, []).map_err(|error| SqliteError::of(&error, ""))?;
                change(connection, &format!("DROP TABLE {ASIDE}"))?;
                Ok(rows as u64)
            })
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Handle) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let Some(handle) = self.handle.take() else {
            return Err(SqliteError::failed("the write was interrupted; begin it again"));
        };
        let (handle, result) = handles::work(handle, work).await;
        self.handle = handle;
        result
    }
}

impl Drop for RowWriter {
    fn drop(&mut self) {
        // The connection goes back only without the rows that were kept aside.
        let Some(mut handle) = self.handle.take() else { return };
        let mut clean = move || {
            if let Ok(connection) = handle.connection()
                && change(connection, &format!("DROP TABLE IF EXISTS {ASIDE}")).is_err()
            {
                tracing::warn!("rows that were not written remain in a temporary table");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(clean)),
            Err(_) => clean(),
        }
    }
}

fn aside(connection: &mut Connection, batch: &RecordBatch, first: bool) -> Result<(), SqliteError> {
    let ours = |error: rusqlite::Error| SqliteError::of(&error, "");
    let places: Vec<String> = (0..batch.num_columns()).map(|n| format!("c{n}")).collect();
    if first {
        change(connection, &format!("CREATE TEMP TABLE {} ({})", "\"ma aside\"", places.join(", ")))?;
    }
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, array)| typed::values(field, array)).collect::<Result<Vec<_>, _>>()?;
    // Without a transaction every row would be one.
    change(connection, "BEGIN")?;
    let marks = vec!["?"; places.len()].join(", ");
    let insert = || {
        let mut statement = connection.prepare(&format!("INSERT INTO {ASIDE} VALUES ({marks})"))?;
        for row in 0..batch.num_rows() {
            statement.execute(params_from_iter(columns.iter().map(|column| values::store(&column[row]))))?;
        }
        Ok(())
    };
    let inserted = insert().map_err(ours);
    change(connection, if inserted.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    inserted
}

fn create(
    connection: &Connection,
    table: &str,
    mode: Mode,
    columns: Option<&Schema>,
) -> Result<(), SqliteError> {
    let Some(columns) = columns.filter(|schema| !schema.fields().is_empty()) else {
        return Err(SqliteError::invalid(format!(
            "table `{table}` would have no columns: send an Arrow schema, or rows"
        )));
    };
    if exists(connection, table)? {
        match mode {
            Mode::Overwrite => change(connection, &format!("DROP TABLE {}", literal::name(table)))?,
            Mode::Create | Mode::CreateIfNotExists => return Err(table_exists(table)),
        }
    }
    let mut parts = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        check_name("column", field.name())?;
        let null = if field.is_nullable() { "" } else { " NOT NULL" };
        parts.push(format!("{} {}{null}", literal::name(field.name()), decl::declare(field)?));
    }
    change(connection, &format!("CREATE TABLE {} ({})", literal::name(table), parts.join(", ")))
}

fn table_exists(table: &str) -> SqliteError {
    let text = format!("table `{table}` exists; choose another name, or mode `overwrite`");
    SqliteError::new(RoomCode::AlreadyExists, text)
}

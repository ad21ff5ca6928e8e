//! `sqlite`: SQLite databases of the room (room protocol §3.9). The clients are strict: an answer has the keys that
//! stand here and no others.
//!
//! Grants per database and table were checked before a tool runs; those of what SQL touches are asked by the engine,
//! through [`grants`].

mod args;
mod databases;
mod grants;
mod rows;
mod sql;
mod transfer;

use super::tables::{Cursors, Rows};
use crate::clock::IdSource;
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::sqlite_db::{SqlRows, SqliteDatabases, SqliteError};
use crate::wire::Content;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;

/// The toolkit.
#[derive(Debug)]
pub struct Sqlite {
    databases: Arc<SqliteDatabases>,
    cursors: Cursors,
    info: ToolkitInfo,
}

impl Sqlite {
    pub fn new(databases: Arc<SqliteDatabases>, ids: Arc<dyn IdSource>) -> Self {
        let info = ToolkitInfo {
            name: "sqlite",
            title: "SQLite databases",
            description: "SQLite databases of this room: SQL, tables, and whole files up and down.",
            tools: [database_tools(), table_tools(), sql_tools()].into_iter().flatten().collect(),
        };
        Self { databases, cursors: Cursors::new(ids), info }
    }
}

fn database_tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    let stream = |name, text| ToolInfo::stream(name, Takes::Stream, text);
    vec![
        ToolInfo::unary::<args::In>("list_databases", &json, "Lists the databases of a namespace."),
        ToolInfo::unary::<args::Settings>("create_database", &empty, "Makes a database."),
        ToolInfo::unary::<args::Database>("get_database_settings", &json, "Tells how durable a database is."),
        ToolInfo::unary::<args::Settings>("update_database_settings", &json, "Changes how durable it is."),
        ToolInfo::unary::<args::Database>("flush_database", &json, "Writes everything to the disk."),
        ToolInfo::unary::<args::DropDatabase>("drop_database", &empty, "Deletes a database."),
        ToolInfo::unary::<args::Database>("inspect_database", &json, "Tells how large a database is."),
        stream("backup", "Gives a consistent copy of a database as a file."),
        stream("restore", "Makes a new database from a file."),
    ]
}

fn table_tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    let stream = |name, text| ToolInfo::stream(name, Takes::Stream, text);
    let unary = |name, text| ToolInfo::stream(name, Takes::Unary, text);
    vec![
        ToolInfo::unary::<args::Tables>("list_tables", &json, "Lists the tables and views of a database."),
        stream("create_table", "Makes a table from an Arrow schema, from rows, or from both."),
        ToolInfo::unary::<args::NamedTable>("drop_table", &empty, "Deletes a table or view."),
        ToolInfo::unary::<args::RenameTable>("rename_table", &empty, "Renames a table."),
        unary("inspect", "Gives the Arrow schema of a table."),
        unary("add_columns", "Adds the columns of an Arrow schema, null in every row."),
        ToolInfo::unary::<args::DropColumns>("drop_columns", &empty, "Drops columns."),
        stream("insert", "Adds rows to a table."),
        ToolInfo::unary::<args::Update>(
            "update",
            &json,
            "Sets columns of the rows that a condition selects.",
        ),
        ToolInfo::unary::<args::Delete>("delete", &json, "Deletes the rows that a condition selects."),
        stream("search", "Reads rows of a table."),
        ToolInfo::unary::<args::Search>("count", &json, "Counts rows of a table."),
    ]
}

fn sql_tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    let unary = |name, text| ToolInfo::stream(name, Takes::Unary, text);
    vec![
        unary("execute_sql", "Runs one SQL statement; rows are read with `read_sql_query`."),
        unary("open_sql_query", "Runs one SQL query; its rows are read with `read_sql_query`."),
        unary("execute_sql_statement", "Runs one SQL statement that gives no rows."),
        ToolInfo::unary::<args::Batch>(
            "execute_sql_batch",
            &json,
            "Runs SQL statements in order, as one transaction.",
        ),
        ToolInfo::stream("read_sql_query", Takes::Stream, "Reads the rows of an open query."),
        ToolInfo::unary::<args::Query>("close_sql_query", &empty, "Closes an open query."),
        ToolInfo::unary::<args::Query>("cancel_sql_query", &json, "Cancels an open query."),
    ]
}

#[async_trait]
impl Toolkit for Sqlite {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "create_table" => self.create_table(call).await,
            "insert" => self.insert(call).await,
            "update" => self.update(call).await,
            "delete" => self.delete(call).await,
            "search" => self.search(call).await,
            "count" => self.count(call).await,
            "execute_sql" | "open_sql_query" | "execute_sql_statement" => self.sql(call).await,
            "execute_sql_batch" => self.batch(call).await,
            "read_sql_query" => self.read_query(call).await,
            "close_sql_query" => {
                let args: args::Query = call.args()?;
                self.cursors.close(&call.caller, &args.query_id);
                Ok(Content::Empty)
            }
            "cancel_sql_query" => {
                let args: args::Query = call.args()?;
                Ok(Content::Json(json!({"status": self.cursors.cancel(&call.caller, &args.query_id)})))
            }
            "backup" => self.backup(call).await,
            "restore" => self.restore(call).await,
            "drop_table" | "rename_table" | "add_columns" | "drop_columns" | "inspect" | "list_tables" => {
                self.tables(call).await
            }
            _ => self.administer(call).await,
        }
    }
}

/// Rows of a database as a stream out.
struct DatabaseRows(SqlRows);

#[async_trait]
impl Rows for DatabaseRows {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, ToolError> {
        Ok(self.0.next().await?)
    }
}

impl From<SqliteError> for ToolError {
    fn from(error: SqliteError) -> Self {
        Self::new(error.code, error.text)
    }
}

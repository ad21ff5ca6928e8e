//! `dataset`: tables with Arrow schemas, versions and branches (room protocol §3.8).
//!
//! Bulk data are Arrow IPC streams. Grants per table were checked before a tool runs; those of the tables that an SQL
//! statement names are checked here, before the statement runs. Knows the port, never its adapters.

mod admin;
mod args;
mod rows;
mod sql;
mod storage;
mod watch;

use super::tables::{Cursors, Rows};
use crate::blob::Blobs;
use crate::clock::IdSource;
use crate::columnar::ipc;
use crate::dataset::{DatasetError, DatasetStore, TableReader};
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::wire::Content;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The toolkit.
#[derive(Debug)]
pub struct Dataset {
    store: Arc<dyn DatasetStore>,
    files: Blobs,
    cursors: Cursors,
    /// Where files are put by while they are imported.
    folder: PathBuf,
    imports: Semaphore,
    info: ToolkitInfo,
}

impl Dataset {
    /// `files` are what `import_storage` and `export_storage` read and write; `folder` is where those that cannot be
    /// read in one go are put by.
    pub fn new(store: Arc<dyn DatasetStore>, files: Blobs, ids: Arc<dyn IdSource>, folder: PathBuf) -> Self {
        let info = ToolkitInfo {
            name: "dataset",
            title: "Datasets",
            description: "Tables of this room with Arrow schemas, full-text and vector search, versions and branches.",
            tools: [row_tools(), table_tools(), version_tools()].into_iter().flatten().collect(),
        };
        let imports = Semaphore::new(storage::IMPORTS_MAX);
        Self { store, files, cursors: Cursors::new(ids), folder, imports, info }
    }
}

fn row_tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    let stream = |name, text| ToolInfo::stream(name, Takes::Stream, text);
    let unary = |name, text| ToolInfo::stream(name, Takes::Unary, text);
    vec![
        stream("create_table", "Makes a table from an Arrow schema, from rows, or from both."),
        stream("insert", "Adds rows to a table."),
        stream("merge", "Replaces the rows with the same key and adds the others."),
        ToolInfo::unary::<args::Update>(
            "update",
            &empty,
            "Sets columns of the rows that a condition selects.",
        ),
        ToolInfo::unary::<args::Delete>("delete", &empty, "Deletes the rows that a condition selects."),
        stream("search", "Reads rows: by condition, by text, by vector."),
        ToolInfo::unary::<args::Search>("count", &json, "Counts the rows that a search would give."),
        unary("execute_sql", "Runs one SQL statement; rows are read with `read_sql_query`."),
        unary("open_sql_query", "Runs one SQL query; its rows are read with `read_sql_query`."),
        unary("execute_sql_statement", "Runs one SQL statement that gives no rows."),
        stream("read_sql_query", "Reads the rows of an open query."),
        ToolInfo::unary::<args::Query>("close_sql_query", &empty, "Closes an open query."),
        ToolInfo::unary::<args::Query>("cancel_sql_query", &json, "Cancels an open query."),
        stream("watch_table", "Gives the rows of a table, then every change of them.").waiting(),
        ToolInfo::unary::<args::Import>("import_storage", &json, "Reads a file of the room into a table."),
        ToolInfo::unary::<args::Export>("export_storage", &json, "Writes a table into a file of the room."),
    ]
}

fn table_tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    let unary = |name, text| ToolInfo::stream(name, Takes::Unary, text);
    vec![
        ToolInfo::unary::<args::In>("list_tables", &json, "Lists the tables of a namespace."),
        unary("inspect", "Gives the Arrow schema of a table."),
        ToolInfo::unary::<args::DropTable>("drop_table", &empty, "Deletes a table with its history."),
        ToolInfo::unary::<args::RenameTable>("rename_table", &empty, "Renames a table."),
        unary("add_columns", "Adds columns: empty ones of an Arrow schema, or SQL over the row."),
        ToolInfo::unary::<args::DropColumns>("drop_columns", &empty, "Drops columns."),
        ToolInfo::unary::<args::ColumnMetadata>(
            "update_column_metadata",
            &empty,
            "Replaces the metadata of a column's field.",
        ),
        ToolInfo::unary::<args::CreateIndex>("create_index", &empty, "Makes an index."),
        ToolInfo::unary::<args::Table>("list_indexes", &json, "Lists the indexes of a table."),
        ToolInfo::unary::<args::TableAndName>("drop_index", &empty, "Drops an index."),
        ToolInfo::unary::<args::Table>("stats", &json, "Tells how large a table is."),
    ]
}

fn version_tools() -> Vec<ToolInfo> {
    let (json, empty) = (["json"], ["empty"]);
    vec![
        ToolInfo::unary::<args::Optimize>("optimize", &json, "Compacts a table and forgets old versions."),
        ToolInfo::unary::<args::Restore>("restore", &empty, "Makes an old version the newest."),
        ToolInfo::unary::<args::Table>("list_versions", &json, "Lists the versions of a table."),
        ToolInfo::unary::<args::Branches>("list_branches", &json, "Lists the branches of a namespace."),
        ToolInfo::unary::<args::Branch>("create_branch", &empty, "Makes a branch of a namespace."),
        ToolInfo::unary::<args::Branch>("delete_branch", &empty, "Deletes a branch."),
    ]
}

#[async_trait]
impl Toolkit for Dataset {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "create_table" => self.create_table(call).await,
            "insert" => self.insert(call).await,
            "merge" => self.merge(call).await,
            "update" => self.update(call).await,
            "delete" => self.delete(call).await,
            "search" => self.search(call).await,
            "count" => self.count(call).await,
            "execute_sql" | "open_sql_query" | "execute_sql_statement" => self.sql(call).await,
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
            "watch_table" => self.watch(call).await,
            "import_storage" => self.import(call).await,
            "export_storage" => self.export(call).await,
            _ => self.administer(call).await,
        }
    }
}

/// Headers of a block of rows.
fn data_header() -> Value {
    json!({"kind": "data", "content_type": ipc::MIME_TYPE})
}

/// Rows of the store as a stream out.
struct StoreRows(Box<dyn TableReader>);

#[async_trait]
impl Rows for StoreRows {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, ToolError> {
        Ok(self.0.next().await?)
    }
}

impl From<DatasetError> for ToolError {
    fn from(error: DatasetError) -> Self {
        Self::new(error.code, error.text)
    }
}

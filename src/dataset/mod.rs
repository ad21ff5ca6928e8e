//! Datasets of a room: the port. Tables with an Arrow schema, in namespaces, with versions and branches.
//!
//! A version is one committed change of a table, numbered from 1. A branch is of a namespace: it starts as all tables
//! of its parent as they were, and goes its own way. What a method has acknowledged is on disk.
//!
//! Knows nothing of sockets, streams of the room protocol or grants.

pub mod search;
pub mod sql;
pub mod sqlite;
pub mod types;

pub use sqlite::SqliteDatasets;
pub use types::{
    AddColumns, Assignment, BranchInfo, CreateMode, DatasetError, IndexConfig, IndexInfo, NewValue,
    OptimizeConfig, OptimizeReport, Place, Search, SqlOutcome, SqlRequest, SqlTable, TableAt, TableStats,
    VersionInfo, WriteKind, Written,
};

use crate::id::RoomId;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;

/// The datasets of all rooms.
#[async_trait]
pub trait DatasetStore: Send + Sync + fmt::Debug + 'static {
    /// Names in order.
    async fn list_tables(&self, place: &Place) -> Result<Vec<String>, DatasetError>;
    async fn schema(&self, at: &TableAt) -> Result<SchemaRef, DatasetError>;

    /// Begins a write of one version: a new table, rows added, or rows merged. Nothing is seen of it before
    /// [`TableWriter::commit`]; dropped before that, it leaves nothing behind.
    async fn write(&self, at: &TableAt, kind: WriteKind) -> Result<Box<dyn TableWriter>, DatasetError>;
    /// Sets columns of the rows that `filter` (SQL) selects.
    async fn update(
        &self,
        at: &TableAt,
        filter: &str,
        values: Vec<Assignment>,
    ) -> Result<Written, DatasetError>;
    async fn delete(&self, at: &TableAt, filter: &str) -> Result<Written, DatasetError>;

    /// Reads rows, from the version that was current when it was called.
    async fn search(&self, at: &TableAt, search: Search) -> Result<Box<dyn TableReader>, DatasetError>;
    async fn count(&self, at: &TableAt, search: Search) -> Result<u64, DatasetError>;
    /// Runs one SQL statement over the named tables. Rows of a query are of one moment.
    async fn sql(&self, place: &Place, request: SqlRequest) -> Result<SqlOutcome, DatasetError>;

    async fn drop_table(&self, at: &TableAt, ignore_missing: bool) -> Result<(), DatasetError>;
    async fn rename_table(&self, at: &TableAt, new_name: &str) -> Result<(), DatasetError>;
    async fn add_columns(&self, at: &TableAt, columns: AddColumns) -> Result<(), DatasetError>;
    async fn drop_columns(&self, at: &TableAt, columns: &[String]) -> Result<(), DatasetError>;
    async fn set_column_metadata(
        &self,
        at: &TableAt,
        column: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), DatasetError>;

    /// Oldest first.
    async fn versions(&self, at: &TableAt) -> Result<Vec<VersionInfo>, DatasetError>;
    /// Makes the rows of `version` the newest version.
    async fn restore(&self, at: &TableAt, version: u64) -> Result<Written, DatasetError>;
    /// The rows that versions after `from` up to `to` added (`+`) and removed (`-`), in that order.
    async fn changes(
        &self,
        at: &TableAt,
        from: u64,
        to: u64,
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), DatasetError>;
    /// Follows the newest version of a table.
    async fn watch(&self, at: &TableAt) -> Result<tokio::sync::watch::Receiver<u64>, DatasetError>;

    async fn tag(&self, at: &TableAt, tag: &str, version: u64) -> Result<(), DatasetError>;
    async fn untag(&self, at: &TableAt, tag: &str) -> Result<(), DatasetError>;
    async fn tags(&self, at: &TableAt) -> Result<BTreeMap<String, u64>, DatasetError>;

    /// Branches of the namespace of `place`; its branch plays no part.
    async fn branches(&self, place: &Place) -> Result<Vec<BranchInfo>, DatasetError>;
    /// `from`: `None` is the main branch.
    async fn create_branch(
        &self,
        place: &Place,
        branch: &str,
        from: Option<&str>,
    ) -> Result<(), DatasetError>;
    async fn delete_branch(&self, place: &Place, branch: &str) -> Result<(), DatasetError>;

    async fn create_index(&self, at: &TableAt, config: IndexConfig) -> Result<(), DatasetError>;
    async fn drop_index(&self, at: &TableAt, name: &str) -> Result<(), DatasetError>;
    async fn indexes(&self, at: &TableAt) -> Result<Vec<IndexInfo>, DatasetError>;

    async fn optimize(&self, at: &TableAt, config: OptimizeConfig) -> Result<OptimizeReport, DatasetError>;
    async fn stats(&self, at: &TableAt) -> Result<TableStats, DatasetError>;

    /// Lets go of what is open for a room whose session ended here.
    async fn close_room(&self, room: RoomId);
    /// Removes all datasets of a deleted room.
    async fn delete_room(&self, room: RoomId) -> Result<(), DatasetError>;
}

/// Rows on their way into one new version.
#[async_trait]
pub trait TableWriter: Send {
    /// Adds rows. Columns are matched by name; a missing nullable column is null.
    async fn push(&mut self, batch: RecordBatch) -> Result<(), DatasetError>;
    /// Writes the version; it is on disk when this returns.
    async fn commit(self: Box<Self>) -> Result<Written, DatasetError>;
}

/// Rows on their way out. Dropping it cancels the query.
#[async_trait]
pub trait TableReader: Send {
    fn schema(&self) -> SchemaRef;
    /// The next rows, `None` at the end; bounded in rows and bytes by the store.
    async fn next(&mut self) -> Result<Option<RecordBatch>, DatasetError>;
}

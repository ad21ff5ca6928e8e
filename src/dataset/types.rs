//! What goes in and out of the port.

use super::TableReader;
use crate::error_code::RoomCode;
use crate::id::RoomId;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// A namespace on a branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub room: RoomId,
    /// Path of the namespace; empty for the room's own.
    pub namespace: Vec<String>,
    /// `None` is the main branch.
    pub branch: Option<String>,
}

/// A table, as it is or as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableAt {
    pub place: Place,
    pub table: String,
    /// `None` is the newest. Writes refuse a version.
    pub version: Option<u64>,
}

/// What to do where the table exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CreateMode {
    /// Refuse.
    #[default]
    Create,
    /// Replace it, history included.
    Overwrite,
    /// Leave it and its rows alone; the rows that come with the request are dropped.
    CreateIfNotExists,
}

/// What a write does.
#[derive(Debug, Clone)]
pub enum WriteKind {
    /// `schema`: `None` takes that of the first batch. `metadata` is merged into the schema's.
    Create {
        mode: CreateMode,
        schema: Option<SchemaRef>,
        metadata: BTreeMap<String, String>,
    },
    Insert,
    /// Replaces the rows whose `on` column equals an incoming row's, adds the others.
    Merge {
        on: String,
    },
}

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Of the table, after the change.
    pub version: u64,
    /// Rows added, changed or removed.
    pub rows: u64,
}

/// A column and what an update makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    pub column: String,
    pub value: NewValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NewValue {
    /// A typed JSON value (room protocol §3.8), without `expression`.
    Typed(Value),
    /// SQL over the row's columns.
    Expression(String),
}

/// Which rows, which columns, in which order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search {
    /// SQL condition.
    pub filter: Option<String>,
    /// Full-text query; rows come best first with a column `_score`.
    pub text: Option<String>,
    /// Columns of the text query; `None` is all that are indexed for text, or all strings.
    pub text_columns: Option<Vec<String>>,
    /// Nearest first by the vector column, with a column `_distance`.
    pub vector: Option<Vec<f32>>,
    pub offset: u64,
    pub limit: Option<u64>,
    pub select: Option<Vec<String>>,
}

/// One SQL statement.
#[derive(Debug, Clone)]
pub struct SqlRequest {
    pub query: String,
    /// The tables it may name; without any, all of the place.
    pub tables: Vec<SqlTable>,
    /// One row whose columns are the parameters, by name (`$name`) or position (`$1`, `?`).
    pub params: Option<RecordBatch>,
}

/// A table under the name it has in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlTable {
    pub at: TableAt,
    pub alias: String,
}

/// What a statement gave.
pub enum SqlOutcome {
    Rows(Box<dyn TableReader>),
    Affected(u64),
}

impl fmt::Debug for SqlOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(reader) => f.debug_tuple("Rows").field(&reader.schema()).finish(),
            Self::Affected(rows) => f.debug_tuple("Affected").field(rows).finish(),
        }
    }
}

#[derive(Debug, Clone)]
pub enum AddColumns {
    /// Nullable columns, null in every row.
    Schema(SchemaRef),
    /// Names and the SQL over the row that fills them.
    Sql(Vec<(String, String)>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct VersionInfo {
    pub version: u64,
    pub at: DateTime<Utc>,
    /// What made it: operation, rows, tags.
    pub metadata: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BranchInfo {
    pub name: String,
    /// `None` is the main branch.
    pub parent: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// An index as it was asked for: the fields of the wire's `config`.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexConfig {
    pub columns: Vec<String>,
    /// As on the wire, upper case: `BTREE`, `FTS`, `IVF_PQ`, …
    pub index_type: String,
    pub name: Option<String>,
    pub replace: bool,
    /// `metric`, `num_partitions` and the other settings of the index type.
    pub settings: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IndexInfo {
    pub name: String,
    pub columns: Vec<String>,
    pub index_type: String,
    pub rows_indexed: u64,
    pub size_bytes: Option<u64>,
    pub details: Map<String, Value>,
}

/// The fields of the wire's `config`, as far as the adapter knows them; the others change nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptimizeConfig {
    pub compact: bool,
    pub optimize_indices: bool,
    /// Forget versions older than this many seconds, but never tagged ones or the newest.
    pub older_than_seconds: Option<u64>,
    /// Keep at least this many versions.
    pub retain_versions: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptimizeReport {
    pub segments_added: u64,
    pub segments_removed: u64,
    pub old_versions_removed: u64,
    pub bytes_removed: u64,
    pub indices_optimized: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TableStats {
    pub version: u64,
    pub rows: u64,
    pub deleted_rows: u64,
    pub segments: u64,
    pub size_bytes: u64,
    /// Per column, bytes.
    pub columns: BTreeMap<String, u64>,
}

/// Why a dataset did not do what it was asked. Goes to the caller as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DatasetError {
    pub code: RoomCode,
    pub text: String,
}

impl DatasetError {
    pub fn new(code: RoomCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(RoomCode::InvalidRequest, text)
    }
    pub fn no_table(table: &str) -> Self {
        Self::new(
            RoomCode::NotFound,
            format!("table `{table}` does not exist here; dataset.list_tables shows those that do"),
        )
    }
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(RoomCode::Conflict, text)
    }
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(RoomCode::OperationFailed, text)
    }
}

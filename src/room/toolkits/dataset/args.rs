//! What the tools take.

use crate::dataset::{CreateMode, Place, TableAt};
use crate::id::RoomId;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A namespace on a branch.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct In {
    /// Path of the namespace; absent or null is the room's own.
    #[serde(default)]
    pub namespace: Option<Vec<String>>,
    /// Absent or null is the main branch.
    #[serde(default)]
    pub branch: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Table {
    pub table: String,
    #[serde(flatten)]
    pub place: In,
    /// Absent or null is the newest.
    #[serde(default)]
    pub version: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct DropTable {
    pub name: String,
    #[serde(default)]
    pub ignore_missing: Option<bool>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct RenameTable {
    pub name: String,
    pub new_name: String,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct TableAndName {
    pub table: String,
    pub name: String,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Create,
    Overwrite,
    CreateIfNotExists,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Entry {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Deserialize)]
pub struct CreateTable {
    pub name: String,
    #[serde(default)]
    pub mode: Option<Mode>,
    #[serde(flatten)]
    pub place: In,
    #[serde(default)]
    pub metadata: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
pub struct Merge {
    pub table: String,
    pub on: String,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct NewColumn {
    pub name: String,
    /// SQL over the row.
    pub value_sql: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct AddColumns {
    pub table: String,
    #[serde(default)]
    pub columns: Option<Vec<NewColumn>>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct DropColumns {
    pub table: String,
    pub columns: Vec<String>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct NewValue {
    pub column: String,
    /// JSON text of a typed value, or of `{"expression": sql}`.
    pub value_json: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Update {
    pub table: String,
    #[serde(rename = "where")]
    pub condition: String,
    pub values: Vec<NewValue>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Delete {
    pub table: String,
    #[serde(rename = "where")]
    pub condition: String,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Search {
    pub table: String,
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub vector: Option<Vec<f32>>,
    #[serde(default)]
    pub text_columns: Option<Vec<String>>,
    #[serde(default, rename = "where")]
    pub condition: Option<String>,
    #[serde(default)]
    pub offset: Option<u64>,
    #[serde(default)]
    pub limit: Option<u64>,
    #[serde(default)]
    pub select: Option<Vec<String>>,
    #[serde(flatten)]
    pub place: In,
    #[serde(default)]
    pub version: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct SqlTable {
    pub name: String,
    #[serde(default)]
    pub namespace: Option<Vec<String>>,
    #[serde(default)]
    pub alias: Option<String>,
    #[serde(default)]
    pub branch: Option<String>,
    #[serde(default)]
    pub version: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Sql {
    pub query: String,
    #[serde(default)]
    pub tables: Option<Vec<SqlTable>>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Query {
    pub query_id: String,
}

#[derive(Debug, Deserialize)]
pub struct Watch {
    pub table: String,
    #[serde(flatten)]
    pub place: In,
    #[serde(default)]
    pub poll_interval_seconds: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Optimize {
    pub table: String,
    #[serde(flatten)]
    pub place: In,
    /// See `meshagent room dataset optimize --help`; settings of engines that this server does not have change
    /// nothing.
    #[serde(default)]
    pub config: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Restore {
    pub table: String,
    pub version: u64,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct CreateIndex {
    pub table: String,
    /// `column` (one or several), `index_type`, `name`, `replace` and settings of the type.
    pub config: Map<String, Value>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Branches {
    #[serde(default)]
    pub namespace: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Branch {
    pub branch: String,
    #[serde(default)]
    pub from_branch: Option<String>,
    #[serde(default)]
    pub namespace: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct ColumnMetadata {
    pub table: String,
    pub column: String,
    pub metadata: Vec<Entry>,
    #[serde(flatten)]
    pub place: In,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    #[default]
    Create,
    #[serde(alias = "overwrite")]
    Replace,
    Merge,
    #[serde(alias = "insert")]
    Append,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Import {
    pub table: String,
    /// Of a file of the room.
    pub path: String,
    #[serde(default)]
    pub mode: Option<ImportMode>,
    /// `auto`, `arrow`, `csv`, `tsv`, `json`, `jsonl`.
    #[serde(default)]
    pub format: Option<String>,
    /// Column to match, for `merge`.
    #[serde(default)]
    pub on: Option<String>,
    #[serde(default)]
    pub sheet: Option<String>,
    #[serde(flatten)]
    pub place: In,
    #[serde(default)]
    pub batch_size: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Export {
    pub table: String,
    pub path: String,
    #[serde(default)]
    pub format: Option<String>,
    #[serde(flatten)]
    pub place: In,
    #[serde(default)]
    pub version: Option<u64>,
}

impl In {
    pub fn of(self, room: RoomId) -> Place {
        Place { room, namespace: self.namespace.unwrap_or_default(), branch: self.branch }
    }

    pub fn table(self, room: RoomId, table: String) -> TableAt {
        TableAt { place: self.of(room), table, version: None }
    }
}

impl Table {
    pub fn at(self, room: RoomId) -> TableAt {
        TableAt { version: self.version, ..self.place.table(room, self.table) }
    }
}

impl From<Mode> for CreateMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Create => Self::Create,
            Mode::Overwrite => Self::Overwrite,
            Mode::CreateIfNotExists => Self::CreateIfNotExists,
        }
    }
}

//! What the tools take.

use crate::id::RoomId;
use crate::sqlite_db::{DatabaseAt, Mode, Replication, SettingsChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

type Namespace = Option<Vec<String>>;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct In {
    /// Path of the namespace; absent or null is the room's own.
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MakeMode {
    #[default]
    Create,
    Overwrite,
    CreateIfNotExists,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicationMode {
    /// Writes are on disk when they are acknowledged.
    Synchronous,
    /// Writes are on disk within the flush interval.
    Asynchronous,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Database {
    pub name: String,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Settings {
    pub name: String,
    #[serde(default)]
    pub namespace: Namespace,
    #[serde(default)]
    pub mode: Option<MakeMode>,
    #[serde(default)]
    pub replication_mode: Option<ReplicationMode>,
    /// 1 to 3600000.
    #[serde(default)]
    pub flush_interval_ms: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct DropDatabase {
    pub name: String,
    #[serde(default)]
    pub namespace: Namespace,
    #[serde(default)]
    pub ignore_missing: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Tables {
    pub database: String,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct NamedTable {
    pub database: String,
    pub name: String,
    #[serde(default)]
    pub namespace: Namespace,
    #[serde(default)]
    pub ignore_missing: Option<bool>,
    #[serde(default)]
    pub mode: Option<MakeMode>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct RenameTable {
    pub database: String,
    pub name: String,
    pub new_name: String,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Table {
    pub database: String,
    pub table: String,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct DropColumns {
    pub database: String,
    pub table: String,
    pub columns: Vec<String>,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct NewValue {
    pub column: String,
    /// JSON text of a typed value, or of `{"expression": sql}`.
    pub value_json: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Update {
    pub database: String,
    pub table: String,
    #[serde(rename = "where")]
    pub condition: String,
    pub values: Vec<NewValue>,
    /// Values for `?` or `:name` in the condition.
    #[serde(default)]
    pub params: Value,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Delete {
    pub database: String,
    pub table: String,
    #[serde(rename = "where")]
    pub condition: String,
    #[serde(default)]
    pub params: Value,
    #[serde(default)]
    pub namespace: Namespace,
}

/// SQL, or columns and the values they must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    Sql(String),
    Equal(Map<String, Value>),
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Search {
    pub database: String,
    pub table: String,
    #[serde(default, rename = "where")]
    pub condition: Option<Condition>,
    #[serde(default)]
    pub params: Value,
    #[serde(default)]
    pub offset: Option<u64>,
    #[serde(default)]
    pub limit: Option<u64>,
    #[serde(default)]
    pub select: Option<Vec<String>>,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize)]
pub struct Sql {
    pub database: String,
    pub query: String,
    #[serde(default)]
    pub params: Value,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct BatchCommand {
    pub query: String,
    #[serde(default)]
    pub params: Value,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Batch {
    pub database: String,
    pub commands: Vec<BatchCommand>,
    #[serde(default)]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Query {
    pub query_id: String,
}

/// A database of a room.
pub fn at(room: RoomId, namespace: Namespace, name: String) -> DatabaseAt {
    DatabaseAt { room, namespace: namespace.unwrap_or_default(), name }
}

impl Settings {
    pub fn change(&self) -> SettingsChange {
        let replication_mode = self.replication_mode.map(|mode| match mode {
            ReplicationMode::Synchronous => Replication::Synchronous,
            ReplicationMode::Asynchronous => Replication::Asynchronous,
        });
        SettingsChange { replication_mode, flush_interval_ms: self.flush_interval_ms }
    }
}

impl From<MakeMode> for Mode {
    fn from(mode: MakeMode) -> Self {
        match mode {
            MakeMode::Create => Self::Create,
            MakeMode::Overwrite => Self::Overwrite,
            MakeMode::CreateIfNotExists => Self::CreateIfNotExists,
        }
    }
}

//! What a participant token allows, one grant per room API; all together are `ApiScope`.
//!
//! A missing grant denies the API; a grant that is present allows it with the defaults written here.
//! A missing list is no restriction; an empty list allows nothing. Who may do what is decided in
//! `domain::access`, not here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const fn yes() -> bool {
    true
}

/// Calls with sound and picture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LivekitGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breakout_rooms: Option<Vec<String>>,
}

/// Queues of the room, by exact name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueuesGrant {
    /// Queues that may be filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<Vec<String>>,
    /// Queues that may be emptied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Vec<String>>,
    pub list: bool,
}

impl Default for QueuesGrant {
    fn default() -> Self {
        Self { send: None, receive: None, list: true }
    }
}

/// Messages between participants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MessagingGrant {
    pub broadcast: bool,
    pub list: bool,
    pub send: bool,
}

impl Default for MessagingGrant {
    fn default() -> Self {
        Self { broadcast: true, list: true, send: true }
    }
}

/// Tables of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<TableGrant>>,
    pub list_tables: bool,
}

impl Default for DatasetGrant {
    fn default() -> Self {
        Self { tables: None, list_tables: true }
    }
}

/// One table; a missing namespace means any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableGrant {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Vec<String>>,
    #[serde(default)]
    pub write: bool,
    #[serde(default = "yes")]
    pub read: bool,
    #[serde(default)]
    pub alter: bool,
}

/// SQLite databases of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databases: Option<Vec<SqliteDatabaseGrant>>,
    pub create_database: bool,
    pub list_databases: bool,
}

impl Default for SqliteGrant {
    fn default() -> Self {
        Self { databases: None, create_database: true, list_databases: true }
    }
}

/// One database; a missing namespace means any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteDatabaseGrant {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Vec<String>>,
    #[serde(default = "yes")]
    pub create_table: bool,
    #[serde(default)]
    pub drop: bool,
    #[serde(default = "yes")]
    pub inspect: bool,
    #[serde(default = "yes")]
    pub list_tables: bool,
    #[serde(default = "yes")]
    pub execute: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<SqliteTableGrant>>,
}

/// One table of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteTableGrant {
    pub database: String,
    pub table: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Vec<String>>,
    #[serde(default)]
    pub write: bool,
    #[serde(default = "yes")]
    pub read: bool,
    #[serde(default)]
    pub alter: bool,
}

/// Memories of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryGrant {
    pub list: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memories: Option<Vec<MemoryEntryGrant>>,
}

impl Default for MemoryGrant {
    fn default() -> Self {
        Self { list: true, memories: None }
    }
}

/// One memory; a missing namespace means any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryEntryGrant {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Vec<String>>,
    #[serde(default)]
    pub permissions: MemoryPermissions,
}

/// What may be done with a memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryPermissions {
    pub create: bool,
    pub drop: bool,
    pub inspect: bool,
    pub query: bool,
    pub upsert: bool,
    pub ingest: bool,
    pub recall: bool,
    pub optimize: bool,
}

impl Default for MemoryPermissions {
    fn default() -> Self {
        Self {
            create: true,
            drop: true,
            inspect: true,
            query: true,
            upsert: true,
            ingest: true,
            recall: true,
            optimize: true,
        }
    }
}

/// Shared documents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyncGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<PathGrant>>,
}

/// A path. In `sync`: exact, or a prefix when it ends with `*`. In `storage`: a folder with all below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathGrant {
    pub path: String,
    #[serde(default)]
    pub read_only: bool,
}

/// Files of the room. `files` wins over `paths`; neither allows everything except signed addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageGrant {
    /// The older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<PathGrant>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesPolicy>,
}

/// Rules for files; any rule that allows an action suffices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilesPolicy {
    pub paths: Vec<FileRule>,
}

/// What may be done at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRule {
    /// Relative and canonical; empty for the whole room.
    pub path: String,
    /// Also everything below.
    #[serde(default)]
    pub recursive: bool,
    #[serde(default)]
    pub actions: Vec<FileAction>,
    /// These and everything below them are left out.
    #[serde(default)]
    pub excluded_paths: Vec<String>,
}

/// One thing to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileAction {
    List,
    Read,
    Write,
    Delete,
    Presign,
}

/// Containers and images; patterns are exact or end with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContainersGrant {
    pub logs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryGrant>,
    pub use_containers: bool,
}

impl Default for ContainersGrant {
    fn default() -> Self {
        Self { logs: true, pull: None, run: None, registry: None, use_containers: true }
    }
}

/// The image registry of the project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Vec<String>>,
}

/// Log lines of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeveloperGrant {
    pub logs: bool,
}

impl Default for DeveloperGrant {
    fn default() -> Self {
        Self { logs: true }
    }
}

/// Toolkits of participants, and calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentsGrant {
    pub register_agent: bool,
    pub register_public_toolkit: bool,
    pub register_private_toolkit: bool,
    pub call: bool,
    pub use_agents: bool,
    pub use_tools: bool,
    /// Only these toolkits may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_toolkits: Option<Vec<String>>,
}

impl Default for AgentsGrant {
    fn default() -> Self {
        Self {
            register_agent: true,
            register_public_toolkit: true,
            register_private_toolkit: true,
            call: true,
            use_agents: true,
            use_tools: true,
            allowed_toolkits: None,
        }
    }
}

/// Model providers through the platform: `provider/model`, or a prefix with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LlmGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
}

/// Settings of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminGrant {
    pub config: bool,
}

impl Default for AdminGrant {
    fn default() -> Self {
        Self { config: true }
    }
}

/// Secrets of the room. It has no fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsGrant {}

/// Ports of containers; a missing or empty list means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelsGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<String>>,
}

/// Services of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServicesGrant {
    pub list: bool,
}

impl Default for ServicesGrant {
    fn default() -> Self {
        Self { list: true }
    }
}

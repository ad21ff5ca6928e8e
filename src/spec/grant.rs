//! What a participant token allows: one optional grant per room API.
//!
//! A missing grant denies the API; a grant that is present allows it with the defaults written here.
//! A missing list is no restriction; an empty list allows nothing. Who may do what is decided in
//! `domain::access`, not here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The `api` grant of a participant token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-aliases" = { "database": "dataset", "datasets": "dataset" }))]
pub struct ApiScope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub livekit: Option<LivekitGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<QueuesGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messaging: Option<MessagingGrant>,
    #[serde(skip_serializing_if = "Option::is_none", alias = "database", alias = "datasets")]
    pub dataset: Option<DatasetGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainersGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub developer: Option<DeveloperGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<AgentsGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<TunnelsGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesGrant>,
}

impl ApiScope {
    /// What an agent gets when nothing else is written: all but `admin`, `tunnels` and `secrets`.
    pub fn agent_default() -> Self {
        Self {
            livekit: Some(LivekitGrant::default()),
            queues: Some(QueuesGrant::default()),
            messaging: Some(MessagingGrant::default()),
            dataset: Some(DatasetGrant::default()),
            sqlite: Some(SqliteGrant::default()),
            memory: Some(MemoryGrant::default()),
            sync: Some(SyncGrant::default()),
            storage: Some(StorageGrant::default()),
            containers: Some(ContainersGrant::default()),
            developer: Some(DeveloperGrant::default()),
            agents: Some(AgentsGrant::default()),
            llm: Some(LlmGrant::default()),
            admin: None,
            secrets: None,
            tunnels: None,
            services: Some(ServicesGrant::default()),
        }
    }

    /// What a person gets when nothing else is written: an agent's without `llm`.
    pub fn user_default() -> Self {
        Self { llm: None, ..Self::agent_default() }
    }

    /// An agent's with `admin` and `tunnels`; still without `secrets`.
    pub fn full() -> Self {
        Self {
            admin: Some(AdminGrant::default()),
            tunnels: Some(TunnelsGrant::default()),
            ..Self::agent_default()
        }
    }

    /// The form of tokens that clients sign: members that equal their default are left out,
    /// so that a grant without restrictions is `{}`.
    pub fn to_token_value(&self) -> Value {
        let mut scope = object(serde_json::to_value(self));
        let defaults =
            object(serde_json::to_value(Self { secrets: Some(SecretsGrant::default()), ..Self::full() }));
        for (name, grant) in &mut scope {
            if let (Some(grant), Some(usual)) = (grant.as_object_mut(), defaults.get(name)) {
                grant.retain(|key, value| usual.get(key) != Some(value));
            }
        }
        Value::Object(scope)
    }
}

fn object(value: serde_json::Result<Value>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(map)) => map,
        // A struct with text keys always becomes an object.
        Ok(_) | Err(_) => Map::new(),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_agents_scope_in_a_token_is_the_one_clients_sign() {
        let expected = json!({
            "livekit": {}, "queues": {}, "messaging": {}, "dataset": {}, "sqlite": {}, "memory": {}, "sync": {},
            "storage": {}, "containers": {}, "developer": {}, "agents": {}, "llm": {}, "services": {},
        });
        assert_eq!(ApiScope::agent_default().to_token_value(), expected);
        let back: ApiScope = serde_json::from_value(expected).unwrap();
        assert_eq!(back, ApiScope::agent_default());
    }

    #[test]
    fn restrictions_stay_in_a_token_and_older_names_are_read() {
        let scope: ApiScope = serde_json::from_value(json!({
            "queues": { "send": [], "receive": null, "list": false },
            "datasets": { "tables": [{ "name": "t" }] },
        }))
        .unwrap();
        let expected = json!({
            "queues": { "send": [], "list": false },
            "dataset": { "tables": [{ "name": "t", "write": false, "read": true, "alter": false }] },
        });
        assert_eq!(scope.to_token_value(), expected);
        assert!(serde_json::from_value::<ApiScope>(json!({ "secrets": { "x": 1 } })).is_err());
    }
}

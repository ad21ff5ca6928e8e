//! What a participant token allows as a whole: one optional grant per room API, and what participants get when nothing
//! else is written. The grants themselves are in `grant`.

use super::grant::{
    AdminGrant, AgentsGrant, ContainersGrant, DatasetGrant, DeveloperGrant, LivekitGrant, LlmGrant,
    MemoryGrant, MessagingGrant, QueuesGrant, SecretsGrant, ServicesGrant, SqliteGrant, StorageGrant,
    SyncGrant, TunnelsGrant,
};
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

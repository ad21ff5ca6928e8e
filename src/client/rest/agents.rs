//! Managed agents.

use super::{ProjectRest, RestError, optional, parse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// An agent that the server runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagedAgent {
    pub id: String,
    pub name: String,
    /// A `ManagedAgent` document.
    pub configuration: Value,
}

/// What whoever talks to a managed agent needs.
#[derive(Clone, Serialize, Deserialize)]
pub struct AgentConnection {
    /// The participant token. Secret.
    pub jwt: String,
    pub agent_name: String,
    pub project_id: String,
    /// Dialled as it is.
    pub agent_url: String,
}

impl fmt::Debug for AgentConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConnection").field("agent_url", &self.agent_url).finish_non_exhaustive()
    }
}

impl ProjectRest {
    /// Makes an agent of a document.
    pub async fn create_agent(
        &self,
        configuration: &Value,
        if_not_exists: bool,
    ) -> Result<ManagedAgent, RestError> {
        let body = json!({"configuration": configuration, "if_not_exists": if_not_exists});
        self.rest.post_as(&self.at(&["agents"]), &body).await
    }

    /// All agents, or those whose name contains `filter`.
    pub async fn agents(&self, filter: Option<&str>) -> Result<Vec<ManagedAgent>, RestError> {
        let mut query = vec![("view", "my".to_owned())];
        query.extend(filter.map(|filter| ("filter", filter.to_owned())));
        self.rest.pages(&self.at(&["agents"]), &query, "agents").await
    }

    /// An agent by its name or id.
    pub async fn agent(&self, name_or_id: &str) -> Result<Option<ManagedAgent>, RestError> {
        let answer = optional(self.rest.get(&self.at(&["agents", name_or_id]), &[]).await)?;
        answer.map(|answer| parse("agent", answer)).transpose()
    }

    /// Replaces an agent.
    pub async fn update_agent(&self, id: &str, configuration: &Value) -> Result<(), RestError> {
        let body = json!({ "configuration": configuration });
        self.rest.put(&self.at(&["agents", id]), &body).await.map(drop)
    }

    /// Deletes an agent with its threads.
    pub async fn delete_agent(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["agents", id])).await.map(drop)
    }

    /// A token and the address to talk to an agent.
    pub async fn connect_agent(&self, name: &str) -> Result<AgentConnection, RestError> {
        self.rest.post_as(&self.at(&["agents", name, "connect"]), &json!({})).await
    }
}

//! Managed agents as the socket edge sees them: who may talk to which, and where its process listens.

use super::gate::room_ref;
use crate::app::App;
use crate::control::ControlHandle;
use crate::id::{ManagedAgentId, ProjectId};
use crate::room::Limits;
use crate::room::agents::{Agents, Caller};
use crate::room::world::{Admission, Refusal};
use crate::spec::ApiScope;
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::Arc;

/// Managed agents of this server.
#[derive(Debug)]
pub(super) struct ServedAgents {
    pub app: Arc<App>,
    pub limits: Limits,
    pub control: Arc<ControlHandle>,
}

#[async_trait]
impl Agents for ServedAgents {
    async fn admit(&self, project: &str, agent: &str, token: &str) -> Result<Caller, Refusal> {
        let bearer = self.app.verify(token).await.map_err(|error| Refusal::Forbidden(error.to_string()))?;
        // Whose token it is comes first: strangers learn of no agent.
        if project.parse::<ProjectId>() != Ok(bearer.project) || bearer.agent.as_deref() != Some(agent) {
            let text = format!(
                "this participant token is not for agent `{agent}`; ask for one with `POST …/agents/{agent}/connect`"
            );
            return Err(Refusal::Forbidden(text));
        }
        let found = self.app.agent_named(bearer.project, agent);
        let (id, _) = found.map_err(|error| Refusal::NoRoom(error.to_string()))?;
        let name = self.app.world().room(id.room()).map(|room| room.name.to_string());
        let name = name.ok_or_else(|| Refusal::NoRoom(format!("agent `{agent}` has just been deleted")))?;
        let admission = Admission {
            room: room_ref(&self.app, self.limits, id.room(), &name),
            name: bearer.name,
            role: "user".to_owned(),
            api: Arc::new(ApiScope::default()),
            service: None,
        };
        Ok(Caller { agent: id, admission })
    }

    async fn address(&self, agent: ManagedAgentId) -> Result<Option<SocketAddr>, String> {
        self.control.services().agent_address(agent).await
    }

    async fn token(&self, agent: ManagedAgentId, name: &str) -> Result<String, String> {
        self.app.agent_token(agent, name).await.map_err(|error| error.to_string())
    }
}

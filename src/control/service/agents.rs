//! The processes of managed agents: what only they are told, and where they listen.

use super::{Services, runs};
use crate::app::App;
use crate::app::agents::SECRET_VARIABLE;
use crate::domain::instance::{self, Phase};
use crate::id::{ManagedAgentId, RoomId};
use crate::projection::World;
use crate::runtime::{EnvValue, InstanceKey};
use crate::spec::PortNumber;
use std::net::SocketAddr;

/// The secret of the agent's socket, for the service that is a managed agent.
pub(super) async fn secret(app: &App, key: &InstanceKey) -> Result<Option<(String, EnvValue)>, String> {
    let Some(agent) = of(&app.world(), key) else { return Ok(None) };
    let secret = app.agent_secret(agent).await.map_err(|error| error.to_string())?;
    Ok(Some((SECRET_VARIABLE.to_owned(), EnvValue::Secret(secret))))
}

/// The managed agent whose process this is.
fn of(world: &World, key: &InstanceKey) -> Option<ManagedAgentId> {
    let (id, _) = world.agent_of(key.room)?;
    (id.service() == key.service).then_some(id)
}

/// Whether a room is a managed agent's.
pub(super) fn is_home(world: &World, room: RoomId) -> bool {
    world.agent_of(room).is_some()
}

impl Services {
    /// Where the process of a managed agent listens on this host; `None` while it is starting. An error says why it does
    /// not start.
    pub async fn agent_address(&self, agent: ManagedAgentId) -> Result<Option<SocketAddr>, String> {
        let parts = &self.execute.parts;
        let world = parts.app.world();
        let service = world.service(agent.service()).filter(|service| runs(service));
        let service = service.ok_or("it was deleted")?;
        let key = InstanceKey { room: agent.room(), service: agent.service(), container: 0 };
        let session = world.active_session(agent.room()).map(|(id, _)| id);
        let seen =
            session.and_then(|session| world.instance(instance::Key { session, service: agent.service() }));
        let Some(seen) = seen.filter(|seen| seen.generation == service.run_generation) else {
            return Ok(None);
        };
        match (seen.phase, self.execute.probes.number(&key, PortNumber::Any)) {
            (Phase::Running, Some(port)) => Ok(parts.runtime.reach(&key, port).await),
            (Phase::Failed, _) => {
                Err(seen.last_start_error.clone().unwrap_or_else(|| "it cannot be started".to_owned()))
            }
            // One that ended is started again.
            (Phase::Running | Phase::Exited | Phase::Stopped, _) => Ok(None),
        }
    }
}

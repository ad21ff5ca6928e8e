//! Services that run only when somebody asks for it.

use super::plan::Mark;
use super::{Services, locked, runs};
use crate::app::token::Mint;
use crate::domain::instance;
use crate::id::{RoomId, ServiceId, SessionId};
use crate::runtime::{EnvValue, InstanceKey, Observed, RunState};
use crate::spec::ApiScope;
use crate::vault::Secret;

use super::environment::{self, Place, Value};

/// Why a service was not started for somebody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    #[error("service `{0}` does not exist in this room")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
}

impl Services {
    /// Starts the container of a service with these variables besides its own; what the runtime calls it. One that
    /// runs already is answered as it is.
    pub async fn invoke(
        &self,
        room: RoomId,
        service: ServiceId,
        session: SessionId,
        env: Vec<(String, String)>,
    ) -> Result<String, InvokeError> {
        let parts = &self.execute.parts;
        let refuse = |text: String| InvokeError::Refused(text);
        let world = parts.app.world();
        let found = world.service(service).ok_or_else(|| InvokeError::NotFound(service.to_string()))?;
        let name = found.spec.metadata.name.clone();
        let key = InstanceKey { room, service, container: 0 };
        if let Ok(Observed::Present { handle: Some(handle), state: RunState::Running, .. }) =
            parts.runtime.observe_one(&key).await
        {
            return Ok(handle);
        }
        if !found.spec.enabled {
            return Err(refuse(format!("service `{name}` is disabled; enable it first")));
        }
        if found.paused_at.is_some() {
            return Err(refuse(format!(
                "service `{name}` is paused; `meshagent resume service/{name}` first"
            )));
        }
        if found.spec.container.is_none() || runs(found) {
            return Err(refuse(format!(
                "service `{name}` is not one that runs on demand; give its container `on_demand: true`"
            )));
        }
        let mark = Mark { session, generation: found.run_generation };
        locked(&self.execute.state).invoked.insert(key.clone());
        let started = self.execute.start_with(&key, mark, env).await;
        let recorded = started.map_err(|error| refuse(error.to_string()));
        if recorded.is_err() {
            locked(&self.execute.state).invoked.remove(&key);
        }
        recorded?;
        let world = parts.app.world();
        let instance = world.instance(instance::Key { session, service });
        if let Some(handle) = instance.and_then(|instance| instance.handle.clone()) {
            Ok(handle)
        } else {
            locked(&self.execute.state).invoked.remove(&key);
            let why = instance.and_then(|instance| instance.last_start_error.clone());
            Err(refuse(format!(
                "service `{name}` could not be started: {}",
                why.unwrap_or_else(|| "it ended at once; see its log".to_owned())
            )))
        }
    }

    /// The variables of the template `agent` for a container that is no service's. Its token may do what `api` says.
    pub async fn agent_environment(
        &self,
        room: &str,
        session: SessionId,
        name: &str,
        api: &ApiScope,
    ) -> Result<Vec<(String, Secret)>, String> {
        let parts = &self.execute.parts;
        let project = session.project();
        let place = Place {
            project,
            room: room.to_owned(),
            session,
            url: environment::url(parts, true),
            host: "0.0.0.0",
            port: None,
        };
        let mint = Mint {
            role: Some("agent".to_owned()),
            room: Some(room.to_owned()),
            api: Some(api.clone()),
            ..Mint::new(project, name)
        };
        let token = parts.app.mint(mint).await.map(Secret::from).map_err(|error| error.to_string())?;
        let variables = environment::agent_variables(name, &place, &parts.settings);
        let valued = variables.into_iter().filter_map(|(name, value)| match value {
            Value::Text(text) => Some((name, Secret::from(text))),
            Value::OwnToken => Some((name, token.clone())),
            Value::Token { .. } | Value::Stored { .. } => None,
        });
        Ok(valued.collect())
    }
}

/// Adds variables; one of the same name is replaced.
pub(super) fn add_env(env: &mut Vec<(String, EnvValue)>, more: Vec<(String, String)>) {
    for (name, value) in more {
        env.retain(|(known, _)| *known != name);
        env.push((name, EnvValue::Plain(value)));
    }
}

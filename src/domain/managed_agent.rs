//! A managed agent: one that the server runs by itself. Its name is held by [`super::names`]; its room and its service
//! are entities of their own, with the agent's UUID.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::{ManagedAgentId, RoomId, ServiceId};
use crate::spec::ManagedAgent as Spec;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Fact: this is what is wanted from now on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub spec: Spec,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ManagedAgent {
    /// Without its `id`; that is the stream's.
    pub spec: Spec,
    /// Counts the changes of what is wanted; 1 at creation.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Spec),
    Update(Spec),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the agent exists already; update it instead")]
    Exists,
    #[error("the agent does not exist; `meshagent agent list` shows those that do")]
    NotFound,
    /// Something was to be done to what the server keeps for an agent.
    #[error("this belongs to managed agent `{0}`; use `meshagent agent update` or `agent delete`")]
    OfAgent(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::OfAgent(_) => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "agent-exists",
            Self::NotFound => "agent-not-found",
            Self::OfAgent(_) => "agent-owned",
        }
    }
}

impl ManagedAgentId {
    /// The room in which the agent lives: its threads and files are there.
    #[must_use]
    pub const fn room(self) -> RoomId {
        RoomId::new(self.project(), self.uuid())
    }

    /// The service that runs it there.
    #[must_use]
    pub const fn service(self) -> ServiceId {
        ServiceId::new(self.project(), self.uuid())
    }
}

impl Entity for ManagedAgent {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        let own = |spec: Spec| Spec { id: None, ..spec };
        match (state, command) {
            (None, Command::Create(spec)) => Ok(vec![Event::AgentCreated(Wanted { spec: own(spec) })]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(spec)) => {
                let spec = own(spec);
                Ok(if spec == old.spec { vec![] } else { vec![Event::AgentUpdated(Wanted { spec })] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::AgentDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::AgentCreated(wanted) => {
                Some(Self { spec: wanted.spec.clone(), generation: 1, created_at: at, updated_at: at })
            }
            Event::AgentUpdated(wanted) => {
                let old = state?;
                let generation = old.generation + 1;
                Some(Self { spec: wanted.spec.clone(), generation, updated_at: at, ..old })
            }
            Event::AgentDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(model: &str) -> Spec {
        let json = json!({"id": "given", "metadata": {"name": "a"}, "allowed_models": [{"provider": "openai", "model": model}]});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_agent_is_created_changed_and_deleted() {
        let at = DateTime::UNIX_EPOCH;
        let made = ManagedAgent::decide(None, Command::Create(spec("a"))).unwrap();
        let agent = ManagedAgent::evolve(None, &made[0], at).unwrap();
        assert_eq!((agent.spec.id.as_deref(), agent.generation), (None, 1));
        let update = |model| ManagedAgent::decide(Some(&agent), Command::Update(spec(model)));
        assert_eq!(update("a").unwrap(), vec![], "no change, no event");
        let changed = ManagedAgent::evolve(Some(agent.clone()), &update("b").unwrap()[0], at).unwrap();
        assert_eq!((changed.generation, changed.spec.allowed_models[0].model.as_str()), (2, "b"));
        assert_eq!(ManagedAgent::decide(Some(&agent), Command::Create(spec("a"))), Err(Refused::Exists));
        assert_eq!(ManagedAgent::decide(None, Command::Delete), Err(Refused::NotFound));
        let gone = ManagedAgent::decide(Some(&agent), Command::Delete).unwrap();
        assert_eq!(ManagedAgent::evolve(Some(agent), &gone[0], at), None);
    }
}

//! A service that is made of a template and values. The service has the instance's UUID: it comes, changes and goes with it.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::{RoomId, ServiceId, ServiceInstanceId};
use crate::spec::ServiceInstance as Spec;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Fact: the instance is wanted. `room` is `None` for one that runs in every room of the project.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Created {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    pub spec: Spec,
}

/// Fact: this is what is wanted from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Updated {
    pub spec: Spec,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceInstance {
    pub room: Option<RoomId>,
    pub spec: Spec,
    /// Counts the changes of what is wanted; 1 at creation.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl ServiceInstanceId {
    /// The service that the instance makes.
    #[must_use]
    pub const fn service(self) -> ServiceId {
        ServiceId::new(self.project(), self.uuid())
    }
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    Update(Spec),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the service instance exists already; update it instead")]
    Exists,
    #[error("no such service instance here; `meshagent get service-instances` shows those that exist")]
    NotFound,
    #[error(
        "the service is made of a template by the instance `{0}`; change or delete the instance, by its document"
    )]
    OfInstance(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::OfInstance(_) => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "service-instance-exists",
            Self::NotFound => "service-instance-not-found",
            Self::OfInstance(_) => "service-of-instance",
        }
    }
}

impl Entity for ServiceInstance {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(created)) => Ok(vec![Event::ServiceInstanceCreated(created)]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(spec)) if old.spec == spec => Ok(vec![]),
            (Some(_), Command::Update(spec)) => Ok(vec![Event::ServiceInstanceUpdated(Updated { spec })]),
            (Some(_), Command::Delete) => Ok(vec![Event::ServiceInstanceDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::ServiceInstanceCreated(created) => Some(Self {
                room: created.room,
                spec: created.spec.clone(),
                generation: 1,
                created_at: at,
                updated_at: at,
            }),
            Event::ServiceInstanceUpdated(updated) => state.map(|old| Self {
                spec: updated.spec.clone(),
                generation: old.generation + 1,
                updated_at: at,
                ..old
            }),
            Event::ServiceInstanceDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_instance_counts_its_changes() {
        let spec = |language: &str| -> Spec {
            serde_json::from_value(
                json!({"metadata": {"name": "a"}, "template": "t", "values": {"language": language}}),
            )
            .unwrap()
        };
        let mut state = None;
        let created = Created { room: None, spec: spec("French") };
        assert_eq!(ServiceInstance::decide(None, Command::Delete), Err(Refused::NotFound));
        for command in [
            Command::Create(created.clone()),
            Command::Update(spec("German")),
            Command::Update(spec("German")),
        ] {
            for event in ServiceInstance::decide(state.as_ref(), command).unwrap() {
                state = ServiceInstance::evolve(state, &event, DateTime::UNIX_EPOCH);
            }
        }
        assert_eq!(state.as_ref().unwrap().generation, 2);
        assert_eq!(ServiceInstance::decide(state.as_ref(), Command::Create(created)), Err(Refused::Exists));
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<Option<ServiceInstance>>(&json).unwrap(), state);
    }
}

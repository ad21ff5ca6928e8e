//! A service: a deployable unit of a project or of one room.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::RoomId;
use crate::spec::Service as Spec;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Fact: the service is wanted. `room` is `None` for one that runs in every room of the project.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Created {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    pub spec: Spec,
}

/// Fact: this is what is wanted from now on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Updated {
    pub spec: Spec,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    pub room: Option<RoomId>,
    /// Without its `id`; that is the stream's.
    pub spec: Spec,
    /// Counts the changes of what is wanted; 1 at creation. A run of an older generation is replaced.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    Update(Spec),
    /// Replace whatever runs by a fresh run of the same spec.
    Restart,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the service exists already; update it instead")]
    Exists,
    #[error("the service does not exist; `meshagent service list` shows those that do")]
    NotFound,
    #[error("service `{0}` is disabled and cannot be restarted; enable it with `meshagent service enable`")]
    Disabled(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::Disabled(_) => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "service-exists",
            Self::NotFound => "service-not-found",
            Self::Disabled(_) => "service-disabled",
        }
    }
}

impl Entity for Service {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(mut created)) => {
                created.spec.id = None;
                Ok(vec![Event::ServiceCreated(created)])
            }
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(service), Command::Update(mut spec)) => {
                spec.id = None;
                if spec == service.spec {
                    return Ok(vec![]);
                }
                Ok(vec![Event::ServiceUpdated(Updated { spec })])
            }
            (Some(service), Command::Restart) if !service.spec.enabled => {
                Err(Refused::Disabled(service.spec.metadata.name.clone()))
            }
            (Some(_), Command::Restart) => Ok(vec![Event::ServiceRestartRequested(Nothing {})]),
            (Some(_), Command::Delete) => Ok(vec![Event::ServiceDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::ServiceCreated(c) => Some(Self {
                room: c.room,
                spec: c.spec.clone(),
                generation: 1,
                created_at: at,
                updated_at: at,
            }),
            Event::ServiceUpdated(u) => {
                let old = state?;
                Some(Self { spec: u.spec.clone(), generation: old.generation + 1, updated_at: at, ..old })
            }
            Event::ServiceRestartRequested(_) => {
                let old = state?;
                Some(Self { generation: old.generation + 1, ..old })
            }
            Event::ServiceDeleted(_) => None,
            _ => state,
        }
    }
}

//! A service: a deployable unit of a project or of one room.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::RoomId;
use crate::spec::Service as Spec;
use crate::spec::reconcile::{self, Cadence};
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
    /// The generation since which what runs is the same: one that only says how the service is reconciled replaces nothing.
    pub run_generation: u64,
    pub created_at: DateTime<Utc>,
    /// When what runs changed last, or a pause ended.
    pub updated_at: DateTime<Utc>,
    /// Since when controllers leave it alone, where they do.
    pub paused_at: Option<DateTime<Utc>>,
}

impl Service {
    /// How controllers treat it.
    #[must_use]
    pub fn cadence(&self) -> Cadence {
        Cadence::of(self.spec.metadata.annotations.as_ref())
    }

    fn updated(self, spec: Spec, at: DateTime<Utc>) -> Self {
        let generation = self.generation + 1;
        let is_other = plain(&spec) != plain(&self.spec);
        let run_generation = if is_other { generation } else { self.run_generation };
        let paused_at = Cadence::of(spec.metadata.annotations.as_ref()).paused_at(self.paused_at, at);
        let resumed = self.paused_at.is_some() && paused_at.is_none();
        let updated_at = if is_other || resumed { at } else { self.updated_at };
        Self { spec, generation, run_generation, updated_at, paused_at, ..self }
    }
}

/// What runs: the spec without what only says how it is reconciled.
fn plain(spec: &Spec) -> Spec {
    let mut plain = spec.clone();
    let notes = plain.metadata.annotations.take().map(|notes| reconcile::without_cadence(&notes));
    plain.metadata.annotations = notes.filter(|notes| !notes.is_empty());
    plain
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
                run_generation: 1,
                created_at: at,
                updated_at: at,
                paused_at: Cadence::of(c.spec.metadata.annotations.as_ref()).paused_at(None, at),
            }),
            Event::ServiceUpdated(u) => Some(state?.updated(u.spec.clone(), at)),
            Event::ServiceRestartRequested(_) => {
                let old = state?;
                let generation = old.generation + 1;
                Some(Self { generation, run_generation: generation, ..old })
            }
            Event::ServiceDeleted(_) => None,
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(image: &str, notes: serde_json::Value) -> Spec {
        serde_json::from_value(json!({"version": "v1", "kind": "Service", "container": {"image": image},
            "metadata": {"name": "s", "annotations": notes}}))
        .unwrap()
    }

    #[test]
    fn a_pause_replaces_nothing_and_says_since_when() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let created = Event::ServiceCreated(Created { room: None, spec: spec("a", json!({"x": "1"})) });
        let mut service = Service::evolve(None, &created, at(1)).unwrap();
        let mut told = |image: &str, notes: serde_json::Value, second: i64| {
            let updated = Event::ServiceUpdated(Updated { spec: spec(image, notes) });
            service = Service::evolve(Some(service.clone()), &updated, at(second)).unwrap();
            let Service { generation, run_generation, updated_at, paused_at, .. } = service;
            (generation, run_generation, updated_at.timestamp(), paused_at.map(|at| at.timestamp()))
        };
        let paused = "meshagent.dev/paused";
        assert_eq!(told("a", json!({"x": "1", paused: "true"}), 2), (2, 1, 1, Some(2)));
        assert_eq!(
            told("a", json!({"x": "1", paused: "true", "meshagent.dev/priority": "9"}), 3),
            (3, 1, 1, Some(2))
        );
        assert_eq!(told("b", json!({"x": "1", paused: "true"}), 4), (4, 4, 4, Some(2)), "still paused");
        assert_eq!(
            told("b", json!({"x": "1", paused: "false"}), 5),
            (5, 4, 5, None),
            "what waits begins now"
        );
        assert_eq!(told("b", json!({"x": "2"}), 6), (6, 6, 6, None));
        let restarted =
            Service::evolve(Some(service), &Event::ServiceRestartRequested(Nothing {}), at(7)).unwrap();
        assert_eq!((restarted.generation, restarted.run_generation), (7, 7));
    }
}

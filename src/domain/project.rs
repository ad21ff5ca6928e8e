//! A project: the tenant that everything else belongs to.

use super::{Entity, Event, Refusal, Rejection};
use crate::id::{ProjectId, StreamId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Fact: the project exists. `key` is its short name, unique on the platform.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Created {
    pub name: String,
    pub key: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Project {
    pub name: String,
    pub key: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this project exists already; use it as it is")]
    Exists,
    #[error("a project's name may not be empty; give one")]
    NoName,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NoName => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "project-exists",
            Self::NoName => "name-invalid",
        }
    }
}

impl Project {
    pub const CATEGORY: &'static str = "project";

    #[must_use]
    pub fn stream(id: ProjectId) -> StreamId {
        StreamId::new(Self::CATEGORY, id)
    }
}

impl Entity for Project {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, Command::Create(created): Command) -> Result<Vec<Event>, Refused> {
        if state.is_some() {
            return Err(Refused::Exists);
        }
        if created.name.trim().is_empty() {
            return Err(Refused::NoName);
        }
        Ok(vec![Event::ProjectCreated(created)])
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::ProjectCreated(c) => {
                Some(Self { name: c.name.clone(), key: c.key.clone(), created_at: at })
            }
            _ => state,
        }
    }
}

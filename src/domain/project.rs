//! A project: the tenant that everything else belongs to.

use super::{Entity, Event, Refusal, Rejection};
use crate::id::{ProjectId, StreamId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most bytes of one settings document, as JSON.
pub const SETTINGS_BYTES_MAX: usize = 256 * 1024;

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
    /// Settings documents by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Settings>,
}

/// Fact: a settings document is now this. What is secret of it is in the vault under the revision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingsSet {
    pub name: String,
    #[serde(flatten)]
    pub settings: Settings,
}

/// Fact: a settings document is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingsRemoved {
    pub name: String,
}

/// One settings document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Made anew with every change.
    pub revision: Uuid,
    #[serde(default)]
    pub document: Map<String, Value>,
    /// Whether the vault has a secret of this revision.
    #[serde(default)]
    pub has_secret: bool,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    SetSettings(SettingsSet),
    RemoveSettings(SettingsRemoved),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this project exists already; use it as it is")]
    Exists,
    #[error("a project's name may not be empty; give one")]
    NoName,
    #[error("the project does not exist; `meshagent project list` shows those that do")]
    NotFound,
    #[error("the settings `{0}` are not set; nothing is to be removed")]
    NoSettings(String),
    #[error("the settings `{name}` have {bytes} bytes; at most {SETTINGS_BYTES_MAX} are kept")]
    TooLong { name: String, bytes: usize },
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NoName | Self::TooLong { .. } => Refusal::Invalid,
            Self::NotFound | Self::NoSettings(_) => Refusal::NotFound,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "project-exists",
            Self::NoName => "name-invalid",
            Self::NotFound | Self::NoSettings(_) => "not-found",
            Self::TooLong { .. } => "settings-invalid",
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

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, Command::Create(created)) if created.name.trim().is_empty() => Err(Refused::NoName),
            (None, Command::Create(created)) => Ok(vec![Event::ProjectCreated(created)]),
            (None, _) => Err(Refused::NotFound),
            (Some(_), Command::SetSettings(set)) => {
                let bytes = Value::Object(set.settings.document.clone()).to_string().len();
                if bytes > SETTINGS_BYTES_MAX {
                    return Err(Refused::TooLong { name: set.name, bytes });
                }
                Ok(vec![Event::ProjectSettingsSet(set)])
            }
            (Some(old), Command::RemoveSettings(removed)) => {
                if !old.settings.contains_key(&removed.name) {
                    return Err(Refused::NoSettings(removed.name));
                }
                Ok(vec![Event::ProjectSettingsRemoved(removed)])
            }
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::ProjectCreated(c) => Some(Self {
                name: c.name.clone(),
                key: c.key.clone(),
                created_at: at,
                settings: BTreeMap::new(),
            }),
            Event::ProjectSettingsSet(set) => state.map(|mut project| {
                project.settings.insert(set.name.clone(), set.settings.clone());
                project
            }),
            Event::ProjectSettingsRemoved(removed) => state.map(|mut project| {
                project.settings.remove(&removed.name);
                project
            }),
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn project() -> Project {
        let created = Event::ProjectCreated(Created { name: "one".into(), key: "one".into() });
        Project::evolve(None, &created, DateTime::UNIX_EPOCH).unwrap()
    }

    fn set(text: &str) -> SettingsSet {
        let document = json!({"text": text}).as_object().unwrap().clone();
        let settings = Settings { revision: Uuid::from_u128(1), document, has_secret: false };
        SettingsSet { name: "router".into(), settings }
    }

    #[test]
    fn settings_are_set_replaced_and_removed() {
        let mut state = project();
        for text in ["first", "second"] {
            let events = Project::decide(Some(&state), Command::SetSettings(set(text))).unwrap();
            state = Project::evolve(Some(state), &events[0], DateTime::UNIX_EPOCH).unwrap();
            assert_eq!(state.settings["router"].document["text"], text);
        }
        let remove = || Command::RemoveSettings(SettingsRemoved { name: "router".into() });
        let events = Project::decide(Some(&state), remove()).unwrap();
        state = Project::evolve(Some(state), &events[0], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(state, project());
        assert_eq!(Project::decide(Some(&state), remove()), Err(Refused::NoSettings("router".into())));
        assert_eq!(Project::decide(None, remove()), Err(Refused::NotFound));
        let long = set(&"x".repeat(SETTINGS_BYTES_MAX));
        assert!(matches!(
            Project::decide(Some(&state), Command::SetSettings(long)),
            Err(Refused::TooLong { .. })
        ));
    }
}

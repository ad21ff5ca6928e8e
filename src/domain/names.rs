//! Names within a project: who holds which. One stream per project, so that its version is the one
//! concurrency check for everything that must be unique, on any number of servers.

use super::{Entity, Event, Refusal, Rejection};
use crate::id::{ProjectId, StreamId};
use crate::spec;
use chrono::{DateTime, Utc};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What kind of thing a name belongs to. Names of different kinds do not clash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Project,
    Room,
    Service,
    ServiceAccount,
    MailboxAddress,
    RouteDomain,
    Feed,
    /// By its name, or its id where it has none.
    FeedSubscription,
    /// By its id.
    LlmLogger,
    ManagedAgent,
    GitSource,
    /// Of those that documents want.
    ApiKey,
    ServiceTemplate,
    /// Its scope is the service account that owns it.
    Secret,
    /// Its scope is the caller that owns it.
    UserSecret,
}

impl Kind {
    /// Which names resources of a kind hold. `None`: they hold none.
    #[must_use]
    pub fn of(kind: spec::Kind) -> Option<Self> {
        Some(match kind {
            spec::Kind::Room => Self::Room,
            // The service of an instance has its name.
            spec::Kind::Service | spec::Kind::ServiceInstance => Self::Service,
            spec::Kind::ServiceAccount => Self::ServiceAccount,
            spec::Kind::Mailbox => Self::MailboxAddress,
            spec::Kind::Route => Self::RouteDomain,
            spec::Kind::ManagedAgent => Self::ManagedAgent,
            spec::Kind::Feed => Self::Feed,
            spec::Kind::Subscription => Self::FeedSubscription,
            spec::Kind::GitSource => Self::GitSource,
            spec::Kind::ApiKey => Self::ApiKey,
            spec::Kind::ServiceTemplate => Self::ServiceTemplate,
            spec::Kind::Secret => Self::Secret,
            _ => return None,
        })
    }

    /// The project whose stream of names has the names of this kind: those of addresses are of the whole platform.
    #[must_use]
    pub fn holder(self, project: ProjectId) -> ProjectId {
        match self {
            Self::MailboxAddress | Self::RouteDomain => ProjectId::PLATFORM,
            _ => project,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project => "project",
            Self::Room => "room",
            Self::Service => "service",
            Self::ServiceAccount => "service account",
            Self::MailboxAddress => "mailbox",
            Self::RouteDomain => "route",
            Self::Feed => "feed",
            Self::FeedSubscription => "subscription",
            Self::LlmLogger => "logger",
            Self::ManagedAgent => "agent",
            Self::GitSource => "git source",
            Self::ApiKey => "API key",
            Self::ServiceTemplate => "service template",
            Self::Secret | Self::UserSecret => "secret",
        })
    }
}

/// A name in its place. `scope` is the room for things that live in one, else `None`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Key {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Uuid>,
    pub name: String,
}

/// Fact: `key` now means `id`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claimed {
    #[serde(flatten)]
    pub key: Key,
    pub id: Uuid,
}

/// All names of one project.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    #[serde(with = "pairs")]
    taken: OrdMap<Key, Uuid>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Claim { key: Key, id: Uuid },
    Release { key: Key },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{} `{}` exists already; choose another name, or update or delete that one", .key.kind, .key.name)]
    Taken { key: Key, by: Uuid },
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        Refusal::Exists
    }
    fn code(&self) -> &'static str {
        "name-taken"
    }
}

impl Names {
    pub const CATEGORY: &'static str = "names";

    #[must_use]
    pub fn stream(project: ProjectId) -> StreamId {
        StreamId::new(Self::CATEGORY, project)
    }

    #[must_use]
    pub fn get(&self, kind: Kind, scope: Option<Uuid>, name: &str) -> Option<Uuid> {
        self.taken.get(&Key { kind, scope, name: name.to_owned() }).copied()
    }
}

impl Entity for Names {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        let held = |key: &Key| state.and_then(|s| s.taken.get(key)).copied();
        match command {
            Command::Claim { key, id } => match held(&key) {
                Some(by) if by != id => Err(Refused::Taken { key, by }),
                Some(_) => Ok(vec![]),
                None => Ok(vec![Event::NameClaimed(Claimed { key, id })]),
            },
            Command::Release { key } if held(&key).is_some() => Ok(vec![Event::NameReleased(key)]),
            Command::Release { .. } => Ok(vec![]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, _at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::NameClaimed(claimed) => {
                let mut names = state.unwrap_or_default();
                names.taken.insert(claimed.key.clone(), claimed.id);
                Some(names)
            }
            Event::NameReleased(key) => {
                let mut names = state?;
                names.taken.remove(key);
                Some(names)
            }
            _ => state,
        }
    }
}

/// A map whose keys are structs, as a JSON list of pairs.
mod pairs {
    use super::{Key, OrdMap, Uuid};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(map: &OrdMap<Key, Uuid>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(map.iter())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<OrdMap<Key, Uuid>, D::Error> {
        Vec::<(Key, Uuid)>::deserialize(d).map(|pairs| pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { kind: Kind::Room, scope: None, name: name.into() }
    }

    #[test]
    fn a_name_is_held_by_one_until_released() {
        let at = DateTime::UNIX_EPOCH;
        let claim = |id| Command::Claim { key: key("a"), id: Uuid::from_u128(id) };
        let mut names = None;
        for event in Names::decide(None, claim(1)).unwrap() {
            names = Names::evolve(names, &event, at);
        }
        assert_eq!(Names::decide(names.as_ref(), claim(1)).unwrap(), vec![], "claiming twice is no news");
        let refused = Names::decide(names.as_ref(), claim(2)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "room `a` exists already; choose another name, or update or delete that one"
        );
        for event in Names::decide(names.as_ref(), Command::Release { key: key("a") }).unwrap() {
            names = Names::evolve(names, &event, at);
        }
        assert!(Names::decide(names.as_ref(), claim(2)).is_ok());
        let json = serde_json::to_string(&names).unwrap();
        assert_eq!(serde_json::from_str::<Option<Names>>(&json).unwrap(), names);
    }
}

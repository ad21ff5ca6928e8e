//! A room: the durable, named workspace. Its name is held by [`super::names`].

use super::{Entity, Event, Refusal, Rejection};
use crate::name::RoomName;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fact: the room exists.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Created {
    pub name: RoomName,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// Fact: the room is now like this. `None` fields were left alone.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Updated {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RoomName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Room {
    pub name: RoomName,
    pub metadata: Map<String, Value>,
    pub annotations: BTreeMap<String, String>,
    pub enabled: bool,
    /// Counts the changes of what is wanted; 1 at creation.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    Update(Updated),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the room exists already; use it, or choose another name")]
    Exists,
    #[error("the room does not exist; create it with `meshagent rooms create NAME`")]
    NotFound,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "room-exists",
            Self::NotFound => "room-not-found",
        }
    }
}

impl Room {
    /// Whether `update` would change anything.
    fn differs(&self, update: &Updated) -> bool {
        update.name.as_ref().is_some_and(|n| *n != self.name)
            || update.metadata.as_ref().is_some_and(|m| *m != self.metadata)
            || update.annotations.as_ref().is_some_and(|a| *a != self.annotations)
            || update.enabled.is_some_and(|e| e != self.enabled)
    }
}

impl Entity for Room {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(created)) => Ok(vec![Event::RoomCreated(created)]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(room), Command::Update(update)) if room.differs(&update) => {
                Ok(vec![Event::RoomUpdated(update)])
            }
            (Some(_), Command::Update(_)) => Ok(vec![]),
            (Some(_), Command::Delete) => Ok(vec![Event::RoomDeleted(super::event::Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::RoomCreated(c) => Some(Self {
                name: c.name.clone(),
                metadata: c.metadata.clone(),
                annotations: c.annotations.clone(),
                enabled: c.enabled,
                generation: 1,
                created_at: at,
                updated_at: at,
            }),
            Event::RoomUpdated(u) => {
                let old = state?;
                Some(Self {
                    name: u.name.clone().unwrap_or(old.name),
                    metadata: u.metadata.clone().unwrap_or(old.metadata),
                    annotations: u.annotations.clone().unwrap_or(old.annotations),
                    enabled: u.enabled.unwrap_or(old.enabled),
                    generation: old.generation + 1,
                    created_at: old.created_at,
                    updated_at: at,
                })
            }
            Event::RoomDeleted(_) => None,
            _ => state,
        }
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(name: &str) -> Created {
        Created {
            name: RoomName::new(name).unwrap(),
            metadata: Map::new(),
            annotations: BTreeMap::new(),
            enabled: true,
        }
    }

    fn fold(events: &[Event]) -> Option<Room> {
        events.iter().fold(None, |s, e| Room::evolve(s, e, DateTime::UNIX_EPOCH))
    }

    #[test]
    fn a_room_is_created_changed_and_deleted() {
        let room = fold(&Room::decide(None, Command::Create(created("a"))).unwrap());
        let off = Updated { enabled: Some(false), ..Updated::default() };
        let events = Room::decide(room.as_ref(), Command::Update(off.clone())).unwrap();
        assert_eq!(events, vec![Event::RoomUpdated(off.clone())]);
        let room = Room::evolve(room, &events[0], DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((room.enabled, room.generation), (false, 2));
        assert_eq!(Room::decide(Some(&room), Command::Update(off)).unwrap(), vec![], "no change, no event");
        let gone = Room::decide(Some(&room), Command::Delete).unwrap();
        assert_eq!(Room::evolve(Some(room), &gone[0], DateTime::UNIX_EPOCH), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(Room::decide(None, Command::Delete), Err(Refused::NotFound));
        let room = fold(&[Event::RoomCreated(created("a"))]);
        assert_eq!(Room::decide(room.as_ref(), Command::Create(created("a"))), Err(Refused::Exists));
    }
}

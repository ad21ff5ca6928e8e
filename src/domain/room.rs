//! A room: the durable, named workspace. Its name is held by [`super::names`].

use super::member::{self, Granted, Users};
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
    /// Roles of users from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Users>,
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
    /// All users with their roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Users>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Room {
    pub name: RoomName,
    pub metadata: Map<String, Value>,
    pub annotations: BTreeMap<String, String>,
    pub enabled: bool,
    /// Roles of users; services and agents have tokens instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: Users,
    /// Whether a user was ever given a role, so that roles alone say who may enter; also after the last was revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_roles: bool,
    /// Counts the changes of what is wanted; 1 at creation.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    Update(Updated),
    /// The roles of a user, all there are from now on.
    Grant(Granted),
    Revoke(String),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the room exists already; use it, or choose another name")]
    Exists,
    #[error("the room does not exist; create it with `meshagent rooms create NAME`")]
    NotFound,
    #[error("a user is named by an address of 1 to {} bytes; give one", member::USER_BYTES_MAX)]
    NoUser,
    #[error("no role was named; a user has at least one of guest, viewer, operator, developer, admin")]
    NoRoles,
    #[error("the room has {} users, the most there may be; revoke some", member::USERS_MAX)]
    TooManyUsers,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::NoUser | Self::NoRoles => Refusal::Invalid,
            Self::TooManyUsers => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "room-exists",
            Self::NotFound => "room-not-found",
            Self::NoUser | Self::NoRoles => "grant-invalid",
            Self::TooManyUsers => "room-users-limit",
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
            || update.users.as_ref().is_some_and(|users| !self.by_roles || *users != self.users)
    }
}

impl Entity for Room {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(created)) => {
                member::check(created.users.as_ref())?;
                Ok(vec![Event::RoomCreated(created)])
            }
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(room), Command::Update(update)) if room.differs(&update) => {
                member::check(update.users.as_ref())?;
                Ok(vec![Event::RoomUpdated(update)])
            }
            (Some(_), Command::Update(_)) => Ok(vec![]),
            (Some(room), Command::Grant(granted)) => member::grant(&room.users, granted),
            (Some(room), Command::Revoke(user)) => Ok(member::revoke(&room.users, &user)),
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
                users: c.users.clone().unwrap_or_default(),
                by_roles: c.users.is_some(),
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
                    users: u.users.clone().unwrap_or(old.users),
                    by_roles: old.by_roles || u.users.is_some(),
                    generation: old.generation + 1,
                    created_at: old.created_at,
                    updated_at: at,
                })
            }
            Event::RoomUserGranted(granted) | Event::RoomUserChanged(granted) => state.map(|mut room| {
                room.by_roles = true;
                room.generation += 1;
                room.users.insert(granted.user.clone(), granted.roles.clone());
                room
            }),
            Event::RoomUserRevoked(revoked) => state.map(|mut room| {
                room.users.remove(&revoked.user);
                room.generation += 1;
                room
            }),
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
            users: None,
        }
    }

    #[test]
    fn users_are_set_at_once_and_counted() {
        let users = |names: &[&str]| -> Option<Users> {
            let role = std::collections::BTreeSet::from([crate::spec::RoomRole::Viewer]);
            Some(names.iter().map(|name| ((*name).to_owned(), role.clone())).collect())
        };
        let mut room = fold(&[Event::RoomCreated(Created { users: users(&["a@x"]), ..created("desk") })]);
        assert!(room.as_ref().unwrap().by_roles);
        let set = |names: &[&str]| Command::Update(Updated { users: users(names), ..Updated::default() });
        for (command, facts) in [(set(&["a@x"]), 0), (set(&["b@x"]), 1), (set(&[]), 1), (set(&[]), 0)] {
            let events = Room::decide(room.as_ref(), command).unwrap();
            assert_eq!(events.len(), facts);
            room = events.iter().fold(room, |room, event| Room::evolve(room, event, DateTime::UNIX_EPOCH));
        }
        let state = room.clone().unwrap();
        assert_eq!((state.generation, state.users.len(), state.by_roles), (3, 0, true));
        assert_eq!(Room::decide(room.as_ref(), set(&[" "])), Err(Refused::NoUser));
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
    fn users_have_the_roles_that_were_granted_last() {
        use crate::spec::RoomRole;
        let granted = |user: &str, roles: &[RoomRole]| Granted {
            user: user.into(),
            roles: roles.iter().copied().collect(),
        };
        let mut room = fold(&[Event::RoomCreated(created("a"))]).unwrap();
        let mut run = |command| {
            let events = Room::decide(Some(&room), command)?;
            for event in &events {
                room = Room::evolve(Some(room.clone()), event, DateTime::UNIX_EPOCH).unwrap();
            }
            Ok(events.iter().map(Event::kind).collect::<Vec<_>>())
        };
        let viewer = || Command::Grant(granted(" Ann@x ", &[RoomRole::Viewer]));
        assert_eq!(run(viewer()), Ok(vec!["room.user-granted"]));
        assert_eq!(run(viewer()), Ok(vec![]), "no change, no event");
        assert_eq!(run(Command::Grant(granted("ann@x", &[RoomRole::Admin]))), Ok(vec!["room.user-changed"]));
        assert_eq!(run(Command::Revoke("bob@x".into())), Ok(vec![]));
        assert_eq!(run(Command::Revoke("ANN@x".into())), Ok(vec!["room.user-revoked"]));
        assert_eq!(run(Command::Grant(granted("ann@x", &[]))), Err(Refused::NoRoles));
        assert_eq!(run(Command::Grant(granted(" ", &[RoomRole::Admin]))), Err(Refused::NoUser));
        assert_eq!(
            (room.users.len(), room.by_roles, room.generation),
            (0, true, 4),
            "users are a part of it"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(Room::decide(None, Command::Delete), Err(Refused::NotFound));
        let room = fold(&[Event::RoomCreated(created("a"))]);
        assert_eq!(Room::decide(room.as_ref(), Command::Create(created("a"))), Err(Refused::Exists));
    }
}

//! Users of a room and their roles in it. They are facts of the room's own stream; this file says what they may be.

use super::Event;
use super::room::Refused;
use crate::spec::RoomRole;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Users of one room.
pub const USERS_MAX: usize = 10_000;
/// Bytes of a user's name.
pub const USER_BYTES_MAX: usize = 255;

/// Fact: a user has these roles in the room now, all there are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Granted {
    pub user: String,
    pub roles: BTreeSet<RoomRole>,
}

/// Fact: a user has no role in the room any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revoked {
    pub user: String,
}

/// The users of a room, by name.
pub type Users = BTreeMap<String, BTreeSet<RoomRole>>;

/// A user's name as it is kept: addresses are one, whatever their case.
#[must_use]
pub fn key(user: &str) -> String {
    user.trim().to_lowercase()
}

pub(super) fn grant(users: &Users, granted: Granted) -> Result<Vec<Event>, Refused> {
    let granted = Granted { user: key(&granted.user), ..granted };
    let named = !granted.user.is_empty() && !granted.user.chars().any(char::is_control);
    if !named || granted.user.len() > USER_BYTES_MAX {
        return Err(Refused::NoUser);
    }
    if granted.roles.is_empty() {
        return Err(Refused::NoRoles);
    }
    match users.get(&granted.user) {
        Some(roles) if *roles == granted.roles => Ok(vec![]),
        Some(_) => Ok(vec![Event::RoomUserChanged(granted)]),
        None if users.len() >= USERS_MAX => Err(Refused::TooManyUsers),
        None => Ok(vec![Event::RoomUserGranted(granted)]),
    }
}

/// What is wrong with users that are set at once. Their names are as [`key`] has them.
pub(super) fn check(users: Option<&Users>) -> Result<(), Refused> {
    let Some(users) = users else { return Ok(()) };
    let named = |user: &String| {
        *user == key(user)
            && !user.is_empty()
            && !user.chars().any(char::is_control)
            && user.len() <= USER_BYTES_MAX
    };
    if !users.keys().all(named) {
        return Err(Refused::NoUser);
    }
    if users.values().any(BTreeSet::is_empty) {
        return Err(Refused::NoRoles);
    }
    if users.len() > USERS_MAX { Err(Refused::TooManyUsers) } else { Ok(()) }
}

/// Revoking what is not there is no news.
pub(super) fn revoke(users: &Users, user: &str) -> Vec<Event> {
    let user = key(user);
    if users.contains_key(&user) { vec![Event::RoomUserRevoked(Revoked { user })] } else { vec![] }
}

//! People of a project and their roles in it. They are facts of the project's own stream; this file says what they may be.

use super::Event;
use super::member::{self, USER_BYTES_MAX};
use super::project::Refused;
use crate::spec::{ProjectRole, ProjectRoles, fewest_roles, roles_imply};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Members of one project.
pub const MEMBERS_MAX: usize = 10_000;

/// Fact: somebody has these roles in the project now, and those that follow from them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Granted {
    pub user: String,
    pub roles: ProjectRoles,
}

/// Fact: somebody is no member of the project any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revoked {
    pub user: String,
}

/// The members of a project by address, each with the fewest roles that give all they have.
pub type Members = OrdMap<String, ProjectRoles>;

/// Members that change: the roles they have then, or none where they go.
pub type MemberChanges = BTreeMap<String, Option<ProjectRoles>>;

/// Whether somebody with these roles can manage the project.
#[must_use]
pub fn manages(roles: &ProjectRoles) -> bool {
    roles_imply(roles, ProjectRole::Admin)
}

/// The roles of a member; none for those who are none.
#[must_use]
pub fn roles<'a>(members: &'a Members, user: &str) -> Option<&'a ProjectRoles> {
    members.get(&member::key(user))
}

fn check(user: &str, roles: &ProjectRoles) -> Result<(), Refused> {
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.chars().any(char::is_control) {
        return Err(Refused::NoUser);
    }
    if roles.is_empty() { Err(Refused::NoRoles) } else { Ok(()) }
}

/// Members that are to be, as they are kept. Where two spellings of one address are named, their roles are put together.
pub fn plain(members: impl IntoIterator<Item = (String, ProjectRoles)>) -> Result<Members, Refused> {
    let mut all: BTreeMap<String, ProjectRoles> = BTreeMap::new();
    for (user, roles) in members {
        let user = member::key(&user);
        check(&user, &roles)?;
        all.entry(user).or_default().extend(roles);
    }
    if all.len() > MEMBERS_MAX {
        return Err(Refused::TooManyMembers);
    }
    Ok(all.into_iter().map(|(user, roles)| (user, fewest_roles(&roles))).collect())
}

/// What becomes of members so that they are those wanted.
pub(super) fn changes(now: &Members, wanted: &Members) -> Result<MemberChanges, Refused> {
    if now.values().any(manages) && !wanted.values().any(manages) {
        return Err(Refused::LastManager);
    }
    let set = wanted.iter().filter(|(user, roles)| now.get(*user) != Some(*roles));
    let set = set.map(|(user, roles)| (user.clone(), Some(roles.clone())));
    let gone = now.keys().filter(|user| !wanted.contains_key(*user)).map(|user| (user.clone(), None));
    Ok(set.chain(gone).collect())
}

/// `forced`: also where nobody who can manage the project is left.
pub(super) fn grant(members: &Members, granted: &Granted, forced: bool) -> Result<Vec<Event>, Refused> {
    let user = member::key(&granted.user);
    check(&user, &granted.roles)?;
    let granted = Granted { user, roles: fewest_roles(&granted.roles) };
    match members.get(&granted.user) {
        Some(roles) if *roles == granted.roles => Ok(vec![]),
        Some(_) if !forced && !manages(&granted.roles) && is_last(members, &granted.user) => {
            Err(Refused::LastManager)
        }
        Some(_) => Ok(vec![Event::ProjectMemberChanged(granted)]),
        None if members.len() >= MEMBERS_MAX => Err(Refused::TooManyMembers),
        None => Ok(vec![Event::ProjectMemberGranted(granted)]),
    }
}

pub(super) fn revoke(members: &Members, user: &str, forced: bool) -> Result<Vec<Event>, Refused> {
    let user = member::key(user);
    if !members.contains_key(&user) {
        return Err(Refused::NoMember(user.chars().take(USER_BYTES_MAX).collect()));
    }
    if !forced && is_last(members, &user) {
        return Err(Refused::LastManager);
    }
    Ok(vec![Event::ProjectMemberRevoked(Revoked { user })])
}

/// Whether nobody but this member can manage the project.
fn is_last(members: &Members, user: &str) -> bool {
    let mut managers = members.iter().filter(|(_, roles)| manages(roles)).map(|(user, _)| user);
    managers.next().is_some_and(|one| one == user) && managers.next().is_none()
}

//! Users of rooms: their roles, and what these may do by the project's settings document `room-roles`.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::member::{self, Granted};
pub use crate::domain::project::ROOM_ROLES;
use crate::domain::room::{Command, Room};
use crate::id::{ProjectId, RoomId};
use crate::projection::World;
use crate::spec::{ApiScope, ProjectRole, ProjectRoles, RoleSettings, RoomRole, roles_imply};
use serde_json::Value;

impl App {
    /// Gives a user these roles in a room, in place of those it had.
    pub async fn grant_room_roles(
        &self,
        actor: &Actor,
        room: RoomId,
        user: &str,
        roles: impl IntoIterator<Item = RoomRole>,
    ) -> Result<(), Error> {
        let granted = Granted { user: user.to_owned(), roles: roles.into_iter().collect() };
        self.on_room_users(actor, room, Command::Grant(granted)).await
    }

    /// Takes all roles from a user; nothing where it has none.
    pub async fn revoke_room_roles(&self, actor: &Actor, room: RoomId, user: &str) -> Result<(), Error> {
        self.on_room_users(actor, room, Command::Revoke(user.to_owned())).await
    }

    async fn on_room_users(&self, actor: &Actor, id: RoomId, command: Command) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events = Room::decide(world.room(id), command.clone()).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await
    }

    /// What a user may do in a room by its role. `None` where the room never named a user: whoever has a key
    /// of the project decides then. Where it did, those without a role may not enter, also when all roles were revoked.
    pub fn user_scope(&self, id: RoomId, user: &str) -> Result<Option<ApiScope>, Error> {
        if self.world().room(id).is_some_and(|room| room.by_roles) {
            self.scope_of_role(id, user).map(Some)
        } else {
            Ok(None)
        }
    }

    /// What a user may do in a room by its role there; refused where it has none.
    pub fn scope_of_role(&self, id: RoomId, user: &str) -> Result<ApiScope, Error> {
        let world = self.world();
        let Some(role) = room_role(&world, id, user) else {
            let room = world.room(id).map(|room| room.name.to_string()).unwrap_or_default();
            return Err(Error::Forbidden(format!(
                "`{user}` has no role in room `{room}`; give it one with `meshagent iam grant`"
            )));
        };
        Ok(self.room_roles(id)?.scope(role))
    }

    fn room_roles(&self, room: RoomId) -> Result<RoleSettings, Error> {
        let Some(settings) = self.settings_document(room.project(), ROOM_ROLES) else {
            return Ok(RoleSettings::default());
        };
        serde_json::from_value(Value::Object(settings.document)).map_err(|error| Error::Invalid {
            code: "settings-invalid",
            text: format!("the project's settings `{ROOM_ROLES}` cannot be read: {error}; set them anew"),
        })
    }
}

/// A user's role in a room: the greatest of those it was given there and those that its roles in the project give in all
/// rooms.
#[must_use]
pub fn room_role(world: &World, room: RoomId, user: &str) -> Option<RoomRole> {
    let own = world.room(room)?.users.get(&member::key(user)).and_then(|roles| roles.last().copied());
    own.max(of_project(&super::project_members::roles(world, room.project(), user)))
}

/// The role in all rooms that roles in the project give.
fn of_project(roles: &ProjectRoles) -> Option<RoomRole> {
    if roles_imply(roles, ProjectRole::RoomManager) {
        Some(RoomRole::Admin)
    } else if roles_imply(roles, ProjectRole::Developer) {
        Some(RoomRole::Developer)
    } else {
        None
    }
}

/// The rooms where a user has a role, each with the roles it was given there.
pub fn direct_roles<'a>(
    world: &'a World,
    project: ProjectId,
    user: &str,
) -> impl Iterator<Item = (RoomId, &'a Room, &'a std::collections::BTreeSet<RoomRole>)> {
    let user = member::key(user);
    world.rooms(project).filter_map(move |(id, room)| Some((id, room, room.users.get(&user)?)))
}

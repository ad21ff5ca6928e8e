//! Users of rooms: their roles, and what these may do by the project's settings document `room-roles`.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::member::{self, Granted};
use crate::domain::room::{Command, Room};
use crate::id::RoomId;
use crate::spec::{ApiScope, RoomRole, RoomRoles};
use serde_json::Value;

/// Name of the settings document that says what each role may do.
pub const ROOM_ROLES: &str = "room-roles";

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

    /// A user's role in a room, the greatest that it has.
    #[must_use]
    pub fn room_role(&self, room: RoomId, user: &str) -> Option<RoomRole> {
        let world = self.world();
        world.room(room)?.users.get(&member::key(user))?.last().copied()
    }

    /// What a user may do in a room by its role. `None` where the room never named a user: whoever has a key
    /// of the project decides then. Where it did, those without a role may not enter, also when all roles were revoked.
    pub fn user_scope(&self, id: RoomId, user: &str) -> Result<Option<ApiScope>, Error> {
        let world = self.world();
        let Some(room) = world.room(id).filter(|room| room.by_roles) else { return Ok(None) };
        let Some(role) = self.room_role(id, user) else {
            return Err(Error::Forbidden(format!(
                "`{user}` has no role in room `{}`; give it one with `meshagent iam grant`",
                room.name
            )));
        };
        Ok(Some(self.room_roles(id)?.scope(role)))
    }

    fn room_roles(&self, room: RoomId) -> Result<RoomRoles, Error> {
        let Some(settings) = self.settings_document(room.project(), ROOM_ROLES) else {
            return Ok(RoomRoles::default());
        };
        serde_json::from_value(Value::Object(settings.document)).map_err(|error| Error::Invalid {
            code: "settings-invalid",
            text: format!("the project's settings `{ROOM_ROLES}` cannot be read: {error}; set them anew"),
        })
    }
}

//! Who may enter which room: the token's word against the room's state.

use crate::app::token::Bearer;
use crate::app::{Actor, App, Error};
use crate::domain::room::Created;
use crate::id::RoomId;
use crate::name::RoomName;
use crate::room::Limits;
use crate::room::world::{Admission, Gate, Refusal, RoomRef};
use async_trait::async_trait;
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The gate of this server.
#[derive(Debug)]
pub(super) struct TokenGate {
    pub app: Arc<App>,
    pub limits: Limits,
}

#[async_trait]
impl Gate for TokenGate {
    async fn admit(&self, room: &str, token: &str) -> Result<Admission, Refusal> {
        let bearer = self.verify(token).await?;
        if bearer.room.as_deref() != Some(room) {
            let meant = bearer.room.as_deref().unwrap_or("no room");
            return Err(Refusal::Forbidden(format!(
                "this participant token is for {meant}, not for room `{room}`; mint one with a `room` grant for it"
            )));
        }
        self.let_in(bearer, room).await
    }

    async fn admit_bearer(&self, token: &str) -> Result<Admission, Refusal> {
        let bearer = self.verify(token).await?;
        let room = bearer.room.clone().ok_or_else(|| {
            Refusal::Forbidden(
                "this participant token is for no room; mint one with a `room` grant".to_owned(),
            )
        })?;
        self.let_in(bearer, &room).await
    }
}

impl TokenGate {
    async fn verify(&self, token: &str) -> Result<Bearer, Refusal> {
        self.app.verify(token).await.map_err(|error| Refusal::Forbidden(error.to_string()))
    }

    async fn let_in(&self, bearer: Bearer, room: &str) -> Result<Admission, Refusal> {
        let (id, name) = self.find_or_create(&bearer, room).await?;
        let api = Arc::new(bearer.api.unwrap_or_default());
        let room = room_ref(&self.app, self.limits, id, &name);
        Ok(Admission { room, name: bearer.name, role: bearer.role, api, service: bearer.service })
    }

    async fn find_or_create(&self, bearer: &Bearer, room: &str) -> Result<(RoomId, String), Refusal> {
        let found = self.app.world().room_named(bearer.project, room).map(|(id, r)| (id, r.enabled));
        match found {
            Some((_, false)) => Err(Refusal::Disabled(format!(
                "room `{room}` is disabled; enable it with `meshagent rooms update`"
            ))),
            Some((id, true)) => Ok((id, room.to_owned())),
            None if self.app.settings.auto_create_rooms => self.create(bearer, room).await,
            None => Err(Refusal::NoRoom(Error::no_room(room).to_string())),
        }
    }

    async fn create(&self, bearer: &Bearer, room: &str) -> Result<(RoomId, String), Refusal> {
        let name = RoomName::new(room).map_err(|error| Refusal::NoRoom(error.to_string()))?;
        let created =
            Created { name, metadata: Map::new(), annotations: BTreeMap::new(), enabled: true, users: None };
        let actor = Actor::new("participant", &bearer.name);
        let id = self
            .app
            .create_room(&actor, bearer.project, created, true)
            .await
            .map_err(|error| Refusal::NotReady(error.to_string()))?;
        Ok((id, room.to_owned()))
    }
}

/// A room as the socket edge addresses it.
pub(super) fn room_ref(app: &App, operators: Limits, id: RoomId, name: &str) -> RoomRef {
    let limits = limits(app, operators, id);
    RoomRef { id, name: name.to_owned(), url: format!("{}/rooms/{name}", app.settings.public_url), limits }
}

/// The operator's limits, lowered as the room's annotations say.
pub(super) fn limits(app: &App, operators: Limits, id: RoomId) -> Limits {
    let world = app.world();
    world.room(id).map_or(operators, |room| operators.lowered(&room.annotations))
}

//! What the room edge asks of the rest of the server: services, links, credentials for calls out.

use crate::app::links::Links;
use crate::app::outward::Outward;
use crate::app::secrets::use_of::connecting_for;
use crate::app::token::Mint;
use crate::app::tools::ToolServer;
use crate::app::{Actor, App, Error};
use crate::control::ControlHandle;
use crate::domain::Refusal;
use crate::domain::names::Kind;
use crate::id::{RoomId, ServiceId};
use crate::net::guard::Allowed;
use crate::room::Bus;
use crate::room::mcp::{Credential, ToolSecrets};
use crate::room::world::{Callouts, FileLinks, RoomRef, ServiceError, Services};
use crate::spec;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// How long the token of a called service is good for, seconds.
const CALL_TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// One implementation for all of them.
pub(super) struct Doors {
    pub app: Arc<App>,
    pub links: Arc<Links>,
    pub outward: Arc<Outward>,
    /// The controllers, once they run.
    pub control: OnceLock<Arc<ControlHandle>>,
    /// The tool bus, once there is one.
    pub bus: OnceLock<Arc<Bus>>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

impl Doors {
    pub(super) fn find(&self, room: RoomId, text: &str) -> Option<ServiceId> {
        let world = self.app.world();
        let project = room.project();
        let named = |scope| world.named(project, Kind::Service, scope, text);
        let uuid = Uuid::parse_str(text).ok().or_else(|| named(Some(room))).or_else(|| named(None))?;
        let id = ServiceId::new(project, uuid);
        world.service(id).filter(|s| s.room.is_none_or(|r| r == room)).map(|_| id)
    }
}

#[async_trait]
impl Services for Doors {
    async fn list(&self, room: RoomId) -> Result<Vec<(Value, Value)>, ServiceError> {
        let world = self.app.world();
        let session = world.active_session(room).map(|(id, _)| id);
        let state = |id| self.control.get().map_or(Value::Null, |control| control.service_state(id, session));
        let of_room = world.services(room.project()).filter(|(_, s)| s.room.is_none_or(|r| r == room));
        Ok(of_room
            .map(|(id, service)| {
                let spec = spec::Service { id: Some(id.to_string()), ..service.spec.clone() };
                (json!(spec), state(id))
            })
            .collect())
    }

    async fn restart(&self, room: RoomId, service: &str, by: &str) -> Result<(), ServiceError> {
        let id = self.find(room, service).ok_or_else(|| ServiceError::NotFound(service.to_owned()))?;
        let actor = Actor::new("participant", by);
        match self.app.restart_service(&actor, id).await {
            Ok(()) => Ok(()),
            Err(Error::Rejected { refusal: Refusal::State, text, .. }) => {
                Err(ServiceError::RestartNotAllowed { service: service.to_owned(), why: text })
            }
            Err(error) => Err(ServiceError::Failed(error.to_string())),
        }
    }
}

impl FileLinks for Doors {
    fn url(&self, room: &RoomRef, path: &str, download: bool) -> Result<String, String> {
        Ok(self.links.url(room.id, path, download, self.app.clock.now()))
    }
}

#[async_trait]
impl Callouts for Doors {
    async fn mint(
        &self,
        room: &RoomRef,
        name: &str,
        api: Option<&Map<String, Value>>,
    ) -> Result<String, String> {
        let api = match api {
            Some(api) => serde_json::from_value(Value::Object(api.clone())).map_err(|e| e.to_string())?,
            None => spec::ApiScope::agent_default(),
        };
        let mut mint = Mint::new(room.id.project(), name);
        mint.role = Some("agent".to_owned());
        mint.room = Some(room.name.clone());
        mint.api = Some(api);
        mint.lifetime_seconds = Some(CALL_TOKEN_SECONDS);
        self.app.mint(mint).await.map_err(|error| error.to_string())
    }

    async fn webhook_secret(&self, room: &RoomRef) -> Result<Vec<u8>, String> {
        let secret = self.app.webhook_secret(&self.outward, room.id.project()).await;
        secret.map(|secret| secret.expose().to_vec()).map_err(|error| error.to_string())
    }

    fn allowed_hosts(&self) -> &Allowed {
        &self.outward.allowed
    }
}

#[async_trait]
impl ToolSecrets for Doors {
    async fn credential(&self, server: &ToolServer) -> Result<Credential, String> {
        let (value, expires_at) = match (&server.secret, &server.oauth) {
            (Some(secret), _) => {
                let acting = connecting_for(&self.app.world(), server.place.0);
                let acting = acting.map_err(|error| error.to_string())?;
                let used = self.app.proxied_secret(&self.outward, acting, secret, None).await;
                used.map(|used| (used.value, used.expires_at)).map_err(|error| error.to_string())?
            }
            (None, Some(client)) => {
                let token = self.app.client_token(&self.outward, client).await;
                token.map(|token| (token.token, token.expires_at)).map_err(|error| error.to_string())?
            }
            (None, None) => return Err("the tool server has no credential".to_owned()),
        };
        let now = self.app.clock.now();
        let valid_for = expires_at.map(|end| (end - now).to_std().unwrap_or_default());
        Ok(Credential { value, valid_for })
    }

    fn allowed_hosts(&self) -> &Allowed {
        &self.outward.allowed
    }
}

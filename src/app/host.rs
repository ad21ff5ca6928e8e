//! What the REST edge and the controllers need of whoever runs rooms live. The composition root provides it.

use super::Error;
use super::tools::{Place, ToolServer, ToolServerState};
use crate::id::{RoomId, ServiceId, SessionId};
use crate::net::guard::Allowed;
use crate::spec::ApiScope;
use crate::vault::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::any::Any;
use std::collections::BTreeMap;
use tokio::task::JoinHandle;
use url::Url;

/// Name of the lease that the server running a room holds.
#[must_use]
pub fn lease_name(room: RoomId) -> String {
    format!("session/{}/{room}", room.project())
}

/// A room's session, wherever it runs.
#[derive(Clone, Debug)]
pub struct Hosted {
    pub session: SessionId,
    /// Base URL under which clients reach the server that runs it, or one that passes them on.
    pub url: String,
    /// Base URL under which other servers reach that server; `None`: it is this one.
    pub elsewhere: Option<String>,
}

/// A room's limits, by name, and what its run on this server uses of them.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub limits: serde_json::Value,
    pub participants: usize,
    /// Participants cut off so far because they did not read.
    pub cut_off: u64,
}

/// A service elsewhere to take into a room over a socket.
pub struct Dial {
    pub room: RoomId,
    /// The session that it is to take part in, and no other.
    pub session: SessionId,
    /// `ws` or `wss`.
    pub url: Url,
    /// The `room.call`, with the token in it.
    pub event: Value,
    /// Signs the call.
    pub secret: Secret,
    pub allowed: Allowed,
    /// Its name in the room.
    pub name: String,
    pub api: ApiScope,
    pub service: ServiceId,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("room", &self.room).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Runs rooms live.
#[async_trait]
pub trait RoomHost: Send + Sync + 'static {
    /// Makes sure that the room runs somewhere, here if nowhere else.
    async fn open(&self, room: RoomId) -> Result<Hosted, Error>;

    /// Participants of a room that runs here, counted by role.
    fn roles(&self, room: RoomId) -> BTreeMap<String, u64>;

    /// Since when nobody but its own services has used a room that runs here.
    fn idle_since(&self, room: RoomId) -> Option<DateTime<Utc>>;

    /// Whether it opens rooms by itself; a server that gives its rooms away leaves that to the others.
    fn takes_rooms(&self) -> bool {
        true
    }

    /// Sessions that run here.
    fn live(&self) -> Vec<(RoomId, SessionId)>;

    /// Sends everybody in this session of a room away for good, and stops running it. A session that followed it stays.
    async fn end(&self, room: RoomId, session: SessionId, reason: crate::domain::session::Reason);

    /// Says which tool servers a room that runs here is to offer, all of them. Does not block.
    fn offer_tools(&self, _room: RoomId, _servers: Vec<ToolServer>) {}

    /// How a tool server of a room that runs here is.
    fn tool_server(&self, _room: RoomId, _place: Place) -> Option<ToolServerState> {
        None
    }

    /// Dials a service elsewhere and takes it into a session that runs here, over that socket; opens none. The task ends when the
    /// socket does; aborted, it ends the socket.
    async fn dial(&self, _dial: Dial) -> Result<JoinHandle<()>, String> {
        Err("this server dials no services".to_owned())
    }

    /// A file was stored or deleted by somebody outside the room.
    fn file_changed(&self, room: RoomId, path: &str, deleted: bool, by: &str);

    /// How much of the room's limits is used.
    fn usage(&self, _room: RoomId) -> Usage {
        Usage::default()
    }

    /// Something whose holder uses a room that runs here: the room is not idle until it is dropped. None where the room
    /// does not run here.
    fn busy(&self, _room: RoomId) -> Option<Box<dyn Any + Send + Sync>> {
        None
    }

    /// One line for the room's developer log.
    fn log_line(&self, room: RoomId, kind: &str, data: serde_json::Value);
}

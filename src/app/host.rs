//! What the REST edge and the controllers need of whoever runs rooms live. The composition root provides it.

use super::Error;
use super::tools::{Place, ToolServer, ToolServerState};
use crate::id::{RoomId, SessionId};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Name of the lease that the server running a room holds.
#[must_use]
pub fn lease_name(room: RoomId) -> String {
    format!("session/{}/{room}", room.project())
}

/// A room's session, wherever it runs.
#[derive(Clone, Debug)]
pub struct Hosted {
    pub session: SessionId,
    /// Base URL of the server that runs it.
    pub url: String,
}

/// A room's limits, by name, and what its run on this server uses of them.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub limits: serde_json::Value,
    pub participants: usize,
    /// Participants cut off so far because they did not read.
    pub cut_off: u64,
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

    /// Sessions that run here.
    fn live(&self) -> Vec<(RoomId, SessionId)>;

    /// Sends everybody away for good and stops running the room.
    async fn end(&self, room: RoomId, reason: crate::domain::session::Reason);

    /// Says which tool servers a room that runs here is to offer, all of them. Does not block.
    fn offer_tools(&self, _room: RoomId, _servers: Vec<ToolServer>) {}

    /// How a tool server of a room that runs here is.
    fn tool_server(&self, _room: RoomId, _place: Place) -> Option<ToolServerState> {
        None
    }

    /// A file was stored or deleted by somebody outside the room.
    fn file_changed(&self, room: RoomId, path: &str, deleted: bool, by: &str);

    /// How much of the room's limits is used.
    fn usage(&self, _room: RoomId) -> Usage {
        Usage::default()
    }

    /// One line for the room's developer log.
    fn log_line(&self, room: RoomId, kind: &str, data: serde_json::Value);
}

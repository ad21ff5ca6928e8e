//! Messages between participants (room protocol §3.4). What arrives comes as pushes of kind `messaging.send`.

use super::driver::Shared;
use super::link::{Link, Push};
use super::{RoomClient, RoomError};
use crate::wire::{Content, pack};
use base64::Engine;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A message from another participant, or from the room about one.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomMessage {
    pub from_participant_id: String,
    /// Its type, for example `chat` or `participant.enabled`.
    pub kind: String,
    pub body: Value,
    pub attachment: Bytes,
}

impl RoomMessage {
    /// The message that a push carries; `None` for pushes of other kinds.
    #[must_use]
    pub fn from_push(push: &Push) -> Option<Self> {
        if push.kind != "messaging.send" {
            return None;
        }
        let text = |key: &str| push.header.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self {
            from_participant_id: text("from_participant_id"),
            kind: text("type"),
            body: push.header.get("message").cloned().unwrap_or(Value::Null),
            attachment: push.attachment.clone(),
        })
    }
}

pub(super) async fn enable(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<(), RoomError> {
    let id = shared.options.ids.fresh().simple().to_string();
    let (arguments, data) = Content::Json(json!({})).into_parts();
    let header = json!({
        "toolkit": "messaging", "tool": "enable", "participant_id": null, "on_behalf_of_id": null,
        "arguments": arguments, "tool_call_id": id,
    });
    link.request("room.invoke_tool", pack(&header, &data)).await.map(|_| ())
}

impl RoomClient {
    /// Joins the room's messaging, now and after each reconnect. The room answers with a push
    /// `messaging.enabled` that lists the other participants.
    pub async fn enable_messaging(&self) -> Result<(), RoomError> {
        self.shared.messaging.store(true, Ordering::Relaxed);
        let link = self.shared.link("messaging.enable").await?;
        enable(&self.shared, &link).await
    }

    /// Leaves the room's messaging.
    pub async fn disable_messaging(&self) -> Result<(), RoomError> {
        self.shared.messaging.store(false, Ordering::Relaxed);
        self.invoke_json("messaging", "disable", json!({})).await.map(|_| ())
    }

    /// Sends `body`, a JSON object, to one participant. Error 1003: they are not there.
    pub async fn send_message(
        &self,
        to_participant_id: &str,
        kind: &str,
        body: &Value,
        attachment: Option<&[u8]>,
    ) -> Result<(), RoomError> {
        let mut input = outgoing(kind, body, attachment);
        input["to_participant_id"] = json!(to_participant_id);
        self.invoke_json("messaging", "send", input).await.map(|_| ())
    }

    /// Sends `body`, a JSON object, to every other participant with messaging.
    pub async fn broadcast_message(
        &self,
        kind: &str,
        body: &Value,
        attachment: Option<&[u8]>,
    ) -> Result<(), RoomError> {
        self.invoke_json("messaging", "broadcast", outgoing(kind, body, attachment)).await.map(|_| ())
    }
}

fn outgoing(kind: &str, body: &Value, attachment: Option<&[u8]>) -> Value {
    let attachment = attachment.map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes));
    json!({"type": kind, "message_json": body.to_string(), "attachment_base64": attachment})
}

//! `messaging`: presence and messages between participants (room protocol §3.4). Nothing here waits, so that the
//! messages of one sender keep their order; `stream` alone waits, for the other participant.

mod peer_stream;

use crate::room::guard;
use crate::room::session::MESSAGING_PUSH;
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::wire::{Content, pack};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The toolkit.
#[derive(Debug)]
pub struct Messaging {
    info: ToolkitInfo,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Send {
    to_participant_id: String,
    #[serde(flatten)]
    message: RoomMessage,
}

#[derive(Deserialize, JsonSchema)]
struct RoomMessage {
    r#type: String,
    /// JSON text of an object.
    #[serde(default)]
    message_json: Option<String>,
    #[serde(default)]
    attachment_base64: Option<String>,
}

impl Default for Messaging {
    fn default() -> Self {
        let none = ["empty"];
        let tools = vec![
            ToolInfo::unary::<Nothing>(
                "enable",
                &none,
                "Begins to take messages and to hear who comes and goes.",
            ),
            ToolInfo::unary::<Nothing>("disable", &none, "Stops taking messages."),
            ToolInfo::unary::<Send>("send", &none, "Sends a message to one participant."),
            ToolInfo::unary::<RoomMessage>("broadcast", &none, "Sends a message to everybody else."),
            ToolInfo::stream("stream", Takes::Stream, "Opens a stream to one participant.")
                .of(&["json"])
                .waiting(),
        ];
        let info = ToolkitInfo {
            name: "messaging",
            title: "Messaging",
            description: "Messages between the participants of this room.",
            tools,
        };
        Self { info }
    }
}

#[async_trait]
impl Toolkit for Messaging {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        let me = &call.caller;
        match call.tool {
            "enable" => call.session.enable_messaging(&me.id, guard::may_list_participants(&me.api)),
            "disable" => call.session.disable_messaging(&me.id),
            "send" => {
                let Send { to_participant_id: to, message } = call.args()?;
                let payload = message.payload(&me.id)?;
                let Some(peer) = call.session.messaging_peer(&to) else {
                    let text = format!("participant `{to}` was not found, or takes no messages");
                    return Err(ToolError::not_found(text));
                };
                peer.outbox.push(MESSAGING_PUSH, payload);
            }
            "broadcast" => {
                let payload = call.args::<RoomMessage>()?.payload(&me.id)?;
                call.session.broadcast(&me.id, &payload);
            }
            _ => peer_stream::run(call).await?,
        }
        Ok(Content::Empty)
    }
}

impl RoomMessage {
    /// The push that the receiver gets: the message as an object, the attachment as bytes.
    fn payload(&self, from: &str) -> Result<Bytes, ToolError> {
        let message: Map<String, Value> = match &self.message_json {
            None => Map::new(),
            Some(text) => serde_json::from_str(text).map_err(|error| {
                ToolError::invalid(format!(
                    "field `message_json` must be the JSON text of an object: {error}"
                ))
            })?,
        };
        let attachment = match &self.attachment_base64 {
            None => Vec::new(),
            Some(text) => STANDARD.decode(text).map_err(|error| {
                ToolError::invalid(format!("field `attachment_base64` is no base64: {error}"))
            })?,
        };
        let header = json!({"from_participant_id": from, "type": self.r#type, "message": message});
        Ok(pack(&header, &attachment))
    }
}

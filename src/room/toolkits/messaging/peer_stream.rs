//! `messaging.stream`: a stream between two participants. The other one is asked as if it hosted the toolkit
//! `messaging`; what the caller says after its first item is held back until the other accepts.

use crate::room::hosted::{self, Asked};
use crate::room::lock;
use crate::room::session::Peer;
use crate::room::toolkit::{Call, ToolError};
use crate::wire::{Content, Control, pack, unpack};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Most answers of the other participant that may wait.
const ANSWERS_MAX: usize = 1_024;

/// What the other participant says.
#[derive(Debug)]
enum Said {
    Answer(Bytes),
    Chunk(Map<String, Value>, Bytes),
    Gone,
}

#[derive(Debug)]
struct Ear(Mutex<Option<mpsc::Sender<Said>>>);

impl Asked for Ear {
    fn answered(&self, payload: Bytes) {
        self.hear(Said::Answer(payload));
    }
    fn host_chunk(&self, chunk: &Map<String, Value>, data: &Bytes) {
        self.hear(Said::Chunk(chunk.clone(), data.clone()));
    }
    fn lose_host(&self) {
        self.hear(Said::Gone);
    }
}

impl Ear {
    /// A caller that is too far behind hears what is queued and then that the other is gone.
    fn hear(&self, said: Said) {
        let mut sender = lock(&self.0);
        if sender.as_ref().is_some_and(|to| to.try_send(said).is_err()) {
            *sender = None;
        }
    }
}

/// The other side; told that the stream ends when this is dropped.
struct Target {
    peer: Arc<Peer>,
    message_id: u64,
    /// One id for both sides: the target knows the stream by it.
    stream_id: String,
    open: bool,
}

impl Target {
    fn tell(&self, content: Content) {
        let (chunk, data) = content.into_parts();
        let header = json!({"tool_call_id": self.stream_id, "chunk": chunk});
        self.peer.outbox.send(
            self.message_id,
            "room.tool_call_request_chunk.messaging",
            pack(&header, &data),
        );
    }

    fn end_input(&mut self) {
        if std::mem::take(&mut self.open) {
            self.tell(Content::Control(Control::END));
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.end_input();
        hosted::remove(&self.peer, self.message_id);
    }
}

/// Runs one stream from its first item to its end.
pub(super) async fn run(call: &mut Call) -> Result<(), ToolError> {
    let to = call.fields.get("to_participant_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let missing = || ToolError::not_found(format!("participant `{to}` was not found, or takes no messages"));
    let peer = call.session.messaging_peer(&to).ok_or_else(missing)?;
    let (sender, mut heard) = mpsc::channel(ANSWERS_MAX);
    let message_id = peer.outbox.reserve_id();
    hosted::add(&peer, message_id, Arc::new(Ear(Mutex::new(Some(sender)))))
        .map_err(|error| error.unwrap_or_else(missing))?;
    let stream_id = format!("{message_id:032x}");
    let mut target = Target { peer, message_id, stream_id, open: true };
    let ask = json!({
        "name": "stream",
        "arguments": {"type": "control", "method": "open"},
        "caller_id": call.caller.id,
        "on_behalf_of_id": null,
        "tool_call_id": target.stream_id,
    });
    target.peer.outbox.send(message_id, "room.tool_call.messaging", pack(&ask, b""));
    target.tell(signed(call, &call.fields));
    accepted(&mut heard, &to).await?;
    call.open();
    call.send(Content::Json(json!({"kind": "accepted", "stream_id": target.stream_id})));
    talk(call, &mut target, &mut heard).await
}

/// Waits for the other to accept. A refusal is its own error.
async fn accepted(heard: &mut mpsc::Receiver<Said>, to: &str) -> Result<(), ToolError> {
    loop {
        match heard.recv().await {
            Some(Said::Answer(payload)) => {
                let content = unpack(&payload).ok().and_then(|(h, data)| Content::from_parts(&h, data).ok());
                return match content {
                    Some(Content::Control(Control::Open)) => Ok(()),
                    Some(Content::Error { text, .. }) => Err(ToolError::failed(text)),
                    _ => Err(ToolError::failed(format!("participant `{to}` did not accept the stream"))),
                };
            }
            Some(Said::Chunk(..)) => {}
            Some(Said::Gone) | None => {
                return Err(ToolError::not_found(format!(
                    "participant `{to}` left before it accepted the stream"
                )));
            }
        }
    }
}

/// Passes items both ways until the other closes, or is gone.
async fn talk(call: &Call, target: &mut Target, heard: &mut mpsc::Receiver<Said>) -> Result<(), ToolError> {
    loop {
        tokio::select! {
            biased;
            said = heard.recv() => match said {
                Some(Said::Chunk(chunk, data)) => {
                    let content = Content::from_parts(&chunk, Bytes::new());
                    if matches!(content, Ok(Content::Control(Control::Close { .. }))) {
                        return Ok(());
                    }
                    call.send_raw(&chunk, &data);
                }
                Some(Said::Answer(_)) => {}
                Some(Said::Gone) | None => {
                    target.open = false;
                    let gone = json!({"kind": "client_disconnected", "participant_id": target.peer.id});
                    call.send(Content::Json(gone));
                    return Ok(());
                }
            },
            item = call.next(), if target.open => match item? {
                Some(Content::Json(Value::Object(item))) => target.tell(signed(call, &item)),
                Some(_) => return Err(ToolError::invalid("an item of a stream between participants must be a JSON object")),
                None => target.end_input(),
            },
        }
    }
}

/// An item as the other gets it: with its sender, which the sender itself cannot choose.
fn signed(call: &Call, item: &Map<String, Value>) -> Content {
    let field = |name: &str| item.get(name).cloned().unwrap_or(Value::Null);
    Content::Json(json!({
        "from_participant_id": call.caller.id,
        "type": field("type"),
        "message_json": field("message_json"),
        "attachment_base64": field("attachment_base64"),
    }))
}

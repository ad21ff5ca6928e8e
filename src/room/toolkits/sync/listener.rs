//! One opener of a document, as the document sees it: sends chunks of the call's output stream.

use crate::document::{Change, DocumentError, Listener};
use crate::room::session::Peer;
use crate::room::toolkit::{RESPONSE_CHUNK, ToolError};
use crate::wire::{Content, pack_map};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Sends to one opener.
pub(super) struct Outlet {
    peer: Arc<Peer>,
    /// The header of the call's chunks, without the chunk.
    call: Map<String, Value>,
    path: String,
    schema: Value,
    /// Everything of a chunk with a change but its data.
    change_header: Bytes,
    ended: CancellationToken,
}

impl Outlet {
    /// `path` as the caller wrote it; `ended` is told when the document is gone.
    pub fn new(
        peer: &Arc<Peer>,
        tool_call_id: &str,
        path: &str,
        schema: Value,
        ended: CancellationToken,
    ) -> Self {
        let call = json!({"tool_call_id": tool_call_id, "toolkit": "sync", "tool": "open"});
        let call = call.as_object().cloned().unwrap_or_default();
        let change = Content::binary(json!({"kind": "sync", "path": path}), Bytes::new());
        let change_header = packed(&call, change);
        Self { peer: Arc::clone(peer), call, path: path.to_owned(), schema, change_header, ended }
    }

    pub fn send(&self, content: Content) {
        self.peer.outbox.push(RESPONSE_CHUNK, packed(&self.call, content));
    }
}

/// A chunk as the payload of a message.
fn packed(call: &Map<String, Value>, content: Content) -> Bytes {
    let (chunk, data) = content.into_parts();
    let mut header = call.clone();
    header.insert("chunk".to_owned(), chunk.into());
    pack_map(&header, &data)
}

impl Listener for Outlet {
    fn opened(&self, state: Bytes) {
        let headers = json!({"kind": "state", "path": self.path, "schema": self.schema});
        self.send(Content::binary(headers, BASE64.encode(&state).into()));
    }

    fn changed(&self, change: &Change) {
        let text = change.text(|update| BASE64.encode(update).into());
        let mut payload = BytesMut::with_capacity(self.change_header.len() + text.len());
        payload.put_slice(&self.change_header);
        payload.put_slice(text);
        self.peer.outbox.push(RESPONSE_CHUNK, payload.freeze());
    }

    fn ended(&self, error: &DocumentError) {
        self.send(ToolError::new(error.code(), error.to_string()).content());
        self.ended.cancel();
    }
}

//! One connection's shared state: what is on its way out and who waits for what.

use super::RoomError;
use crate::wire::{Content, Control, pack, pack_map};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Messages that may wait for the socket; senders wait beyond it.
pub(super) const OUTBOX_MAX: usize = 64;
/// Requests that may wait for an answer at once.
const PENDING_MAX: usize = 4096;
/// Items of one stream that may wait for their reader; a reader further behind loses the stream.
pub(super) const STREAM_ITEMS_MAX: usize = 1024;
/// Pushes kept for a slow reader.
pub const PUSHES_MAX: usize = 1024;

/// Something the server said unasked.
#[derive(Clone, Debug)]
pub struct Push {
    /// Message type, for example `messaging.send` or `storage.file.updated`.
    pub kind: String,
    pub header: Map<String, Value>,
    pub attachment: Bytes,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub id: u64,
    pub kind: &'static str,
    pub payload: Bytes,
}

/// One connection, from the moment the socket is open until it is down.
#[derive(Debug)]
pub(super) struct Link {
    /// Tells this connection from those before and after it.
    pub epoch: u64,
    pub down: CancellationToken,
    out: mpsc::Sender<Outgoing>,
    next_id: AtomicU64,
    pending: Mutex<HashMap<u64, oneshot::Sender<Content>>>,
    /// Outputs of our calls, by tool call id.
    streams: Mutex<HashMap<String, mpsc::Sender<Content>>>,
    /// Inputs of calls to toolkits we host, by tool call id.
    inputs: Mutex<HashMap<String, mpsc::Sender<Content>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub fn new(epoch: u64) -> (Self, mpsc::Receiver<Outgoing>) {
        let (out, outbox) = mpsc::channel(OUTBOX_MAX);
        let link = Self {
            epoch,
            down: CancellationToken::new(),
            out,
            next_id: AtomicU64::new(1),
            pending: Mutex::default(),
            streams: Mutex::default(),
            inputs: Mutex::default(),
        };
        (link, outbox)
    }

    /// Sends one message and does not wait for an answer.
    pub async fn post(&self, kind: &'static str, payload: Bytes) -> Result<(), RoomError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.send(Outgoing { id, kind, payload }).await
    }

    pub async fn send(&self, message: Outgoing) -> Result<(), RoomError> {
        let kind = message.kind;
        tokio::select! {
            biased;
            () = self.down.cancelled() => Err(RoomError::lost(kind)),
            sent = self.out.send(message) => sent.map_err(|_| RoomError::lost(kind)),
        }
    }

    /// Sends without waiting; for destructors.
    pub fn try_post(&self, kind: &'static str, payload: Bytes) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if self.out.try_send(Outgoing { id, kind, payload }).is_err() {
            tracing::debug!(kind, "the outbox is full or gone; message dropped");
        }
    }

    /// Sends a request; the answer comes through what is returned.
    pub async fn begin(
        &self,
        kind: &'static str,
        payload: Bytes,
    ) -> Result<(u64, oneshot::Receiver<Content>), RoomError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.len() >= PENDING_MAX {
                return Err(RoomError::TooMuch {
                    what: "the number of unanswered room requests",
                    max: PENDING_MAX,
                    advice: "wait for some to be answered",
                });
            }
            pending.insert(id, sender);
        }
        if let Err(error) = self.send(Outgoing { id, kind, payload }).await {
            self.forget(id);
            return Err(error);
        }
        Ok((id, answer))
    }

    /// Waits for the answer of a request begun before; `label` names it in errors.
    pub async fn answer(
        &self,
        answer: &mut oneshot::Receiver<Content>,
        label: &str,
    ) -> Result<Content, RoomError> {
        let content = tokio::select! {
            biased;
            content = answer => content.map_err(|_| RoomError::lost(label))?,
            () = self.down.cancelled() => return Err(RoomError::lost(label)),
        };
        match content {
            Content::Error { text, code } => Err(RoomError::Failed { request: label.to_owned(), text, code }),
            content => Ok(content),
        }
    }

    /// A request and its answer.
    pub async fn request(&self, kind: &'static str, payload: Bytes) -> Result<Content, RoomError> {
        let (id, mut answer) = self.begin(kind, payload).await?;
        let forget = Forget { link: self, id };
        let content = self.answer(&mut answer, kind).await;
        drop(forget);
        content
    }

    /// A request whose header and answer are JSON.
    pub async fn request_json(&self, kind: &'static str, header: &Value) -> Result<Value, RoomError> {
        match self.request(kind, pack(header, &[])).await? {
            Content::Json(value) => Ok(value),
            other => Err(unexpected(kind, &other, "json")),
        }
    }

    pub fn forget(&self, id: u64) {
        lock(&self.pending).remove(&id);
    }

    pub fn resolve(&self, id: u64, content: Content) {
        if let Some(waiter) = lock(&self.pending).remove(&id) {
            // The waiter may have given up in the meantime.
            let _ = waiter.send(content);
        }
    }

    pub fn open_stream(&self, call: &str) -> mpsc::Receiver<Content> {
        let (sender, items) = mpsc::channel(STREAM_ITEMS_MAX);
        lock(&self.streams).insert(call.to_owned(), sender);
        items
    }

    pub fn close_stream(&self, call: &str) {
        lock(&self.streams).remove(call);
    }

    pub fn open_input(&self, call: &str) -> mpsc::Receiver<Content> {
        let (sender, items) = mpsc::channel(STREAM_ITEMS_MAX);
        lock(&self.inputs).insert(call.to_owned(), sender);
        items
    }

    pub fn close_input(&self, call: &str) {
        lock(&self.inputs).remove(call);
    }

    /// Hands an item to the reader of one of our calls.
    pub fn push_output(&self, call: &str, item: Content) {
        deliver(&mut lock(&self.streams), call, item);
    }

    /// Hands an item to the handler of a call to one of our toolkits.
    pub fn push_input(&self, call: &str, item: Content) {
        deliver(&mut lock(&self.inputs), call, item);
    }

    /// Ends the connection for everyone who waits on it.
    pub fn take_down(&self) {
        self.down.cancel();
        lock(&self.pending).clear();
        lock(&self.streams).clear();
        lock(&self.inputs).clear();
    }
}

/// Never waits: one slow reader must not hold up the others. A full stream is dropped, which its reader
/// sees as an end without a close.
fn deliver(streams: &mut HashMap<String, mpsc::Sender<Content>>, call: &str, item: Content) {
    let last = matches!(item, Content::Control(Control::Close { .. }));
    let Some(stream) = streams.get(call) else { return };
    if stream.try_send(item).is_err() || last {
        streams.remove(call);
    }
}

/// A `…_chunk` payload.
pub(super) fn chunk(call: &str, content: Content) -> Bytes {
    let (header, data) = content.into_parts();
    pack(&json!({"tool_call_id": call, "chunk": header}), &data)
}

/// The packed form of a header built as a map.
pub(super) fn packed(header: &Map<String, Value>) -> Bytes {
    pack_map(header, &[])
}

struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.forget(self.id);
    }
}

pub(super) fn unexpected(request: &str, got: &Content, want: &'static str) -> RoomError {
    RoomError::Unexpected { request: request.to_owned(), got: type_name(got), want }
}

fn type_name(content: &Content) -> &'static str {
    match content {
        Content::Json(_) => "json",
        Content::Text(_) => "text",
        Content::Empty => "empty",
        Content::File { .. } => "file",
        Content::Binary { .. } => "binary",
        Content::Link { .. } => "link",
        Content::Error { .. } => "error",
        Content::Control(_) => "control",
        Content::Raw(_) => "raw",
    }
}

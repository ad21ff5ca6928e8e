//! What waits to be written to one socket, bounded. Whoever has something to say pushes and goes on; a reader
//! that does not keep up is cut off, never waited for.

use super::limits::Limits;
use super::lock;
use crate::wire::{Content, encode};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Ids of messages that many receive are counted from here, so that they meet no id of a single connection.
pub const SHARED_IDS_FROM: u64 = 1 << 40;
/// Why a reader was cut off that did not keep up.
pub const SLOW_READER: &str = "the reader did not keep up with what was sent to it";
/// Type of the answer to a request.
pub const RESPONSE: &str = "__response__";
/// WebSocket close code that ends a session for good: the clients do not come back.
pub const CLOSE_NORMAL: u16 = 1000;

/// Run once a message was written. Dropped without being run it means that the message never left.
pub struct Receipt(pub Box<dyn FnOnce() + Send + Sync>);

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipt")
    }
}

/// One message to write.
#[derive(Debug)]
pub struct Outgoing {
    pub id: u64,
    pub kind: Cow<'static, str>,
    pub payload: Bytes,
    pub receipt: Option<Receipt>,
}

/// One message for many: cut into packets once, which all of them share.
#[derive(Debug)]
pub struct Shared {
    pub id: u64,
    pub kind: &'static str,
    pub payload: Bytes,
    pub packets: Vec<Bytes>,
}

impl Shared {
    #[must_use]
    pub fn new(id: u64, kind: &'static str, payload: Bytes) -> Arc<Self> {
        let packets = encode(id, kind, &payload);
        Arc::new(Self { id, kind, payload, packets })
    }
}

/// What stands in line.
#[derive(Debug)]
pub enum Item {
    Own(Outgoing),
    Shared(Arc<Shared>),
}

impl Item {
    /// Bytes that count against the limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Own(message) => message.payload.len(),
            Self::Shared(message) => message.payload.len(),
        }
    }

    /// Id, type and payload.
    #[must_use]
    pub fn message(&self) -> (u64, &str, &Bytes) {
        match self {
            Self::Own(message) => (message.id, &message.kind, &message.payload),
            Self::Shared(message) => (message.id, message.kind, &message.payload),
        }
    }
}

/// How the writing ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Drop TCP without a close frame: the clients reconnect. The text goes to the server's own log.
    Drop(&'static str),
    /// Write what waits, then a close frame.
    Close { code: u16, reason: String },
}

/// What the writer does next.
#[derive(Debug)]
pub enum Batch {
    Messages(VecDeque<Item>),
    Ping,
    Close { code: u16, reason: String },
    Drop(&'static str),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// Payload bytes pushed and not yet written.
    bytes: usize,
    ping: bool,
    end: Option<End>,
    last_id: u64,
}

/// The outbox of one connection. Any number of pushers, one writer.
#[derive(Debug)]
pub struct Outbox {
    messages_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    wake: Notify,
    dropped: Notify,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Outbox {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            messages_max: limits.waiting_messages,
            bytes_max: limits.waiting_bytes,
            state: Mutex::default(),
            wake: Notify::new(),
            dropped: Notify::new(),
        }
    }

    /// An identifier for a message of ours; ids count up per connection.
    pub fn reserve_id(&self) -> u64 {
        let mut state = lock(&self.state);
        state.last_id += 1;
        state.last_id
    }

    /// Puts a message with a reserved id in line. False when the connection has ended.
    pub fn send(&self, id: u64, kind: impl Into<Cow<'static, str>>, payload: Bytes) -> bool {
        self.put(Outgoing { id, kind: kind.into(), payload, receipt: None })
    }

    /// Puts a message in line. False, with the message dropped, when the connection has ended.
    pub fn put(&self, message: Outgoing) -> bool {
        self.line_up(|_| Item::Own(message))
    }

    /// Puts a message that many receive in line.
    pub fn share(&self, message: &Arc<Shared>) -> bool {
        self.line_up(|_| Item::Shared(Arc::clone(message)))
    }

    fn line_up(&self, item: impl FnOnce(&mut u64) -> Item) -> bool {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return false;
        }
        let item = item(&mut state.last_id);
        let bytes = item.bytes();
        let full = state.queue.len() >= self.messages_max
            || (state.bytes > 0 && state.bytes + bytes > self.bytes_max);
        if full {
            let unsent = std::mem::take(&mut state.queue);
            state.end = Some(End::Drop(SLOW_READER));
            drop(state);
            drop((unsent, item));
            self.wake.notify_one();
            self.dropped.notify_one();
            return false;
        }
        state.bytes += bytes;
        let was_empty = state.queue.is_empty();
        state.queue.push_back(item);
        drop(state);
        // Who finds something in line takes all of it, so only the first has to wake.
        if was_empty {
            self.wake.notify_one();
        }
        true
    }

    /// Puts a message with a fresh id in line.
    pub fn push(&self, kind: impl Into<Cow<'static, str>>, payload: Bytes) -> bool {
        let kind = kind.into();
        self.line_up(|last_id| {
            *last_id += 1;
            Item::Own(Outgoing { id: *last_id, kind, payload, receipt: None })
        })
    }

    /// Answers the client's request `id`.
    pub fn respond(&self, id: u64, content: Content) -> bool {
        self.send(id, RESPONSE, content.pack())
    }

    /// Asks for a WebSocket ping.
    pub fn ping(&self) {
        lock(&self.state).ping = true;
        self.wake.notify_one();
    }

    /// Ends the writing; the first end given stands, except that a drop overrides a close.
    pub fn end(&self, end: End) {
        let mut state = lock(&self.state);
        let drops = matches!(end, End::Drop(_));
        let mut unsent = VecDeque::new();
        if state.end.is_none() || (drops && matches!(state.end, Some(End::Close { .. }))) {
            if drops {
                unsent = std::mem::take(&mut state.queue);
            }
            state.end = Some(end);
        }
        drop(state);
        drop(unsent);
        self.wake.notify_one();
        if drops {
            self.dropped.notify_one();
        }
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.state).end.is_some()
    }

    /// True when the reader was cut off because it did not keep up.
    #[must_use]
    pub fn was_too_slow(&self) -> bool {
        lock(&self.state).end == Some(End::Drop(SLOW_READER))
    }

    /// Returns when the connection is to be dropped, even while a write is stuck.
    pub async fn dropped(&self) {
        loop {
            if matches!(lock(&self.state).end, Some(End::Drop(_))) {
                return;
            }
            self.dropped.notified().await;
        }
    }

    /// Waits for what to write next. For the one writer only.
    pub async fn next(&self) -> Batch {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Batch> {
        let mut state = lock(&self.state);
        if let Some(End::Drop(why)) = state.end {
            return Some(Batch::Drop(why));
        }
        if !state.queue.is_empty() {
            return Some(Batch::Messages(std::mem::take(&mut state.queue)));
        }
        if std::mem::take(&mut state.ping) {
            return Some(Batch::Ping);
        }
        match &state.end {
            Some(End::Close { code, reason }) => Some(Batch::Close { code: *code, reason: reason.clone() }),
            _ => None,
        }
    }

    /// Reports payload bytes as written, which makes room for more.
    pub fn written(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 32 * 1024 * 1024;

    #[tokio::test]
    async fn messages_come_out_in_order_and_a_close_comes_last() {
        let outbox = Outbox::default();
        assert!(outbox.push("a", Bytes::new()));
        outbox.end(End::Close { code: 1000, reason: "done".into() });
        assert!(!outbox.push("b", Bytes::new()), "nothing is taken after the end");
        let Batch::Messages(messages) = outbox.next().await else { panic!("messages first") };
        assert_eq!(messages.len(), 1);
        assert!(matches!(outbox.next().await, Batch::Close { code: 1000, .. }));
    }

    #[tokio::test]
    async fn a_slow_reader_is_cut_off() {
        let outbox = Outbox::default();
        let half = Bytes::from(vec![0; BYTES_MAX / 2 + 1]);
        assert!(outbox.push("x", half.clone()));
        assert!(!outbox.push("x", half), "the second half is too much");
        assert!(matches!(outbox.next().await, Batch::Drop(_)));
        outbox.dropped().await;
    }

    #[tokio::test]
    async fn written_bytes_make_room() {
        let outbox = Outbox::default();
        let most = Bytes::from(vec![0; BYTES_MAX - 1]);
        assert!(outbox.push("x", most.clone()));
        assert!(matches!(outbox.next().await, Batch::Messages(_)));
        outbox.written(most.len());
        assert!(outbox.push("x", most));
    }

    #[test]
    fn ids_count_up() {
        let outbox = Outbox::default();
        assert_eq!((outbox.reserve_id(), outbox.reserve_id()), (1, 2));
    }
}

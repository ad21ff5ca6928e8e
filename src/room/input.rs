//! The input stream of one call to a built-in toolkit: items wait here, bounded, until the toolkit reads them.

use super::early::Chunk;
use super::limits::Budget;
use super::lock;
use super::session::Peer;
use super::toolkit::ToolError;
use crate::wire::content::{STATUS_INVALID_DATA, STATUS_NORMAL};
use crate::wire::{Content, Control};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Most items that may wait for a toolkit.
pub const INPUT_ITEMS_MAX: usize = 4_096;
/// Most data bytes of one stream that may wait for a toolkit.
pub const INPUT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The answer that the sender of an item waits for; sent when this is dropped.
#[derive(Debug)]
pub struct ItemAnswer {
    peer: Arc<Peer>,
    id: u64,
}

impl ItemAnswer {
    pub(super) fn new(peer: &Arc<Peer>, id: u64) -> Self {
        Self { peer: Arc::clone(peer), id }
    }
}

impl Drop for ItemAnswer {
    fn drop(&mut self) {
        self.peer.outbox.respond(self.id, Content::Empty);
    }
}

#[derive(Debug)]
struct State {
    /// With the bytes that each counts, and the answer that is owed for it.
    items: VecDeque<(Content, usize, Option<ItemAnswer>)>,
    bytes: usize,
    overflowed: bool,
    end: Option<(u16, Option<String>)>,
    /// Of all streams of the participant.
    budget: Arc<Budget>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// Shared by the connection, which pushes, and the call, which reads.
#[derive(Debug, Clone)]
pub struct InputStream {
    shared: Arc<(Mutex<State>, Notify)>,
    /// The toolkit says when an item is answered.
    answers_itself: bool,
}

impl Default for InputStream {
    fn default() -> Self {
        Self::new(Arc::new(Budget::new(INPUT_BYTES_MAX)))
    }
}

impl InputStream {
    /// A stream whose waiting bytes count against `budget` too.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, overflowed: false, end: None, budget };
        Self { shared: Arc::new((Mutex::new(state), Notify::new())), answers_itself: false }
    }

    /// Its items are answered when the toolkit lets go of their [`ItemAnswer`].
    #[must_use]
    pub(super) fn answering_itself(self) -> Self {
        Self { answers_itself: true, ..self }
    }

    pub(super) fn answers_itself(&self) -> bool {
        self.answers_itself
    }

    /// Takes an item or the close. Late ones are dropped; too many fail the stream.
    pub fn push(&self, content: Content) {
        let bytes = data_len(&content);
        self.push_sized(content, bytes, None);
    }

    fn push_sized(&self, content: Content, bytes: usize, answer: Option<ItemAnswer>) {
        let (state, wake) = &*self.shared;
        let mut state = lock(state);
        if state.end.is_some() || state.overflowed {
            return;
        }
        match content {
            Content::Control(Control::Close { status, message }) => state.end = Some((status, message)),
            Content::Control(Control::Open) => return,
            item => {
                let full = state.items.len() >= INPUT_ITEMS_MAX || state.bytes + bytes > INPUT_BYTES_MAX;
                if full || !state.budget.take(bytes) {
                    state.overflowed = true;
                } else {
                    state.bytes += bytes;
                    state.items.push_back((item, bytes, answer));
                }
            }
        }
        drop(state);
        wake.notify_one();
    }

    /// Takes a chunk as it came; one that is no content fails the stream.
    pub fn push_chunk(&self, chunk: &Chunk) {
        self.push_chunk_with(chunk, None);
    }

    /// The same, with the answer that its sender waits for.
    pub(super) fn push_chunk_with(&self, chunk: &Chunk, answer: Option<ItemAnswer>) {
        match Content::from_parts(&chunk.header, chunk.data.clone()) {
            Ok(content) => self.push_sized(content, chunk.bytes, answer),
            Err(error) => self.push(Content::Control(Control::Close {
                status: STATUS_INVALID_DATA,
                message: Some(error.to_string()),
            })),
        }
    }

    /// The next item, `None` when the caller closed the stream; an error when it closed it because it failed.
    pub async fn next(&self) -> Result<Option<Content>, ToolError> {
        Ok(self.next_with_answer().await?.map(|(content, _)| content))
    }

    /// The same, with the answer that the item's sender waits for.
    pub async fn next_with_answer(&self) -> Result<Option<(Content, Option<ItemAnswer>)>, ToolError> {
        let (state, wake) = &*self.shared;
        loop {
            {
                let mut state = lock(state);
                if let Some((item, bytes, answer)) = state.items.pop_front() {
                    state.bytes -= bytes;
                    state.budget.give(bytes);
                    return Ok(Some((item, answer)));
                }
                if state.overflowed {
                    return Err(ToolError::invalid(format!(
                        "the input came faster than it was taken: more than {INPUT_ITEMS_MAX} items or {INPUT_BYTES_MAX} bytes waited, or more than the limit `unread-bytes` in all streams of this participant; send an item when it is asked for"
                    )));
                }
                match &state.end {
                    Some((STATUS_NORMAL, _)) => return Ok(None),
                    Some((status, message)) => {
                        let message = message.as_deref().unwrap_or("no reason given");
                        return Err(ToolError::invalid(format!(
                            "the caller's input failed with status {status}: {message}"
                        )));
                    }
                    None => {}
                }
            }
            wake.notified().await;
        }
    }
}

/// Data bytes of a content, for bounds.
#[must_use]
pub fn data_len(content: &Content) -> usize {
    match content {
        Content::File { data, .. } | Content::Binary { data, .. } => data.len(),
        Content::Text(text) => text.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_come_in_order_and_then_the_end() {
        let input = InputStream::default();
        input.push(Content::Text("a".into()));
        input.push(Content::Control(Control::END));
        input.push(Content::Text("late".into()));
        assert_eq!(input.next().await.unwrap(), Some(Content::Text("a".into())));
        assert_eq!(input.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_failed_producer_is_an_error() {
        let input = InputStream::default();
        input.push(Content::Control(Control::Close { status: 1007, message: Some("disk".into()) }));
        assert!(input.next().await.unwrap_err().text.contains("status 1007: disk"));
    }

    #[tokio::test]
    async fn too_many_items_fail_the_stream() {
        let input = InputStream::default();
        for _ in 0..=INPUT_ITEMS_MAX {
            input.push(Content::Empty);
        }
        for _ in 0..INPUT_ITEMS_MAX {
            assert!(input.next().await.unwrap().is_some());
        }
        assert!(input.next().await.is_err());
    }
}

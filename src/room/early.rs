//! Input chunks that came before their call, and ids of calls that are over. Bounded; per connection.

use crate::wire::Content;
use std::collections::{HashMap, VecDeque};

/// Most calls whose chunks may come first.
pub const EARLY_CALLS_MAX: usize = 64;
/// Most chunks kept for all of them.
pub const EARLY_CHUNKS_MAX: usize = 1_024;
/// Most bytes kept for all of them.
pub const EARLY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Ended calls remembered, so that their late chunks are known for what they are.
pub const ENDED_CALLS_MAX: usize = 256;

/// One chunk as it came: a content, or an object without a `type`, and its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    pub header: serde_json::Map<String, serde_json::Value>,
    pub data: bytes::Bytes,
    /// Size of the message it came in, bytes.
    pub bytes: usize,
}

impl Chunk {
    /// The content it holds; `None` for an object that is none.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        Content::from_parts(&self.header, self.data.clone()).ok()
    }
}

/// What was kept for a call.
#[derive(Debug, Default, PartialEq)]
pub enum Kept {
    #[default]
    Nothing,
    Chunks(Vec<Chunk>),
    /// There was more than is kept; the call cannot be answered rightly.
    Lost,
}

/// The buffer.
#[derive(Debug, Default)]
pub struct Early {
    chunks: HashMap<String, Kept>,
    count: usize,
    bytes: usize,
    ended: VecDeque<String>,
}

impl Early {
    /// Keeps a chunk for a call that has not come yet. Chunks of an ended call are dropped.
    pub fn keep(&mut self, call: &str, chunk: Chunk) {
        if self.ended.iter().any(|id| id == call) {
            return;
        }
        let bytes = chunk.bytes;
        let known = self.chunks.contains_key(call);
        if !known && self.chunks.len() >= EARLY_CALLS_MAX {
            return;
        }
        let full = self.count >= EARLY_CHUNKS_MAX || self.bytes + bytes > EARLY_BYTES_MAX;
        let kept = self.chunks.entry(call.to_owned()).or_default();
        match kept {
            Kept::Lost => return,
            _ if full => {
                let (count, bytes) = size(kept);
                self.count -= count;
                self.bytes -= bytes;
                *kept = Kept::Lost;
                return;
            }
            Kept::Nothing => *kept = Kept::Chunks(vec![chunk]),
            Kept::Chunks(chunks) => chunks.push(chunk),
        }
        self.count += 1;
        self.bytes += bytes;
    }

    /// Hands out what was kept for a call that has now come.
    pub fn take(&mut self, call: &str) -> Kept {
        let kept = self.chunks.remove(call).unwrap_or_default();
        let (count, bytes) = size(&kept);
        self.count -= count;
        self.bytes -= bytes;
        kept
    }

    /// Remembers that a call is over.
    pub fn ended(&mut self, call: String) {
        if self.ended.len() >= ENDED_CALLS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(call);
    }
}

fn size(kept: &Kept) -> (usize, usize) {
    match kept {
        Kept::Chunks(chunks) => (chunks.len(), chunks.iter().map(|c| c.bytes).sum()),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn chunk(bytes: usize) -> Chunk {
        Chunk { header: serde_json::Map::new(), data: Bytes::from(vec![0; bytes]), bytes }
    }

    #[test]
    fn chunks_wait_for_their_call() {
        let mut early = Early::default();
        early.keep("a", chunk(1));
        early.keep("a", chunk(2));
        assert_eq!(early.take("a"), Kept::Chunks(vec![chunk(1), chunk(2)]));
        assert_eq!(early.take("a"), Kept::Nothing);
        assert_eq!((early.count, early.bytes), (0, 0));
    }

    #[test]
    fn too_much_is_said_to_be_lost() {
        let mut early = Early::default();
        early.keep("a", chunk(EARLY_BYTES_MAX));
        early.keep("a", chunk(1));
        assert_eq!(early.take("a"), Kept::Lost);
        assert_eq!((early.count, early.bytes), (0, 0));
        for n in 0..=EARLY_CALLS_MAX {
            early.keep(&n.to_string(), chunk(1));
        }
        assert_eq!(early.chunks.len(), EARLY_CALLS_MAX);
    }

    #[test]
    fn late_chunks_are_dropped() {
        let mut early = Early::default();
        early.ended("a".into());
        early.keep("a", chunk(1));
        assert_eq!(early.take("a"), Kept::Nothing);
    }
}

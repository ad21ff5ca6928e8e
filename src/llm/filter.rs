//! Takes the usage chunk out of a chat stream whose caller did not ask for one: this server did, to count.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// Longest event that is held back to be looked at, bytes; a longer one passes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Events held back until they are whole.
#[derive(Debug, Default)]
pub struct UsageChunks {
    held: BytesMut,
    /// Within an event too long to be held.
    passing: bool,
}

impl UsageChunks {
    /// What may go on now.
    pub fn feed(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(bytes.len());
        self.held.extend_from_slice(bytes);
        while let Some(end) = event_end(&self.held) {
            let event = self.held.split_to(end);
            if std::mem::take(&mut self.passing) || !is_usage_chunk(&event) {
                out.extend_from_slice(&event);
            }
        }
        if self.held.len() > EVENT_BYTES_MAX {
            self.passing = true;
            // A line end may be cut in two.
            let keep = self.held.len().saturating_sub(3);
            out.extend_from_slice(&self.held.split_to(keep));
        }
        out.freeze()
    }

    /// What is left at the end.
    pub fn end(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

/// Where the first event ends: behind an empty line.
fn event_end(bytes: &[u8]) -> Option<usize> {
    let plain = bytes.windows(2).position(|two| two == b"\n\n").map(|at| at + 2);
    let with_returns = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    [plain, with_returns].into_iter().flatten().min()
}

/// A chunk with a usage and without a choice.
fn is_usage_chunk(event: &[u8]) -> bool {
    let mut lines = event.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    let (Some(data), None) = (lines.next(), lines.next()) else { return false };
    let Ok(chunk) = serde_json::from_slice::<Value>(data) else { return false };
    let empty = chunk.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty);
    empty && chunk.get("usage").is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usage_chunk_is_taken_out_wherever_the_stream_is_cut() {
        let first = "data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n";
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
        let filtered = "data: {\"choices\":[],\"prompt_filter_results\":[]}\r\n\r\n";
        let done = "data: [DONE]\n\n";
        let text = format!("{first}{usage}{filtered}{done}tail");
        for piece in 1..60 {
            let mut chunks = UsageChunks::default();
            let mut out: Vec<u8> = text.as_bytes().chunks(piece).flat_map(|part| chunks.feed(part)).collect();
            out.extend_from_slice(&chunks.end());
            assert_eq!(String::from_utf8(out).unwrap(), format!("{first}{filtered}{done}tail"), "{piece}");
        }
    }

    #[test]
    fn an_event_beyond_the_bound_passes() {
        let long = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(2 * EVENT_BYTES_MAX));
        let mut chunks = UsageChunks::default();
        let mut out: Vec<u8> = long.as_bytes().chunks(100_000).flat_map(|part| chunks.feed(part)).collect();
        out.extend_from_slice(&chunks.end());
        assert_eq!(out.len(), long.len());
    }
}

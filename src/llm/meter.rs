//! How many tokens an answer used, as its provider tells: read out of the bytes while they pass.

use super::filter::UsageChunks;
use super::scan::{Path, Scan};
use super::sse::{Events, Piece};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const WANTED: &[Path] = &[&["usage"], &["response", "usage"], &["message", "usage"]];
/// Bytes of text that are taken for one token where nobody counted.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of one answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// All that was read, cached or not.
    pub input: u64,
    /// Of these: read from the provider's cache.
    pub cached: u64,
    /// Of these: written to it.
    pub cache_write: u64,
    /// All that was made.
    pub output: u64,
    /// Of these: not shown.
    pub reasoning: u64,
}

/// What a provider said so far; later words replace earlier ones.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    /// Input is told without what the cache read and took.
    apart: bool,
}

impl Told {
    /// What a message begins with tells nothing of what it will come to.
    fn take(&mut self, usage: &Value, begins: bool) {
        let number = |pointers: &[&str]| pointers.iter().find_map(|at| usage.pointer(at)?.as_u64());
        let later = |new: Option<u64>, old: Option<u64>| new.or(old);
        let read = number(&["/cache_read_input_tokens"]);
        let written = number(&["/cache_creation_input_tokens"]);
        self.apart |= read.is_some() || written.is_some();
        self.input = later(number(&["/input_tokens", "/prompt_tokens"]), self.input);
        let output = number(&["/output_tokens", "/completion_tokens"]).filter(|_| !begins);
        self.output = later(output, self.output);
        let cached = number(&[
            "/input_tokens_details/cached_tokens",
            "/prompt_tokens_details/cached_tokens",
            "/input_token_details/cached_tokens",
        ]);
        self.cached = later(read.or(cached), self.cached);
        let details = number(&[
            "/input_tokens_details/cache_write_tokens",
            "/prompt_tokens_details/cache_write_tokens",
        ]);
        self.cache_write = later(written.or(details), self.cache_write);
        let reasoning = number(&[
            "/output_tokens_details/reasoning_tokens",
            "/completion_tokens_details/reasoning_tokens",
        ]);
        self.reasoning = later(reasoning, self.reasoning);
    }

    fn tokens(self) -> Option<Tokens> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let some = Option::unwrap_or_default;
        let (cached, cache_write) = (some(self.cached), some(self.cache_write));
        let apart = if self.apart { cached.saturating_add(cache_write) } else { 0 };
        Some(Tokens {
            input: some(self.input).saturating_add(apart),
            cached,
            cache_write,
            output: some(self.output),
            reasoning: some(self.reasoning),
        })
    }
}

fn take(found: Vec<(Path, Vec<u8>)>, told: &mut Told) {
    for (path, bytes) in found {
        if let Ok(usage @ Value::Object(_)) = serde_json::from_slice(&bytes) {
            told.take(&usage, path.first() == Some(&"message"));
        }
    }
}

/// What an answer's body is.
#[derive(Debug)]
enum Shape {
    Json,
    Events(Events),
    /// Sound, pictures: nothing is told in it.
    Opaque,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Meter {
    shape: Shape,
    scan: Scan,
    told: Told,
    /// Events so far.
    events: u64,
    /// Set where a usage chunk was asked for that the caller does not expect.
    chunks: Option<UsageChunks>,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    pub tokens: Tokens,
    /// The provider did not tell: it is a guess from what passed.
    pub estimated: bool,
}

impl Meter {
    /// For an answer with this content type; `hide_usage` takes usage chunks of chat streams out.
    #[must_use]
    pub fn new(content_type: &str, hide_usage: bool) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let shape = match kind.as_str() {
            "text/event-stream" => Shape::Events(Events::new()),
            "application/json" => Shape::Json,
            _ => Shape::Opaque,
        };
        let chunks = (hide_usage && matches!(shape, Shape::Events(_))).then(UsageChunks::default);
        Self { shape, scan: Scan::new(WANTED), told: Told::default(), events: 0, chunks }
    }

    /// Reads bytes; answers those to pass on.
    pub fn feed(&mut self, bytes: Bytes) -> Bytes {
        let (scan, told, count) = (&mut self.scan, &mut self.told, &mut self.events);
        match &mut self.shape {
            Shape::Opaque => {}
            Shape::Json => {
                scan.feed(&bytes);
                take(scan.drain(), told);
            }
            Shape::Events(events) => events.feed(&bytes, |piece| match piece {
                Piece::Data(data) => scan.feed(data),
                Piece::End => {
                    *count += 1;
                    take(scan.finish(), told);
                }
            }),
        }
        match &mut self.chunks {
            Some(chunks) => chunks.feed(&bytes),
            None => bytes,
        }
    }

    /// What is left to pass on when the answer ends.
    pub fn rest(&mut self) -> Bytes {
        self.chunks.as_mut().map(UsageChunks::end).unwrap_or_default()
    }

    /// What the provider has told so far, once it told what was made.
    #[must_use]
    pub fn told(&self) -> Option<Tokens> {
        self.told.output.and(self.told.tokens())
    }

    /// What the answer used when it ended. Where a stream ends without a word, what passed is counted: an event for a token,
    /// and the request's bytes.
    #[must_use]
    pub fn reading(&mut self, request_bytes: u64) -> Option<Reading> {
        take(self.scan.finish(), &mut self.told);
        let told = self.told.tokens();
        if self.events > 0 && self.told.output.is_none() {
            let input = told.map_or(request_bytes / BYTES_PER_TOKEN, |tokens| tokens.input);
            let tokens = Tokens { input, output: self.events, ..told.unwrap_or_default() };
            return Some(Reading { tokens, estimated: true });
        }
        told.map(|tokens| Reading { tokens, estimated: false })
    }
}

/// Reads the messages of a WebSocket, each of which may tell of one answer.
#[derive(Debug)]
pub struct MessageMeter(Scan);

impl Default for MessageMeter {
    fn default() -> Self {
        Self(Scan::new(WANTED))
    }
}

impl MessageMeter {
    /// What the answer used that this message tells of.
    pub fn read(&mut self, message: &[u8]) -> Option<Tokens> {
        self.0.feed(message);
        let mut told = Told::default();
        take(self.0.finish(), &mut told);
        told.tokens()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &str, piece: usize) -> Option<Reading> {
        let mut meter = Meter::new(kind, false);
        for part in body.as_bytes().chunks(piece) {
            assert_eq!(meter.feed(Bytes::copy_from_slice(part)), part);
        }
        meter.reading(400)
    }

    fn told(input: u64, cached: u64, cache_write: u64, output: u64, reasoning: u64) -> Option<Reading> {
        Some(Reading { tokens: Tokens { input, cached, cache_write, output, reasoning }, estimated: false })
    }

    #[test]
    fn every_providers_words_are_understood_in_any_pieces() {
        let responses = r#"{"id":"r","output":[],"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":19}}"#;
        let chat = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}"#;
        let messages = r#"{"content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":20,"output_tokens":8}}"#;
        let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n";
        let completed = format!(
            "event: response.created\ndata: {{\"response\":{{\"usage\":null}}}}\n\nevent: response.completed\ndata: {{\"response\":{responses}}}\n\n"
        );
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(read("application/json", responses, piece), told(12, 4, 0, 7, 3));
            assert_eq!(read("application/json; charset=utf-8", chat, piece), told(5, 0, 0, 6, 0));
            assert_eq!(read("application/json", messages, piece), told(130, 100, 20, 8, 0));
            assert_eq!(read("text/event-stream", stream, piece), told(25, 0, 0, 15, 0));
            assert_eq!(read("text/event-stream; charset=utf-8", &completed, piece), told(12, 4, 0, 7, 3));
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_is_estimated() {
        let cut = "data: {\"delta\":\"a\"}\n\ndata: {\"delta\":\"b\"}\n\ndata: {\"del";
        let reading = read("text/event-stream", cut, 5).unwrap();
        assert!(reading.estimated);
        assert_eq!((reading.tokens.input, reading.tokens.output), (100, 2));
        let begun =
            "data: {\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\ndata: {}\n\n";
        let reading = read("text/event-stream", begun, 5).unwrap();
        assert!(reading.estimated);
        assert_eq!((reading.tokens.input, reading.tokens.output), (9, 2));
    }

    #[test]
    fn what_tells_nothing_is_nothing() {
        assert_eq!(read("audio/mpeg", "{\"usage\":{\"input_tokens\":1}}", 3), None);
        assert_eq!(read("application/json", "garbage", 3), None);
        assert_eq!(read("application/json", r#"{"usage":{"type":"duration","seconds":3}}"#, 3), None);
        assert_eq!(read("application/json", r#"{"usage":{"input_tokens":-1}}"#, 3), None);
    }

    #[test]
    fn each_message_of_a_socket_tells_of_its_own_answer() {
        let mut meter = MessageMeter::default();
        assert_eq!(meter.read(br#"{"type":"response.created","response":{"usage":null}}"#), None);
        let done =
            br#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#;
        for _ in 0..2 {
            assert_eq!(meter.read(done), Some(Tokens { input: 1, output: 2, ..Tokens::default() }));
        }
        assert_eq!(meter.read(b"cut {\"a"), None);
        assert!(meter.read(done).is_some());
    }
}

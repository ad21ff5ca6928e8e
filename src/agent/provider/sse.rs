//! Server-sent events out of a byte stream.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use std::pin::Pin;

/// Largest single event, bytes.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

type Source = Pin<Box<dyn Stream<Item = Result<Bytes, reqwest::Error>> + Send>>;

/// The `data` of each event, as JSON.
pub struct Events {
    source: Source,
    parser: Parser,
}

impl Events {
    pub fn new(source: impl Stream<Item = Result<Bytes, reqwest::Error>> + Send + 'static) -> Self {
        Self { source: Box::pin(source), parser: Parser::default() }
    }

    /// The next event; `None` at the end. Errors: the stream broke, or an event is too large or no JSON.
    pub async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(data) = self.parser.next()? {
                if data == "[DONE]" {
                    return Ok(None);
                }
                return serde_json::from_str(&data)
                    .map(Some)
                    .map_err(|e| format!("an event is not JSON: {e}"));
            }
            match self.source.next().await {
                Some(Ok(bytes)) => self.parser.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    return Err(format!("the answer broke off: {}", error.without_url()));
                }
                None => return Ok(None),
            }
        }
    }
}

/// Cuts lines and gathers `data` lines until a blank one. Pure.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    data: String,
}

impl Parser {
    fn next(&mut self) -> Result<Option<String>, String> {
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Ok(Some(std::mem::take(&mut self.data)));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
            self.check()?;
        }
        self.check().map(|()| None)
    }

    fn check(&self) -> Result<(), String> {
        if self.data.len() + self.buffer.len() > EVENT_BYTES_MAX {
            return Err(format!("an event is larger than {EVENT_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut all = Vec::new();
        for chunk in chunks {
            parser.buffer.extend_from_slice(chunk);
            while let Some(data) = parser.next().unwrap() {
                all.push(data);
            }
        }
        all
    }

    const STREAM: &[u8] =
        b": hi\nevent: x\ndata: {\"a\":1}\n\ndata:one\r\ndata: two\r\n\r\n\n\ndata: last\n\n";

    #[test]
    fn events_are_read_with_comments_names_and_several_lines() {
        assert_eq!(parse(&[STREAM]), ["{\"a\":1}", "one\ntwo", "last"]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser { buffer: vec![b'x'; EVENT_BYTES_MAX + 1], data: String::new() };
        assert!(parser.next().is_err());
    }

    proptest! {
        #[test]
        fn the_cut_of_the_bytes_does_not_matter(at in 0..STREAM.len()) {
            let (a, b) = STREAM.split_at(at);
            prop_assert_eq!(parse(&[a, b]), parse(&[STREAM]));
        }
    }
}

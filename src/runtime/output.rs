//! Lines of an instance's output: bounded in length and in rate, never held back for a slow reader.

use crate::runtime::{LINE_BYTES_MAX, LogSink, OutputLine, Stream};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

/// Lines that one stream may write per window; what is more is dropped and counted.
pub const LINES_PER_WINDOW: u64 = 2_000;
const WINDOW: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 16 * 1024;
const CUT_MARK: &str = " … (cut)";

/// Reads until the end, calling `sink` for each line.
pub async fn follow(mut input: impl AsyncRead + Unpin, stream: Stream, sink: LogSink) {
    let mut lines = Lines::new(stream, sink);
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read @ 1..) = input.read(&mut buffer).await {
        lines.take(&buffer[..read]);
    }
    lines.end();
}

/// Cuts pieces of output into lines.
pub struct Lines {
    stream: Stream,
    sink: LogSink,
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
    window: Instant,
    in_window: u64,
    dropped: u64,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Lines {
    #[must_use]
    pub fn new(stream: Stream, sink: LogSink) -> Self {
        let window = Instant::now();
        Self { stream, sink, line: Vec::new(), cut: false, window, in_window: 0, dropped: 0 }
    }

    /// Takes the next piece; calls the sink for each line that it ends.
    pub fn take(&mut self, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LINE_BYTES_MAX - self.line.len();
            self.cut |= text.len() > room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if complete {
                self.finish();
            }
        }
    }

    /// The output is over.
    pub fn end(&mut self) {
        if !self.line.is_empty() {
            self.finish();
        }
        self.report_dropped();
    }

    fn finish(&mut self) {
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        if self.window.elapsed() >= WINDOW {
            self.report_dropped();
            (self.window, self.in_window) = (Instant::now(), 0);
        }
        self.in_window += 1;
        if self.in_window > LINES_PER_WINDOW {
            self.dropped += 1;
            return;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let mut text = String::from_utf8_lossy(line).into_owned();
        if cut {
            text.push_str(CUT_MARK);
        }
        (self.sink)(OutputLine { stream: self.stream, text });
    }

    fn report_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let text =
                format!("{dropped} lines of output were dropped: more than {LINES_PER_WINDOW} in one second");
            (self.sink)(OutputLine { stream: Stream::Runtime, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    async fn lines(input: &[u8]) -> Vec<OutputLine> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&seen);
        follow(input, Stream::Stdout, Arc::new(move |line| own.lock().unwrap().push(line))).await;
        let lines = seen.lock().unwrap();
        lines.clone()
    }

    #[tokio::test]
    async fn lines_are_split_and_what_is_too_long_is_cut() {
        let long = [vec![b'x'; LINE_BYTES_MAX + 5], b"\nafter\r\n\nno end \xff".to_vec()].concat();
        let seen = lines(&long).await;
        let texts: Vec<_> = seen.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[0], format!("{}{CUT_MARK}", "x".repeat(LINE_BYTES_MAX)));
        assert_eq!(texts[1..], ["after", "", "no end \u{fffd}"]);
    }

    #[tokio::test]
    async fn a_flood_is_counted_not_kept() {
        let flood = "line\n".repeat(usize::try_from(LINES_PER_WINDOW).unwrap() + 3);
        let seen = lines(flood.as_bytes()).await;
        assert_eq!(seen.len() as u64, LINES_PER_WINDOW + 1);
        let last = seen.last().unwrap();
        assert_eq!(last.stream, Stream::Runtime);
        assert!(last.text.starts_with("3 lines"), "{}", last.text);
    }
}

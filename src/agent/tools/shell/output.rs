//! What a command wrote: the first bytes of each stream are kept, its lines are shown in the thread as they come.

use super::CallContext;
use serde_json::{Value, json};

/// Bytes of one line that the thread shows.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Lines of one stream that the thread shows.
const LINES_MAX: usize = 1000;

/// How a command ended, and what it wrote.
pub(in crate::agent::tools) struct Ran {
    /// The exit status; `None` when it took too long.
    status: Option<i64>,
    stdout: String,
    stderr: String,
}

impl Ran {
    pub fn ended(status: i64, streams: Streams) -> Self {
        Self { status: Some(status), stdout: streams.stdout.finish(), stderr: streams.stderr.finish() }
    }

    pub fn too_long(streams: Streams) -> Self {
        Self { status: None, stdout: streams.stdout.finish(), stderr: streams.stderr.finish() }
    }

    /// It did not run.
    pub fn failed(why: String) -> Self {
        Self { status: Some(1), stdout: String::new(), stderr: why }
    }

    pub fn timed_out(&self) -> bool {
        self.status.is_none()
    }

    pub fn to_json(&self) -> Value {
        let outcome = match self.status {
            Some(status) => json!({"type": "exit", "exit_code": status}),
            None => json!({"type": "timeout"}),
        };
        json!({"outcome": outcome, "stdout": self.stdout, "stderr": self.stderr})
    }
}

/// Both streams of a running command.
pub(in crate::agent::tools) struct Streams {
    pub stdout: Stream,
    pub stderr: Stream,
}

impl Streams {
    pub fn new(bytes_max: usize) -> Self {
        Self { stdout: Stream::new("stdout", bytes_max), stderr: Stream::new("stderr", bytes_max) }
    }
}

/// One stream, within bounds.
pub(in crate::agent::tools) struct Stream {
    name: &'static str,
    kept: Vec<u8>,
    bytes_max: usize,
    dropped: usize,
    line: Vec<u8>,
    lines: usize,
}

impl Stream {
    fn new(name: &'static str, bytes_max: usize) -> Self {
        Self { name, kept: Vec::new(), bytes_max, dropped: 0, line: Vec::new(), lines: 0 }
    }

    /// Takes what was written; whole lines go to the thread.
    pub async fn take(&mut self, data: &[u8], call: &CallContext) {
        for line in self.note(data) {
            call.log(self.name, line).await;
        }
    }

    fn note(&mut self, data: &[u8]) -> Vec<String> {
        let free = self.bytes_max.saturating_sub(self.kept.len()).min(data.len());
        let (kept, dropped) = data.split_at(free);
        self.kept.extend_from_slice(kept);
        self.dropped += dropped.len();
        let mut lines = Vec::new();
        for byte in data {
            if self.lines >= LINES_MAX {
                break;
            }
            if *byte != b'\n' && self.line.len() < LINE_BYTES_MAX {
                self.line.push(*byte);
            }
            if *byte == b'\n' {
                lines.push(String::from_utf8_lossy(&self.line).into_owned());
                self.line.clear();
                self.lines += 1;
            }
        }
        lines
    }

    fn finish(self) -> String {
        let text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.dropped == 0 {
            text
        } else {
            format!("{text}\n[… {} more bytes were cut off]", self.dropped)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept_and_lines_are_shown_whole() {
        let mut stream = Stream::new("stdout", 6);
        assert_eq!(stream.note(b"one\ntw"), ["one"]);
        assert_eq!(stream.note(b"o\nthree"), ["two"]);
        assert_eq!(stream.finish(), "one\ntw\n[… 7 more bytes were cut off]");
        let mut many = Stream::new("stdout", 10);
        assert_eq!(many.note("x\n".repeat(LINES_MAX + 5).as_bytes()).len(), LINES_MAX);
        let mut long = Stream::new("stdout", 10);
        let line = format!("{}\n", "y".repeat(LINE_BYTES_MAX * 2));
        assert_eq!(long.note(line.as_bytes())[0].len(), LINE_BYTES_MAX);
    }

    #[test]
    fn results_are_what_the_official_tool_gives() {
        let ran = Ran::ended(3, Streams::new(10));
        assert_eq!(
            ran.to_json(),
            json!({"outcome": {"type": "exit", "exit_code": 3}, "stdout": "", "stderr": ""})
        );
        let slow = Ran::too_long(Streams::new(10));
        assert!(slow.timed_out());
        assert_eq!(slow.to_json()["outcome"], json!({"type": "timeout"}));
        assert_eq!(Ran::failed("no".into()).to_json()["stderr"], "no");
    }
}

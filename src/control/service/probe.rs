//! Whether the ports of services answer: a bounded HTTP request to this host, and what came of it, kept in memory.

use crate::runtime::InstanceKey;
use crate::spec::{PortNumber, Service};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read; its first line is enough.
pub const ANSWER_BYTES_MAX: usize = 512;
/// Pause between two looks at a port that does not answer yet.
pub const PAUSE_NOT_READY: TimeDelta = TimeDelta::seconds(1);
/// Pause between two looks at a port that answers.
pub const PAUSE_READY: TimeDelta = TimeDelta::seconds(30);

/// What the last look at one port showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub ready: bool,
    pub checked_at: DateTime<Utc>,
    pub error: Option<String>,
}

/// One port to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub key: InstanceKey,
    /// Place among the service's ports.
    pub index: usize,
    pub port: u16,
    pub path: String,
}

#[derive(Debug, Default)]
struct Board {
    /// Ports chosen for `"*"`.
    chosen: HashMap<InstanceKey, u16>,
    seen: HashMap<InstanceKey, HashMap<usize, Seen>>,
}

/// What is known of the ports of all instances that run here.
#[derive(Debug, Default)]
pub struct Probes {
    board: Mutex<Board>,
}

impl Probes {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_port(&self, key: &InstanceKey, port: u16) {
        self.board().chosen.insert(key.clone(), port);
    }

    pub(super) fn forget(&self, key: &InstanceKey) {
        let mut board = self.board();
        board.chosen.remove(key);
        board.seen.remove(key);
    }

    /// The last look at a port of an instance.
    #[must_use]
    pub fn seen(&self, key: &InstanceKey, index: usize) -> Option<Seen> {
        self.board().seen.get(key)?.get(&index).cloned()
    }

    pub(super) fn set(&self, target: &Target, seen: Seen) {
        self.board().seen.entry(target.key.clone()).or_default().insert(target.index, seen);
    }

    /// The ports of a running service that declare a path to look at, each with the time of its next look.
    #[must_use]
    pub fn targets(
        &self,
        key: &InstanceKey,
        spec: &Service,
        now: DateTime<Utc>,
    ) -> Vec<(Target, DateTime<Utc>)> {
        let board = self.board();
        let target = |(index, port): (usize, &crate::spec::Port)| {
            let path = port.liveness.clone()?;
            let number = match port.num {
                PortNumber::Fixed(number) => number,
                PortNumber::Any => *board.chosen.get(key)?,
            };
            let seen = board.seen.get(key).and_then(|ports| ports.get(&index));
            let due = seen
                .map_or(now, |seen| seen.checked_at + if seen.ready { PAUSE_READY } else { PAUSE_NOT_READY });
            Some((Target { key: key.clone(), index, port: number, path }, due))
        };
        spec.ports().iter().enumerate().filter_map(target).collect()
    }
}

/// Asks once. The error says what was wrong, for people.
pub async fn ask(target: &Target) -> Result<(), String> {
    match tokio::time::timeout(ANSWER_LIMIT, request(target.port, &target.path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
}

async fn request(port: u16, path: &str) -> Result<(), String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{path}` is not a path; write one without spaces, such as `/healthz`"));
    }
    let failed = |error: std::io::Error| format!("port {port} of this host does not answer: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nAccept: */*\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    let bound = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bounded = stream.take(bound);
    while !answer.contains(&b'\n') && bounded.read_buf(&mut answer).await.map_err(failed)? > 0 {}
    status(&answer)
}

/// Reads the status line: 2xx is well.
fn status(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    match (words.next(), words.next().and_then(|code| code.parse::<u16>().ok())) {
        (Some(version), Some(code)) if version.starts_with("HTTP/1.") => {
            if (200..300).contains(&code) {
                Ok(())
            } else {
                Err(format!("answered {code}"))
            }
        }
        _ => Err("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_ready() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Ok(()));
        assert_eq!(status(b"HTTP/1.0 204\r\n"), Ok(()));
        assert_eq!(status(b"HTTP/1.1 503 Busy\r\n"), Err("answered 503".into()));
        for bad in [&b"SSH-2.0-x\r\n"[..], b"", b"HTTP/1.1 abc\r\n"] {
            assert_eq!(status(bad), Err("the answer is not HTTP".into()));
        }
    }
}

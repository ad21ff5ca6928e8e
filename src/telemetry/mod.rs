//! What sessions say of themselves: events, spans and metrics, in a bounded store of this server beside the log.
//!
//! High-rate data: it may be dropped under pressure (and is counted then), the oldest goes when there is too much, and
//! the newest may be lost with the machine. The limits hold at every moment, see [`Limits`].
//!
//! Knows nothing of sockets, grants or who sends what.

mod forward;
pub mod otlp;
mod store;

pub use forward::Forward;

use crate::clock::Clock;
use crate::id::SessionId;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Batches of records that may wait for the disk; more are dropped and counted.
pub const WAITING_MAX: usize = 1_024;
/// Records of one batch.
pub const BATCH_RECORDS_MAX: usize = 4_096;
/// Longest record, bytes of JSON; a longer one is dropped and counted.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Most records that one listing gives; the newest ones.
pub const LIST_MAX: usize = 10_000;

/// What is kept at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all records; the oldest go first.
    pub bytes: u64,
    /// Age of a record, from when it came.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 * 1024 * 1024, age: Duration::from_hours(7 * 24) }
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something happened: a log line.
    Event,
    /// A piece of work with a beginning and an end.
    Span,
    /// A measured value.
    Metric,
}

/// One record, as the REST interface shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub session: SessionId,
    pub kind: Kind,
    pub body: Value,
}

/// Why telemetry is not there.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "cannot open the telemetry of this server in {path}: {reason}; check the directory, or delete the file to start anew"
    )]
    Open { path: String, reason: String },
    #[error("cannot read the telemetry of this server: {0}; try again")]
    Read(String),
}

enum Message {
    Add(Vec<Record>),
    List { session: SessionId, kind: Kind, answer: oneshot::Sender<Result<Vec<Value>, TelemetryError>> },
    Flush(oneshot::Sender<()>),
}

/// The handle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    writer: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Telemetry {
    /// Opens `telemetry.db` in `dir` and starts its writer, a thread that ends with the last handle.
    pub fn open(dir: &Path, limits: Limits, clock: Arc<dyn Clock>) -> Result<Self, TelemetryError> {
        let store = store::Store::open(&dir.join("telemetry.db"), limits)?;
        let (writer, inbox) = mpsc::channel(WAITING_MAX);
        let failed = |error: std::io::Error| TelemetryError::Open {
            path: dir.display().to_string(),
            reason: error.to_string(),
        };
        std::thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || store::run(store, inbox, &*clock))
            .map_err(failed)?;
        Ok(Self { writer, dropped: Arc::default() })
    }

    /// Takes records; never waits.
    pub fn add(&self, records: Vec<Record>) {
        let count = records.len() as u64;
        if count > 0 && self.writer.try_send(Message::Add(records)).is_err() {
            let before = self.dropped.fetch_add(count, Ordering::Relaxed);
            if before == 0 {
                tracing::warn!("telemetry comes faster than it can be written; some is dropped");
            }
        }
    }

    /// Records dropped so far because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The newest [`LIST_MAX`] records of a session, oldest first; with everything added before.
    pub async fn list(&self, session: SessionId, kind: Kind) -> Result<Vec<Value>, TelemetryError> {
        let gone = || TelemetryError::Read("its writer is gone".to_owned());
        let (answer, listed) = oneshot::channel();
        self.writer.send(Message::List { session, kind, answer }).await.map_err(|_| gone())?;
        listed.await.map_err(|_| gone())?
    }

    /// Returns when everything added before is written.
    pub async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        if self.writer.send(Message::Flush(answer)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

//! The event log: facts appended once, in one global order, never changed.
//!
//! This folder holds the port ([`EventLog`]), its engines ([`memory`]; SQLite and Postgres on `crate::store`),
//! the bounded [`Tail`] that every follower uses, and what is done to a whole log (verify, export, import).
//! It knows streams, versions and positions. It may not know what any event means: `data` is JSON text to it.

mod error;
mod event;
pub mod export;
mod limits;
pub mod memory;
mod place;
pub mod postgres;
mod query;
mod row;
pub mod sqlite;
mod tail;
pub mod verify;

pub use error::{AppendError, LogError};
pub use event::{
    Appended, Expected, Filter, KindFilter, Metadata, NewEvent, Problem, Recorded, Report, Snapshot,
    StreamWrite,
};
pub use limits::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, EVENT_BYTES_MAX, PAGE_EVENTS_MAX, PROBLEMS_MAX, SNAPSHOT_BYTES_MAX,
    STREAM_BYTES_MAX,
};
pub use tail::Tail;

use crate::id::{Position, StreamId};
use async_trait::async_trait;
use tokio::sync::watch;

/// One append-only log. Every engine keeps the same contract, held by one conformance suite:
///
/// * positions are 1, 2, 3, … without a gap, and position order is commit order;
/// * versions of a stream are 1, 2, 3, … without a gap;
/// * what [`append`](EventLog::append) has answered is durable, and visible to every later read.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends all writes, or none.
    ///
    /// A retry is recognised by its event ids: when every id is already recorded, on the same streams with the same
    /// kinds and in the same order, the original records are returned with `repeated` set, whatever was expected.
    /// A write without events only checks its expectation. Writes to one stream are taken in the order given.
    async fn append(&self, writes: Vec<StreamWrite>) -> Result<Appended, AppendError>;

    /// Puts back recorded events as they were: position, version, time and all. Only for imports.
    /// The first must have the position that follows the head, and each further one the next.
    async fn restore(&self, events: Vec<Recorded>) -> Result<(), AppendError>;

    /// Events of one stream with a version above `after_version`, oldest first;
    /// at most `limit`, and never more than [`PAGE_EVENTS_MAX`].
    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError>;

    /// Events after a position that pass the filter, oldest first; at most `limit`, and never more than
    /// [`PAGE_EVENTS_MAX`].
    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Vec<Recorded>, LogError>;

    /// Position of the newest event; 0 when the log is empty.
    async fn head(&self) -> Result<Position, LogError>;

    /// Wakes when something was appended. The value is a position up to which everything is readable; it may lag
    /// behind [`head`](EventLog::head), and several appends may be one wake-up. The log itself is the truth.
    fn changes(&self) -> watch::Receiver<Position>;

    /// Stores a snapshot under its name, in place of the one before it.
    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), LogError>;

    /// The snapshot of that name; `None` when there is none, or when it is damaged (a snapshot is disposable).
    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError>;

    /// Forgets the snapshot of that name, if there is one.
    async fn delete_snapshot(&self, name: &str) -> Result<(), LogError>;

    /// Reads the whole log and reports everything that is not as it must be: checksums, gaps in positions and in
    /// stream versions, event ids used twice.
    async fn verify(&self) -> Result<Report, LogError>;
}

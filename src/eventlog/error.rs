//! Why an append or a read failed. Each text says what happened, to which object, and what to do next.

use super::Expected;
use crate::id::{Position, StreamId};
use crate::store::StoreError;
use uuid::Uuid;

/// Why an append was refused. Nothing of it was recorded, except after [`AppendError::Unavailable`], where it may
/// have been: retry with the same event ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else wrote first: load again, decide again.
    #[error("stream `{stream}` is at version {actual}, not {expected} as expected; read it again and retry")]
    Conflict { stream: StreamId, expected: Expected, actual: u64 },
    #[error("too large: {got} {what}, the limit is {limit}; split it, or keep the bulk outside the log")]
    TooLarge { what: &'static str, got: usize, limit: usize },
    #[error("data of event `{kind}` ({event_id}) is not JSON on one line; write it with a JSON serialiser")]
    NotJson { event_id: Uuid, kind: String },
    #[error("{text:?} cannot name a stream or an event kind; use 1 to {max} bytes without control characters", max = super::STREAM_BYTES_MAX)]
    BadName { text: String },
    #[error("event id {event_id} is already used by a different event; make a fresh id for each new event")]
    IdReused { event_id: Uuid },
    #[error(
        "event {position} cannot follow event {head}; import into an empty log, or one that begins alike"
    )]
    NotNext { position: Position, head: Position },
    #[error(
        "the disk is full at {place}; nothing was recorded: free some space and retry, no restart is needed"
    )]
    Full { place: String },
    #[error("the event log at {place} is damaged: {reason}; stop the server and run `meshagent log verify`")]
    Damaged { place: String, reason: String },
    /// `reason` ends in the next step.
    #[error("the event log is not available: {reason}")]
    Unavailable { reason: String },
}

impl AppendError {
    /// Whether certainly nothing was recorded.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::NotJson { .. }
            | Self::BadName { .. }
            | Self::IdReused { .. }
            | Self::NotNext { .. }
            | Self::Full { .. } => true,
            Self::Damaged { .. } | Self::Unavailable { .. } => false,
        }
    }
}

/// Why a read, a snapshot or a verification failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("event {position} is damaged: {reason}; stop the server and run `meshagent log verify`")]
    DamagedEvent { position: Position, reason: String },
    #[error("the event log at {place} is damaged: {reason}; stop the server and run `meshagent log verify`")]
    Damaged { place: String, reason: String },
    #[error("snapshot `{name}` has {got} bytes, the limit is {limit}; the log is complete without it")]
    SnapshotTooLarge { name: String, got: usize, limit: usize },
    #[error("the disk is full at {place}; free some space and retry, no restart is needed")]
    Full { place: String },
    /// `reason` ends in the next step.
    #[error("the event log is not available: {reason}")]
    Unavailable { reason: String },
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { place } => Self::Full { place },
            StoreError::Damaged { place, reason } => Self::Damaged { place, reason },
            other => Self::Unavailable { reason: other.to_string() },
        }
    }
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full { place } => Self::Full { place },
            LogError::Damaged { place, reason } => Self::Damaged { place, reason },
            other => Self::Unavailable { reason: other.to_string() },
        }
    }
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> Self {
        LogError::from(error).into()
    }
}

//! Keys, items, limits and errors of queues.

use crate::error_code::RoomCode;
use crate::id::RoomId;
use crate::name::QueueName;
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// How long the id that a sender chose is remembered after the send.
pub const SEEN_KEEP: chrono::Duration = chrono::Duration::days(7);

/// One queue: its room (and with that its project) and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueKey {
    pub room: RoomId,
    pub name: QueueName,
}

impl QueueKey {
    #[must_use]
    pub fn new(room: RoomId, name: QueueName) -> Self {
        Self { room, name }
    }
}

/// Identifies an item in its queue for ever. Firings of schedules derive it, so that a repeat is one item.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub Uuid);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An item to send: `body` is JSON text, stored and returned as it is.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// `None`: the store chooses. `Some`: sending the same id again changes nothing.
    pub id: Option<ItemId>,
    pub body: String,
    /// Whether the limit of one item's bytes does not hold: who sends it has one of its own.
    large: bool,
}

impl NewItem {
    pub fn new(body: impl Into<String>) -> Self {
        Self { id: None, body: body.into(), large: false }
    }
    pub fn with_id(id: ItemId, body: impl Into<String>) -> Self {
        Self { id: Some(id), body: body.into(), large: false }
    }

    /// An item whose size somebody else bounds, such as mail.
    pub fn large(id: Option<ItemId>, body: impl Into<String>) -> Self {
        Self { id, body: body.into(), large: true }
    }
}

/// What a send did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    Stored(ItemId),
    /// An item with this id was sent before; nothing changed.
    Duplicate(ItemId),
}

impl Sent {
    #[must_use]
    pub const fn id(self) -> ItemId {
        match self {
            Self::Stored(id) | Self::Duplicate(id) => id,
        }
    }
}

/// An item as `receive` returns it; it is no longer stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueItem {
    pub id: ItemId,
    /// Place in the queue; only [`super::QueueStore::put_back`] uses it.
    pub place: i64,
    pub body: String,
    /// Leases it had before.
    pub attempt: u32,
}

/// Proof of a lease. Written as `<place>.<uuid>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LeaseToken {
    pub(super) place: i64,
    pub(super) nonce: Uuid,
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.nonce)
    }
}

/// The text is not a lease token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a lease token; pass the `lease_token` that the lease returned")]
pub struct InvalidLeaseToken(pub String);

impl FromStr for LeaseToken {
    type Err = InvalidLeaseToken;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('.')
            .and_then(|(place, nonce)| {
                Some(Self { place: place.parse().ok()?, nonce: Uuid::parse_str(nonce).ok()? })
            })
            .ok_or_else(|| InvalidLeaseToken(text.to_owned()))
    }
}

/// An item that its holder must acknowledge before `until`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeasedItem {
    pub id: ItemId,
    pub body: String,
    /// 1 for the first try.
    pub attempt: u32,
    pub token: LeaseToken,
    pub until: DateTime<Utc>,
}

/// An item that failed too often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadItem {
    pub id: ItemId,
    pub body: String,
    pub attempt: u32,
    pub reason: String,
    pub dead_at: DateTime<Utc>,
}

/// One page of dead letters; `next` is the `after` of the following page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadPage {
    pub items: Vec<DeadItem>,
    pub next: Option<i64>,
}

/// Counts of one queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueInfo {
    pub name: QueueName,
    /// Items that could be received now.
    pub size: u64,
    /// Items that are leased, or wait for their next try.
    pub leased: u64,
    pub dead: u64,
}

/// Bounds of queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Items in one queue, dead letters included.
    pub items_per_queue: u64,
    /// Bytes of one item's JSON text.
    pub item_bytes: usize,
    pub queues_per_room: u64,
    pub attempts: u32,
    pub losses: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items_per_queue: 2_000_000,
            item_bytes: 1024 * 1024,
            queues_per_room: 1_000,
            attempts: super::ATTEMPTS_MAX,
            losses: super::LOSSES_MAX,
        }
    }
}

/// Why a queue did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    #[error("queue `{queue}` does not exist in this room; open it first, or pass create")]
    NotFound { queue: QueueName },
    #[error("queue `{queue}` exists already in this room")]
    AlreadyExists { queue: QueueName },
    #[error(
        "queue `{queue}` is full: it holds {limit} items; receive or drain some, or delete its dead letters"
    )]
    Full { queue: QueueName, limit: u64 },
    #[error(
        "the item for queue `{queue}` has {bytes} bytes, at most {limit} are allowed; store the data in a file and send its path"
    )]
    ItemTooLarge { queue: QueueName, bytes: usize, limit: usize },
    #[error("one call to queue `{queue}` may carry at most {limit} items, this one has {count}; split it")]
    BatchTooLarge { queue: QueueName, count: usize, limit: usize },
    #[error(
        "queue `{queue}` cannot be made: the room has {limit} queues already; close one that is not used"
    )]
    TooManyQueues { queue: QueueName, limit: u64 },
    #[error(
        "the lease `{token}` in queue `{queue}` is over, and the item may be with another consumer; do not count this work as done, lease again"
    )]
    LeaseLost { queue: QueueName, token: LeaseToken },
    #[error("a lease in queue `{queue}` lasts {min} to {max} ms, not {lease_ms}")]
    LeaseLength { queue: QueueName, lease_ms: u64, min: u64, max: u64 },
    #[error("cannot {action} in queue `{queue}`: {detail}")]
    Storage { action: &'static str, queue: String, detail: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl QueueError {
    pub(super) fn storage(action: &'static str, key: &QueueKey, detail: impl fmt::Display) -> Self {
        Self::Storage { action, queue: key.name.to_string(), detail: detail.to_string() }
    }

    /// Whether the same call may do better later: the store did not take it, and nothing is wrong with the call.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Storage { .. } | Self::Store(_))
    }

    /// The room protocol's number of this error.
    #[must_use]
    pub const fn code(&self) -> RoomCode {
        match self {
            Self::NotFound { .. } => RoomCode::QueueNotFound,
            Self::AlreadyExists { .. } => RoomCode::QueueAlreadyExists,
            Self::ItemTooLarge { .. } | Self::BatchTooLarge { .. } | Self::LeaseLength { .. } => {
                RoomCode::InvalidRequest
            }
            Self::Full { .. } | Self::TooManyQueues { .. } => RoomCode::InvalidState,
            Self::LeaseLost { .. } => RoomCode::Conflict,
            Self::Storage { .. } | Self::Store(_) => RoomCode::OperationFailed,
        }
    }
}

/// Checks that every adapter makes before it touches its store.
impl Limits {
    pub(super) fn check_send(&self, key: &QueueKey, items: &[NewItem]) -> Result<(), QueueError> {
        check_batch(key, items.len())?;
        match items.iter().find(|item| !item.large && item.body.len() > self.item_bytes) {
            Some(item) => Err(QueueError::ItemTooLarge {
                queue: key.name.clone(),
                bytes: item.body.len(),
                limit: self.item_bytes,
            }),
            None => Ok(()),
        }
    }

    pub(super) fn full(&self, key: &QueueKey) -> QueueError {
        QueueError::Full { queue: key.name.clone(), limit: self.items_per_queue }
    }
}

pub(super) fn check_batch(key: &QueueKey, count: usize) -> Result<(), QueueError> {
    if count > super::BATCH_MAX {
        return Err(QueueError::BatchTooLarge { queue: key.name.clone(), count, limit: super::BATCH_MAX });
    }
    Ok(())
}

/// The lease as a duration, if it has an allowed length.
pub(super) fn check_lease(key: &QueueKey, lease_ms: u64) -> Result<chrono::Duration, QueueError> {
    let (min, max) = (*super::LEASE_MS.start(), *super::LEASE_MS.end());
    let length = QueueError::LeaseLength { queue: key.name.clone(), lease_ms, min, max };
    if !super::LEASE_MS.contains(&lease_ms) {
        return Err(length);
    }
    i64::try_from(lease_ms).map(chrono::Duration::milliseconds).map_err(|_| length)
}

/// Reason of the last attempt of an item whose holder let the lease run out.
pub(super) fn expired_reason(holder: &str, attempt: u32) -> String {
    format!("the lease of `{holder}` ran out without an answer (attempt {attempt})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_token_reads_back_as_written() {
        let token = LeaseToken { place: 42, nonce: Uuid::from_u128(7) };
        assert_eq!(token.to_string().parse::<LeaseToken>().unwrap(), token);
        for bad in ["", "42", "x.y", "42.", ".00000000-0000-0000-0000-000000000007"] {
            assert!(bad.parse::<LeaseToken>().is_err(), "{bad}");
        }
    }
}

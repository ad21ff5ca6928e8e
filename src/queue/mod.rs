//! Durable queues of a room: the port, its waiting line and its adapters (memory, SQLite, Postgres).
//!
//! High-rate data: items live in the log's database but are not events. `receive` removes the item it returns
//! (MeshAgent's contract); our own consumers `lease` and `ack`, so that a consumer that dies gives its item back,
//! and after [`ATTEMPTS_MAX`] attempts, or [`LOSSES_MAX`] leases that were lost, an item becomes a dead letter with the
//! reason.
//!
//! Knows nothing of rooms' sessions, sockets or grants.

mod alarm;
mod line;
mod memory;
mod postgres;
mod sqlite;
mod take;
pub mod types;

pub use line::{Claim, Handed, Line, Turn};
pub use memory::MemoryQueues;
pub use postgres::PostgresQueues;
pub use sqlite::SqliteQueues;
pub use take::{Taken, lease_wait, take};
pub use types::{
    DeadItem, DeadPage, ItemId, LeaseToken, LeasedItem, Limits, NewItem, QueueError, QueueInfo, QueueItem,
    QueueKey, Sent,
};

use crate::id::RoomId;
use async_trait::async_trait;
use std::fmt;

/// Leases an item may have had before the next failure makes it a dead letter.
pub const ATTEMPTS_MAX: u32 = 5;
/// Leases an item may have had before the loss of the next one (its consumer went away, or let it run out) makes it a dead
/// letter. More than [`ATTEMPTS_MAX`]: a consumer may have done the item and died before it said so, and the next one can
/// find that out.
pub const LOSSES_MAX: u32 = 2 * ATTEMPTS_MAX;
/// Most items one call sends, leases or acknowledges.
pub const BATCH_MAX: usize = 1_000;
/// Most dead letters on one page.
pub const DEAD_PAGE_MAX: usize = 500;
/// Shortest and longest lease, milliseconds.
pub const LEASE_MS: std::ops::RangeInclusive<u64> = 1..=24 * 60 * 60 * 1000;

/// The durable queues of all rooms.
///
/// First in, first out per queue; an item that comes back keeps its place. A call that has returned is on disk.
/// Where a queue is missing every method but `create`, `ensure`, `exists`, `list` and a `send` with `create`
/// answers [`QueueError::NotFound`].
#[async_trait]
pub trait QueueStore: Send + Sync + fmt::Debug + 'static {
    /// Makes an empty queue; [`QueueError::AlreadyExists`] where there is one.
    async fn create(&self, key: &QueueKey) -> Result<(), QueueError>;

    /// Makes the queue unless it is there; true when this call made it.
    async fn ensure(&self, key: &QueueKey) -> Result<bool, QueueError> {
        match self.create(key).await {
            Ok(()) => Ok(true),
            Err(QueueError::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn exists(&self, key: &QueueKey) -> Result<bool, QueueError>;

    /// All queues of the room, by name.
    async fn list(&self, room: RoomId) -> Result<Vec<QueueInfo>, QueueError>;

    /// Appends items, all or none. An item whose id the sender chose is stored once: a repeat of that id answers
    /// [`Sent::Duplicate`] for [`types::SEEN_KEEP`], also after the item was consumed.
    async fn send_many(
        &self,
        key: &QueueKey,
        items: Vec<NewItem>,
        create: bool,
    ) -> Result<Vec<Sent>, QueueError>;

    /// Appends one item; see [`QueueStore::send_many`].
    async fn send(&self, key: &QueueKey, item: NewItem, create: bool) -> Result<Sent, QueueError> {
        let sent = self.send_many(key, vec![item], create).await?;
        sent.into_iter().next().ok_or_else(|| QueueError::storage("send", key, "the store answered nothing"))
    }

    /// Takes up to `max` oldest items out for good. Prefer [`take`], which survives a caller that goes away.
    async fn receive_many(&self, key: &QueueKey, max: usize) -> Result<Vec<QueueItem>, QueueError>;

    /// Takes the oldest item out for good, `None` when there is none.
    async fn receive(&self, key: &QueueKey) -> Result<Option<QueueItem>, QueueError> {
        Ok(self.receive_many(key, 1).await?.pop())
    }

    /// Puts an item that `receive` returned, and nobody got, back in its old place.
    async fn put_back(&self, key: &QueueKey, item: QueueItem) -> Result<(), QueueError>;

    /// Hands up to `max` oldest items to `holder` for `lease_ms`; counts an attempt of each.
    async fn lease_many(
        &self,
        key: &QueueKey,
        holder: &str,
        lease_ms: u64,
        max: usize,
    ) -> Result<Vec<LeasedItem>, QueueError>;

    /// Hands the oldest item to `holder` for `lease_ms`, `None` when there is none.
    async fn lease(
        &self,
        key: &QueueKey,
        holder: &str,
        lease_ms: u64,
    ) -> Result<Option<LeasedItem>, QueueError> {
        Ok(self.lease_many(key, holder, lease_ms, 1).await?.pop())
    }

    /// Removes items that were done. All or none: [`QueueError::LeaseLost`] names the first whose lease is over.
    async fn ack_many(&self, key: &QueueKey, tokens: &[LeaseToken]) -> Result<(), QueueError>;

    async fn ack(&self, key: &QueueKey, token: LeaseToken) -> Result<(), QueueError> {
        self.ack_many(key, &[token]).await
    }

    /// Gives an item back untried: the attempt does not count.
    async fn release(&self, key: &QueueKey, token: LeaseToken) -> Result<(), QueueError>;

    /// Gives an item back after a failure. It is offered again after `delay_ms`; after [`ATTEMPTS_MAX`] attempts
    /// it becomes a dead letter with `reason`. True when it did.
    async fn nack(
        &self,
        key: &QueueKey,
        token: LeaseToken,
        reason: &str,
        delay_ms: u64,
    ) -> Result<bool, QueueError>;

    /// Moves the end of a lease to `lease_ms` from now.
    async fn extend(&self, key: &QueueKey, token: LeaseToken, lease_ms: u64) -> Result<(), QueueError>;

    /// Ends all leases of a holder that went away, in all queues of the room, as failures with `reason`. Number of items.
    async fn nack_holder(&self, room: RoomId, holder: &str, reason: &str) -> Result<u64, QueueError>;

    /// Removes all items but the dead letters. Number of items.
    async fn drain(&self, key: &QueueKey) -> Result<u64, QueueError>;

    /// Deletes the queue with everything in it; whoever waits for it is told [`QueueError::NotFound`].
    async fn close(&self, key: &QueueKey) -> Result<(), QueueError>;

    /// Dead letters, oldest first, after the place `after` (0 = from the start), at most [`DEAD_PAGE_MAX`].
    async fn dead_letters(&self, key: &QueueKey, after: i64, limit: usize) -> Result<DeadPage, QueueError>;

    /// Puts dead letters back to their old places with no attempts; all of them where `ids` is empty. Number of items.
    async fn replay_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError>;

    /// Removes dead letters for good; all of them where `ids` is empty. Number of items.
    async fn delete_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError>;

    /// Gives back, or declares dead, what was leased until now or before; ends delays likewise.
    /// The store calls this itself when leases exist; callers need it only in tests. Number of items.
    async fn expire_leases(&self) -> Result<u64, QueueError>;

    /// Deletes all queues of the room.
    async fn delete_room(&self, room: RoomId) -> Result<(), QueueError>;

    /// A place in the line of those who wait for an item. Its [`Turn::mine`] completes when it is worth trying.
    fn watch(&self, key: &QueueKey) -> Turn;

    /// As [`QueueStore::watch`]; a store that can then fulfils the claim by itself, which saves a sync.
    fn watch_for(&self, key: &QueueKey, claim: Claim) -> Turn {
        let _ = claim;
        self.watch(key)
    }
}

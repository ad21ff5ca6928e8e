//! What clients tried, and what they were told.

use crate::client::room::RoomError;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Attempts and acknowledgements of one kind of write, by key.
#[derive(Debug, Default)]
pub struct Writes {
    pub tried: BTreeSet<String>,
    pub acknowledged: BTreeSet<String>,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Books {
    pub rooms: Writes,
    pub files: Writes,
    pub items: Writes,
    /// Messages: sent, and taken by their receiver.
    pub messages: Writes,
    /// Connections of servers that died: nobody may be told that they are there.
    pub gone: BTreeSet<String>,
    /// What a receiver was told that was not so. Must stay empty.
    pub invented: BTreeSet<String>,
    /// Through the other Room APIs, by their names.
    pub apis: BTreeMap<&'static str, Writes>,
    /// Writes that were refused by a living server. Must stay empty.
    pub refused: BTreeSet<String>,
    /// Items whose `ack` was answered: their work is done.
    pub done: BTreeSet<String>,
    /// Items whose `ack` was sent: done or not, nobody knows.
    pub settling: BTreeSet<String>,
    /// Times that an item was handed out.
    pub deliveries: BTreeMap<String, u32>,
    /// Items handed out again after their `ack` was answered. Must stay empty.
    pub repeated: BTreeSet<String>,
    /// Number in the applied service: the last tried, the last acknowledged.
    pub applied: (u64, u64),
}

/// The books behind a lock; never held across an await.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

impl Ledger {
    /// Books a write that failed; one whose server died is in doubt and no failure.
    pub fn refused(&self, api: &str, error: &RoomError) {
        if matches!(error, RoomError::Failed { .. } | RoomError::Unexpected { .. }) {
            self.books().refused.insert(format!("{api}: {error}"));
        }
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.books();
        let apis: usize = b.apis.values().map(|writes| writes.acknowledged.len()).sum();
        write!(
            f,
            "acknowledged {apis} writes of other Room APIs, {} rooms, {} files, {} queue items ({} done), {} messages, {} applies",
            b.rooms.acknowledged.len(),
            b.files.acknowledged.len(),
            b.items.acknowledged.len(),
            b.done.len(),
            b.messages.acknowledged.len(),
            b.applied.1
        )
    }
}

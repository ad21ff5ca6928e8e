//! Handing items to those who wait, in the transaction that stores them.

use super::{SqliteQueues, items};
use crate::clock::{Clock, IdSource};
use crate::queue::alarm::Alarm;
use crate::queue::line::{GiveBack, Reserved};
use crate::queue::types::check_lease;
use crate::queue::{BATCH_MAX, Claim, Handed as One, Line, QueueError, QueueKey, QueueStore as _};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What a send needs for it on the writer's thread.
pub(super) struct Handover {
    line: Arc<Line>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

/// Who is handed something when the transaction is on disk. Dropped before, they are called to try by themselves.
pub(super) struct Handed {
    reserved: Vec<Reserved>,
    /// Lengths of the leases among them.
    shortest_lease_ms: Option<u64>,
}

impl Handover {
    /// Takes up to `stored` items for the first in line.
    pub(super) fn take(
        &self,
        c: &Connection,
        key: &QueueKey,
        queue: i64,
        stored: usize,
    ) -> Result<Handed, QueueError> {
        let mut handed = Handed { reserved: Vec::new(), shortest_lease_ms: None };
        for _ in 0..stored {
            let Some(reserved) = self.line.reserve(key) else { break };
            let taken = match reserved.claim() {
                Some(Claim::Take) => items::receive(c, queue, 1)?.pop().map(One::Item),
                Some(Claim::Lease { holder, lease_ms, max }) => {
                    // Whoever claims what cannot be is called, and told when it tries.
                    let Ok(length) = check_lease(key, *lease_ms) else { continue };
                    let (until, max) = (self.clock.now() + length, (*max).clamp(1, BATCH_MAX));
                    let leased = items::lease(c, queue, holder, self.ids.fresh(), until, max)?;
                    let shortest = handed.shortest_lease_ms.map_or(*lease_ms, |ms| ms.min(*lease_ms));
                    handed.shortest_lease_ms = Some(shortest);
                    (!leased.is_empty()).then_some(One::Leased(leased))
                }
                None => None,
            };
            if let Some(taken) = taken {
                reserved.fill(taken);
                handed.reserved.push(reserved);
            }
        }
        Ok(handed)
    }
}

impl Handed {
    pub(super) fn len(&self) -> usize {
        self.reserved.len()
    }

    pub(super) fn deliver(&self, alarm: &Alarm) {
        self.reserved.iter().for_each(Reserved::deliver);
        if let Some(ms) = self.shortest_lease_ms {
            alarm.arm(Duration::from_millis(ms));
        }
    }
}

impl SqliteQueues {
    pub(super) fn handover(&self) -> Handover {
        Handover { line: Arc::clone(&self.line), clock: Arc::clone(&self.clock), ids: Arc::clone(&self.ids) }
    }

    /// How what was handed to somebody who left returns; nothing outside of the async runtime.
    pub(super) fn give_back(&self, key: &QueueKey) -> Option<GiveBack> {
        let (runtime, own, key) = (Handle::try_current().ok()?, self.own.clone(), key.clone());
        Some(Box::new(move |handed| {
            let (own, key) = (own.clone(), key.clone());
            runtime.spawn(async move {
                let Some(store) = own.upgrade() else { return };
                let returned = match handed {
                    One::Item(item) => store.put_back(&key, item).await,
                    One::Leased(items) => {
                        let mut returned = Ok(());
                        for item in items {
                            returned = returned.and(store.release(&key, item.token).await);
                        }
                        returned
                    }
                };
                if let Err(error) = returned {
                    tracing::error!(queue = %key.name, %error, "an item that nobody got could not be put back");
                }
            });
        }))
    }
}

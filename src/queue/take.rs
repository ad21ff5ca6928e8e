//! Waiting for an item so that a caller who goes away loses nothing.

use super::{Claim, Handed, LeasedItem, QueueError, QueueItem, QueueKey, QueueStore};
use std::sync::Arc;
use tokio::runtime::Handle;

/// An item on its way to its receiver. Dropped without [`Taken::accept`] it returns to its place in the queue.
#[derive(Debug)]
pub struct Taken {
    item: Option<QueueItem>,
    store: Arc<dyn QueueStore>,
    key: QueueKey,
    runtime: Handle,
}

impl Taken {
    fn new(item: QueueItem, store: Arc<dyn QueueStore>, key: QueueKey) -> Self {
        Self { item: Some(item), store, key, runtime: Handle::current() }
    }

    /// The item's JSON text, while it is still undecided.
    #[must_use]
    pub fn body(&self) -> &str {
        self.item.as_ref().map_or("", |item| item.body.as_str())
    }

    /// The receiver has it: call this when the answer was handed to the connection.
    pub fn accept(mut self) -> Option<QueueItem> {
        self.item.take()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            let (store, key) = (Arc::clone(&self.store), self.key.clone());
            self.runtime.spawn(async move {
                if let Err(error) = store.put_back(&key, item).await {
                    tracing::error!(queue = %key.name, %error, "an undelivered item could not be put back");
                }
            });
        }
    }
}

/// Receives one item; with `wait`, as soon as there is one. May be cancelled at any point: the item is then put back.
pub async fn take(
    store: &Arc<dyn QueueStore>,
    key: &QueueKey,
    wait: bool,
) -> Result<Option<Taken>, QueueError> {
    if !wait {
        return take_now(store, key).await;
    }
    let mut turn = store.watch_for(key, Claim::Take);
    loop {
        if let Some(Handed::Item(item)) = turn.mine().await {
            return Ok(Some(Taken::new(item, Arc::clone(store), key.clone())));
        }
        if let Some(taken) = take_now(store, key).await? {
            return Ok(Some(taken));
        }
    }
}

/// The removal runs in a task of its own: a cancelled caller drops the answer, and with that puts the item back.
async fn take_now(store: &Arc<dyn QueueStore>, key: &QueueKey) -> Result<Option<Taken>, QueueError> {
    let (own_store, own_key) = (Arc::clone(store), key.clone());
    let task = tokio::spawn(async move {
        let item = own_store.receive(&own_key).await?;
        Ok(item.map(|item| Taken::new(item, own_store, own_key)))
    });
    task.await.unwrap_or_else(|error| Err(QueueError::storage("receive", key, error)))
}

/// Leased items on their way to their holder. Dropped undecided they are released.
struct Lent {
    items: Vec<LeasedItem>,
    store: Arc<dyn QueueStore>,
    key: QueueKey,
    runtime: Handle,
}

impl Drop for Lent {
    fn drop(&mut self) {
        for item in std::mem::take(&mut self.items) {
            let (store, key) = (Arc::clone(&self.store), self.key.clone());
            self.runtime.spawn(async move {
                // Where this fails the lease runs out by itself.
                let _ = store.release(&key, item.token).await;
            });
        }
    }
}

/// Leases up to `max` items as soon as there is one. May be cancelled at any point: the items are then released.
pub async fn lease_wait(
    store: &Arc<dyn QueueStore>,
    key: &QueueKey,
    holder: &str,
    lease_ms: u64,
    max: usize,
) -> Result<Vec<LeasedItem>, QueueError> {
    let mut turn = store.watch_for(key, Claim::Lease { holder: holder.to_owned(), lease_ms, max });
    loop {
        if let Some(Handed::Leased(items)) = turn.mine().await {
            return Ok(items);
        }
        let (own_store, own_key, runtime) = (Arc::clone(store), key.clone(), Handle::current());
        let own_holder = holder.to_owned();
        let task = tokio::spawn(async move {
            let items = own_store.lease_many(&own_key, &own_holder, lease_ms, max).await?;
            Ok(Lent { items, store: own_store, key: own_key, runtime })
        });
        let lent = task.await.unwrap_or_else(|error| Err(QueueError::storage("lease", key, error)));
        let items = std::mem::take(&mut lent?.items);
        if !items.is_empty() {
            return Ok(items);
        }
    }
}

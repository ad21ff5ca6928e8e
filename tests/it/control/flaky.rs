//! Queues whose store is away at times.

use async_trait::async_trait;
use meshagent::id::RoomId;
use meshagent::queue::{
    Claim, DeadPage, ItemId, LeaseToken, LeasedItem, MemoryQueues, NewItem, QueueError, QueueInfo, QueueItem,
    QueueKey, QueueStore, Sent, Turn,
};
use meshagent::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Queues in memory that fail to send as often as they are told.
#[derive(Debug)]
pub struct FlakyQueues {
    inner: Arc<MemoryQueues>,
    /// How many of the next sends fail.
    pub failing: AtomicU32,
}

impl FlakyQueues {
    pub fn new(inner: Arc<MemoryQueues>) -> Self {
        Self { inner, failing: AtomicU32::new(0) }
    }
}

#[async_trait]
impl QueueStore for FlakyQueues {
    async fn create(&self, key: &QueueKey) -> Result<(), QueueError> {
        self.inner.create(key).await
    }

    async fn exists(&self, key: &QueueKey) -> Result<bool, QueueError> {
        self.inner.exists(key).await
    }

    async fn list(&self, room: RoomId) -> Result<Vec<QueueInfo>, QueueError> {
        self.inner.list(room).await
    }

    async fn send_many(
        &self,
        key: &QueueKey,
        items: Vec<NewItem>,
        create: bool,
    ) -> Result<Vec<Sent>, QueueError> {
        let failing = |left: u32| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, failing).is_ok() {
            let (place, reason) = ("queues".to_owned(), "the test took it away".to_owned());
            return Err(StoreError::Unavailable { place, reason }.into());
        }
        self.inner.send_many(key, items, create).await
    }

    async fn receive_many(&self, key: &QueueKey, max: usize) -> Result<Vec<QueueItem>, QueueError> {
        self.inner.receive_many(key, max).await
    }

    async fn put_back(&self, key: &QueueKey, item: QueueItem) -> Result<(), QueueError> {
        self.inner.put_back(key, item).await
    }

    async fn lease_many(
        &self,
        key: &QueueKey,
        holder: &str,
        lease_ms: u64,
        max: usize,
    ) -> Result<Vec<LeasedItem>, QueueError> {
        self.inner.lease_many(key, holder, lease_ms, max).await
    }

    async fn ack_many(&self, key: &QueueKey, tokens: &[LeaseToken]) -> Result<(), QueueError> {
        self.inner.ack_many(key, tokens).await
    }

    async fn release(&self, key: &QueueKey, token: LeaseToken) -> Result<(), QueueError> {
        self.inner.release(key, token).await
    }

    async fn nack(
        &self,
        key: &QueueKey,
        token: LeaseToken,
        reason: &str,
        delay_ms: u64,
    ) -> Result<bool, QueueError> {
        self.inner.nack(key, token, reason, delay_ms).await
    }

    async fn extend(&self, key: &QueueKey, token: LeaseToken, lease_ms: u64) -> Result<(), QueueError> {
        self.inner.extend(key, token, lease_ms).await
    }

    async fn nack_holder(&self, room: RoomId, holder: &str, reason: &str) -> Result<u64, QueueError> {
        self.inner.nack_holder(room, holder, reason).await
    }

    async fn drain(&self, key: &QueueKey) -> Result<u64, QueueError> {
        self.inner.drain(key).await
    }

    async fn close(&self, key: &QueueKey) -> Result<(), QueueError> {
        self.inner.close(key).await
    }

    async fn dead_letters(&self, key: &QueueKey, after: i64, limit: usize) -> Result<DeadPage, QueueError> {
        self.inner.dead_letters(key, after, limit).await
    }

    async fn replay_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        self.inner.replay_dead(key, ids).await
    }

    async fn delete_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        self.inner.delete_dead(key, ids).await
    }

    async fn expire_leases(&self) -> Result<u64, QueueError> {
        self.inner.expire_leases().await
    }

    async fn delete_room(&self, room: RoomId) -> Result<(), QueueError> {
        self.inner.delete_room(room).await
    }

    fn watch(&self, key: &QueueKey) -> Turn {
        self.inner.watch(key)
    }

    fn watch_for(&self, key: &QueueKey, claim: Claim) -> Turn {
        self.inner.watch_for(key, claim)
    }
}

//! Queues in the server's SQLite database. Every change is a job of the one writer and shares its group commit.

mod handover;
mod items;
mod tables;

use super::alarm::Alarm;
use super::types::{check_batch, check_lease};
use super::{
    BATCH_MAX, Claim, DEAD_PAGE_MAX, DeadPage, ItemId, LeaseToken, LeasedItem, Limits, Line, NewItem,
    QueueError, QueueInfo, QueueItem, QueueKey, QueueStore, Sent, Turn,
};
use crate::clock::{Clock, IdSource};
use crate::id::RoomId;
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use rusqlite::Connection;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Items that one job removes; the writer must not be held up by a long queue.
const SWEEP_ITEMS: usize = 2_000;

/// Queues in SQLite.
pub struct SqliteQueues {
    database: Arc<Sqlite>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    line: Arc<Line>,
    alarm: Arc<Alarm>,
    own: Weak<Self>,
    /// The last place given out; this process is the only writer.
    last_place: Arc<AtomicI64>,
}

impl std::fmt::Debug for SqliteQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteQueues").finish_non_exhaustive()
    }
}

impl SqliteQueues {
    /// Opens the queues; leases that a former run left behind run out in their time.
    pub async fn open(
        database: Arc<Sqlite>,
        limits: Limits,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Result<Arc<Self>, QueueError> {
        let (last_place, next_end) = database.read::<_, QueueError, _>(items::resume).await?;
        let queues = Arc::new_cyclic(|own: &Weak<Self>| Self {
            database,
            limits,
            clock,
            ids,
            line: Arc::default(),
            alarm: Arc::new(Alarm::new(own.clone())),
            own: own.clone(),
            last_place: Arc::new(AtomicI64::new(last_place)),
        });
        queues.arm_at(next_end);
        Ok(queues)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    fn arm_at(&self, end_ms: Option<i64>) {
        if let Some(end_ms) = end_ms {
            self.alarm.arm(Duration::from_millis(u64::try_from(end_ms - self.now_ms()).unwrap_or(0)));
        }
    }

    /// Runs a change of an existing queue; afterwards calls as many waiters as `call` says.
    async fn change<T: Send + 'static>(
        &self,
        key: &QueueKey,
        job: impl FnOnce(&Connection, i64) -> Result<T, QueueError> + Send + 'static,
        call: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<T, QueueError> {
        let (own, line) = (key.clone(), Arc::clone(&self.line));
        let called = key.clone();
        let work = move |connection: &Connection| job(connection, tables::require(connection, &own)?);
        self.database
            .write_then(work, move |result| match call(result) {
                0 => {}
                count => line.call(&called, count),
            })
            .await
    }

    /// Removes what is in the queue now, in jobs of bounded length.
    async fn sweep(&self, key: &QueueKey, dead_too: bool) -> Result<u64, QueueError> {
        let upto = self.last_place.load(Ordering::SeqCst);
        let mut total = 0;
        loop {
            let job = move |c: &Connection, queue| items::sweep(c, queue, upto, dead_too, SWEEP_ITEMS);
            let removed = self.change(key, job, |_| 0).await?;
            total += removed as u64;
            if removed < SWEEP_ITEMS {
                return Ok(total);
            }
        }
    }
}

#[async_trait]
impl QueueStore for SqliteQueues {
    async fn create(&self, key: &QueueKey) -> Result<(), QueueError> {
        let (own, limits, now) = (key.clone(), self.limits, self.now_ms());
        self.database.write(move |c| tables::create(c, &own, &limits, now).map(drop)).await
    }

    async fn ensure(&self, key: &QueueKey) -> Result<bool, QueueError> {
        if self.exists(key).await? {
            return Ok(false);
        }
        match self.create(key).await {
            Err(QueueError::AlreadyExists { .. }) => Ok(false),
            other => other.map(|()| true),
        }
    }

    async fn exists(&self, key: &QueueKey) -> Result<bool, QueueError> {
        let own = key.clone();
        self.database.read(move |c| Ok(tables::find(c, &own)?.is_some())).await
    }

    async fn list(&self, room: RoomId) -> Result<Vec<QueueInfo>, QueueError> {
        self.database.read(move |c| tables::list(c, room)).await
    }

    async fn send_many(
        &self,
        key: &QueueKey,
        items: Vec<NewItem>,
        create: bool,
    ) -> Result<Vec<Sent>, QueueError> {
        self.limits.check_send(key, &items)?;
        let (own, limits, now) = (key.clone(), self.limits, self.now_ms());
        let (ids, places) = (Arc::clone(&self.ids), Arc::clone(&self.last_place));
        let (line, called) = (Arc::clone(&self.line), key.clone());
        let handover = self.handover();
        let alarm = Arc::clone(&self.alarm);
        let job = move |c: &Connection| {
            let queue = match tables::find(c, &own)? {
                Some(queue) => queue,
                None if create => tables::create(c, &own, &limits, now)?,
                None => return Err(QueueError::NotFound { queue: own.name }),
            };
            let next = || places.fetch_add(1, Ordering::SeqCst) + 1;
            let sent = items::send(c, &own, queue, items, &limits, now, &*ids, next)?;
            let stored = sent.iter().filter(|one| matches!(one, Sent::Stored(_))).count();
            let handed = handover.take(c, &own, queue, stored)?;
            Ok((sent, handed))
        };
        let committed = move |(sent, handed): &(Vec<Sent>, handover::Handed)| {
            handed.deliver(&alarm);
            line.call(&called, sent.len() - handed.len());
        };
        self.database.write_then(job, committed).await.map(|(sent, _)| sent)
    }

    async fn receive_many(&self, key: &QueueKey, max: usize) -> Result<Vec<QueueItem>, QueueError> {
        let max = max.min(BATCH_MAX);
        self.change(key, move |c, queue| items::receive(c, queue, max), |_| 0).await
    }

    async fn put_back(&self, key: &QueueKey, item: QueueItem) -> Result<(), QueueError> {
        self.change(key, move |c, queue| items::put_back(c, queue, &item), |()| 1).await
    }

    async fn lease_many(
        &self,
        key: &QueueKey,
        holder: &str,
        lease_ms: u64,
        max: usize,
    ) -> Result<Vec<LeasedItem>, QueueError> {
        let until = self.clock.now() + check_lease(key, lease_ms)?;
        let (holder, nonce, max) = (holder.to_owned(), self.ids.fresh(), max.min(BATCH_MAX));
        let job = move |c: &Connection, queue| items::lease(c, queue, &holder, nonce, until, max);
        let leased = self.change(key, job, |_| 0).await?;
        if !leased.is_empty() {
            self.alarm.arm(Duration::from_millis(lease_ms));
        }
        Ok(leased)
    }

    async fn ack_many(&self, key: &QueueKey, tokens: &[LeaseToken]) -> Result<(), QueueError> {
        check_batch(key, tokens.len())?;
        let (own, tokens) = (key.clone(), tokens.to_vec());
        self.change(key, move |c, queue| items::ack(c, &own, queue, &tokens), |()| 0).await
    }

    async fn release(&self, key: &QueueKey, token: LeaseToken) -> Result<(), QueueError> {
        let own = key.clone();
        self.change(key, move |c, queue| items::release(c, &own, queue, token), |()| 1).await
    }

    async fn nack(
        &self,
        key: &QueueKey,
        token: LeaseToken,
        reason: &str,
        delay_ms: u64,
    ) -> Result<bool, QueueError> {
        let delay_ms = delay_ms.min(*super::LEASE_MS.end());
        let (own, reason, limits, now) = (key.clone(), reason.to_owned(), self.limits, self.now_ms());
        let job = move |c: &Connection, queue| {
            let attempt = items::leased_attempt(c, &own, queue, token)?;
            let failure = items::Failure { place: token.place, attempt, reason: &reason, delay_ms };
            items::fail(c, queue, failure, limits.attempts, now)
        };
        let dead = self.change(key, job, move |dead| usize::from(!dead && delay_ms == 0)).await?;
        if !dead && delay_ms > 0 {
            self.alarm.arm(Duration::from_millis(delay_ms));
        }
        Ok(dead)
    }

    async fn extend(&self, key: &QueueKey, token: LeaseToken, lease_ms: u64) -> Result<(), QueueError> {
        let until = (self.clock.now() + check_lease(key, lease_ms)?).timestamp_millis();
        let own = key.clone();
        self.change(key, move |c, queue| items::extend(c, &own, queue, token, until), |()| 0).await?;
        self.alarm.arm(Duration::from_millis(lease_ms));
        Ok(())
    }

    async fn nack_holder(&self, room: RoomId, holder: &str, reason: &str) -> Result<u64, QueueError> {
        let (holder, reason, limits, now) =
            (holder.to_owned(), reason.to_owned(), self.limits, self.now_ms());
        let line = Arc::clone(&self.line);
        let job = move |c: &Connection| items::fail_holder(c, room, &holder, &reason, &limits, now);
        self.database.write_then(job, move |_| line.call_room(room)).await
    }

    async fn drain(&self, key: &QueueKey) -> Result<u64, QueueError> {
        self.sweep(key, false).await
    }

    async fn close(&self, key: &QueueKey) -> Result<(), QueueError> {
        self.sweep(key, true).await?;
        self.change(key, tables::delete, |()| usize::MAX).await
    }

    async fn dead_letters(&self, key: &QueueKey, after: i64, limit: usize) -> Result<DeadPage, QueueError> {
        let (own, limit) = (key.clone(), limit.clamp(1, DEAD_PAGE_MAX));
        let job = move |c: &Connection| items::dead_letters(c, tables::require(c, &own)?, after, limit);
        self.database.read(job).await
    }

    async fn replay_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        check_batch(key, ids.len())?;
        let ids = ids.to_vec();
        let count =
            self.change(key, move |c, queue| items::replay_dead(c, queue, &ids), |count| *count).await?;
        Ok(count as u64)
    }

    async fn delete_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        check_batch(key, ids.len())?;
        let ids = ids.to_vec();
        let count = self.change(key, move |c, queue| items::delete_dead(c, queue, &ids), |_| 0).await?;
        Ok(count as u64)
    }

    async fn expire_leases(&self) -> Result<u64, QueueError> {
        let (limits, now, line) = (self.limits, self.now_ms(), Arc::clone(&self.line));
        let job = move |c: &Connection| items::expire(c, &limits, now);
        let wake =
            move |expired: &items::Expired| expired.keys.iter().for_each(|(key, n)| line.call(key, *n));
        let expired = self.database.write_then(job, wake).await?;
        self.arm_at(expired.next_end);
        Ok(expired.keys.iter().map(|(_, count)| *count as u64).sum())
    }

    async fn delete_room(&self, room: RoomId) -> Result<(), QueueError> {
        for queue in self.list(room).await? {
            match self.close(&QueueKey::new(room, queue.name)).await {
                Ok(()) | Err(QueueError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn watch(&self, key: &QueueKey) -> Turn {
        self.line.join(key)
    }

    fn watch_for(&self, key: &QueueKey, claim: Claim) -> Turn {
        self.line.join_with(key, self.give_back(key).map(|give_back| (claim, give_back)))
    }
}

//! Queues in Postgres, for several servers on one database. Consumers pass over rows that others are taking
//! (`SKIP LOCKED`); time is the database's; waiting consumers on other servers are woken by `NOTIFY`.
//!
//! Items of senders that run at the same moment may change places with each other, never those of one sender.

mod send;
mod sql;
mod wake;

use super::alarm::Alarm;
use super::types::{check_batch, check_lease};
use super::{
    BATCH_MAX, DEAD_PAGE_MAX, DeadPage, ItemId, LeaseToken, LeasedItem, Limits, Line, NewItem, QueueError,
    QueueInfo, QueueItem, QueueKey, QueueStore, Sent, Turn,
};
use crate::clock::IdSource;
use crate::id::{ProjectId, RoomId};
use crate::name::QueueName;
use crate::store::postgres::Postgres;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use wake::Teller;

type Param<'a> = &'a (dyn ToSql + Sync);

/// Queues in Postgres.
pub struct PostgresQueues {
    store: Arc<Postgres>,
    limits: Limits,
    ids: Arc<dyn IdSource>,
    line: Arc<Line>,
    alarm: Alarm,
    teller: Arc<Teller>,
    /// Items that may still be sent before the queue is counted again.
    allowances: Mutex<HashMap<QueueKey, u64>>,
    tasks: [AbortHandle; 2],
}

impl std::fmt::Debug for PostgresQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresQueues").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Drop for PostgresQueues {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn millis(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64() * 1000.0
}

impl PostgresQueues {
    /// Opens the queues of this database.
    pub async fn open(
        store: Arc<Postgres>,
        limits: Limits,
        ids: Arc<dyn IdSource>,
    ) -> Result<Arc<Self>, QueueError> {
        let (own, notices) = (ids.fresh(), store.notices());
        let queues = Arc::new_cyclic(|weak: &std::sync::Weak<Self>| {
            let (line, teller) = (Arc::<Line>::default(), Arc::new(Teller::new(own)));
            let alarm = Alarm::new(weak.clone());
            let listen = wake::listen(own, notices, Arc::clone(&line));
            let tell = Arc::clone(&teller).run(Arc::clone(&store));
            let tasks = [tokio::spawn(listen).abort_handle(), tokio::spawn(tell).abort_handle()];
            Self { store, limits, ids, line, alarm, teller, allowances: Mutex::default(), tasks }
        });
        queues.arm_next().await?;
        Ok(queues)
    }

    async fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, QueueError> {
        let client = self.store.client().await?;
        let failed = |error| QueueError::from(self.store.error(&error));
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        client.query(&statement, params).await.map_err(failed)
    }

    /// Runs a statement on one queue: its rows.
    async fn on(&self, key: &QueueKey, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, QueueError> {
        let (project, room, name) = (key.room.project().uuid(), key.room.uuid(), key.name.as_str());
        let mut all: Vec<Param<'_>> = vec![&project, &room, &name];
        all.extend_from_slice(params);
        self.rows(sql, &all).await
    }

    /// Runs a statement on one queue: how many rows it changed.
    async fn change(&self, key: &QueueKey, sql: &str, params: &[Param<'_>]) -> Result<u64, QueueError> {
        let (project, room, name) = (key.room.project().uuid(), key.room.uuid(), key.name.as_str());
        let mut all: Vec<Param<'_>> = vec![&project, &room, &name];
        all.extend_from_slice(params);
        let client = self.store.client().await?;
        let failed = |error| QueueError::from(self.store.error(&error));
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        client.execute(&statement, &all).await.map_err(failed)
    }

    /// A statement that touched nothing may have had no queue to work on.
    async fn require(&self, key: &QueueKey) -> Result<(), QueueError> {
        if self.exists(key).await? { Ok(()) } else { Err(QueueError::NotFound { queue: key.name.clone() }) }
    }

    async fn lost(&self, key: &QueueKey, token: LeaseToken) -> QueueError {
        let lost = QueueError::LeaseLost { queue: key.name.clone(), token };
        self.require(key).await.err().unwrap_or(lost)
    }

    fn wake(&self, key: &QueueKey, items: usize) {
        if items > 0 {
            self.line.call(key, items);
            self.teller.items(key, items);
        }
    }

    fn arm(&self, after_ms: u64) {
        self.alarm.arm(Duration::from_millis(after_ms));
    }

    async fn arm_next(&self) -> Result<(), QueueError> {
        let rows = self.rows(sql::NEXT_END, &[]).await?;
        self.arm_from(rows.first(), 0);
        Ok(())
    }

    /// Arms for the milliseconds in this column.
    fn arm_from(&self, row: Option<&Row>, index: usize) {
        if let Some(ms) = row.and_then(|row| row.get::<_, Option<i64>>(index)) {
            self.arm(u64::try_from(ms).unwrap_or(0));
        }
    }

    /// There was nothing to take: because there is no queue, or until a lease ends, which may be one of another
    /// server that will not see to it.
    async fn nothing(&self, key: &QueueKey) -> Result<(), QueueError> {
        let rows = self.on(key, sql::NOTHING, &[]).await?;
        if rows.first().and_then(|row| row.get::<_, Option<i64>>(0)).is_none() {
            return Err(QueueError::NotFound { queue: key.name.clone() });
        }
        self.arm_from(rows.first(), 1);
        Ok(())
    }
}

#[async_trait]
impl QueueStore for PostgresQueues {
    async fn create(&self, key: &QueueKey) -> Result<(), QueueError> {
        let limit = i64::try_from(self.limits.queues_per_room).unwrap_or(i64::MAX);
        if self.change(key, sql::CREATE, &[&limit]).await? == 1 {
            return Ok(());
        }
        let queue = key.name.clone();
        Err(if self.exists(key).await? {
            QueueError::AlreadyExists { queue }
        } else {
            QueueError::TooManyQueues { queue, limit: self.limits.queues_per_room }
        })
    }

    async fn exists(&self, key: &QueueKey) -> Result<bool, QueueError> {
        let rows = self.on(key, sql::EXISTS, &[]).await?;
        Ok(rows.first().is_some_and(|row| row.get::<_, Option<i64>>(0).is_some()))
    }

    async fn list(&self, room: RoomId) -> Result<Vec<QueueInfo>, QueueError> {
        let rows = self.rows(sql::LIST, &[&room.project().uuid(), &room.uuid()]).await?;
        let info = |row: &Row| {
            let name = QueueName::new(row.get::<_, String>(0)).ok()?;
            let (size, leased, dead) = (sql::count(row, 1), sql::count(row, 2), sql::count(row, 3));
            Some(QueueInfo { name, size, leased, dead })
        };
        Ok(rows.iter().filter_map(info).collect())
    }

    async fn send_many(
        &self,
        key: &QueueKey,
        items: Vec<NewItem>,
        create: bool,
    ) -> Result<Vec<Sent>, QueueError> {
        self.limits.check_send(key, &items)?;
        let sent = self.send_items(key, items, create).await?;
        self.wake(key, sent.len());
        Ok(sent)
    }

    async fn receive_many(&self, key: &QueueKey, max: usize) -> Result<Vec<QueueItem>, QueueError> {
        let rows = self.on(key, sql::RECEIVE, &[&number(max.min(BATCH_MAX))]).await?;
        if rows.is_empty() {
            self.nothing(key).await?;
        }
        let mut items: Vec<_> = rows.iter().map(sql::item).collect();
        items.sort_by_key(|item| item.place);
        Ok(items)
    }

    async fn put_back(&self, key: &QueueKey, item: QueueItem) -> Result<(), QueueError> {
        let attempt = i32::try_from(item.attempt).unwrap_or(i32::MAX);
        let params: [Param<'_>; 4] = [&item.place, &item.id.0, &attempt, &item.body];
        if self.change(key, sql::PUT_BACK, &params).await? == 0 {
            return Err(QueueError::NotFound { queue: key.name.clone() });
        }
        self.wake(key, 1);
        Ok(())
    }

    async fn lease_many(
        &self,
        key: &QueueKey,
        holder: &str,
        lease_ms: u64,
        max: usize,
    ) -> Result<Vec<LeasedItem>, QueueError> {
        check_lease(key, lease_ms)?;
        let nonce = self.ids.fresh();
        let params: [Param<'_>; 4] = [&number(max.min(BATCH_MAX)), &holder, &nonce, &millis(lease_ms)];
        let rows = self.on(key, sql::LEASE, &params).await?;
        if rows.is_empty() {
            self.nothing(key).await?;
            return Ok(Vec::new());
        }
        self.arm(lease_ms);
        let mut items: Vec<_> = rows.iter().map(|row| sql::leased(row, nonce)).collect();
        items.sort_by_key(|item| item.token.place);
        Ok(items)
    }

    async fn ack_many(&self, key: &QueueKey, tokens: &[LeaseToken]) -> Result<(), QueueError> {
        check_batch(key, tokens.len())?;
        match self.ack_all(key, tokens).await? {
            None => Ok(()),
            Some(token) => Err(self.lost(key, token).await),
        }
    }

    async fn release(&self, key: &QueueKey, token: LeaseToken) -> Result<(), QueueError> {
        if self.change(key, sql::RELEASE, &[&token.place, &token.nonce]).await? == 0 {
            return Err(self.lost(key, token).await);
        }
        self.wake(key, 1);
        Ok(())
    }

    async fn nack(
        &self,
        key: &QueueKey,
        token: LeaseToken,
        reason: &str,
        delay_ms: u64,
    ) -> Result<bool, QueueError> {
        let delay_ms = delay_ms.min(*super::LEASE_MS.end());
        let attempts = i32::try_from(self.limits.attempts).unwrap_or(i32::MAX);
        let params: [Param<'_>; 5] = [&token.place, &token.nonce, &attempts, &reason, &millis(delay_ms)];
        let rows = self.on(key, sql::NACK, &params).await?;
        let Some(row) = rows.first() else { return Err(self.lost(key, token).await) };
        match row.get::<_, i16>(0) {
            0 => self.wake(key, 1),
            2 => self.arm(delay_ms),
            _ => return Ok(true),
        }
        Ok(false)
    }

    async fn extend(&self, key: &QueueKey, token: LeaseToken, lease_ms: u64) -> Result<(), QueueError> {
        check_lease(key, lease_ms)?;
        let params: [Param<'_>; 3] = [&token.place, &token.nonce, &millis(lease_ms)];
        if self.change(key, sql::EXTEND, &params).await? == 0 {
            return Err(self.lost(key, token).await);
        }
        self.arm(lease_ms);
        Ok(())
    }

    async fn nack_holder(&self, room: RoomId, holder: &str, reason: &str) -> Result<u64, QueueError> {
        let attempts = i32::try_from(self.limits.losses).unwrap_or(i32::MAX);
        let (project, room_id) = (room.project().uuid(), room.uuid());
        let params: [Param<'_>; 5] = [&project, &room_id, &holder, &attempts, &reason];
        let rows = self.rows(sql::NACK_HOLDER, &params).await?;
        for row in &rows {
            if let Ok(name) = QueueName::new(row.get::<_, String>(0)) {
                self.wake(&QueueKey::new(room, name), 1);
            }
        }
        Ok(rows.len() as u64)
    }

    async fn drain(&self, key: &QueueKey) -> Result<u64, QueueError> {
        let removed = self.change(key, sql::DRAIN, &[]).await?;
        if removed == 0 {
            self.require(key).await?;
        }
        Ok(removed)
    }

    async fn close(&self, key: &QueueKey) -> Result<(), QueueError> {
        self.delete_queue(key).await?;
        self.wake(key, usize::MAX);
        Ok(())
    }

    async fn dead_letters(&self, key: &QueueKey, after: i64, limit: usize) -> Result<DeadPage, QueueError> {
        let limit = limit.clamp(1, DEAD_PAGE_MAX);
        let rows = self.on(key, sql::DEAD_LETTERS, &[&after, &number(limit + 1)]).await?;
        if rows.is_empty() {
            self.require(key).await?;
        }
        let mut dead: Vec<_> = rows.iter().map(sql::dead).collect();
        let more = dead.len() > limit;
        dead.truncate(limit);
        let next = dead.last().map(|(place, _)| *place).filter(|_| more);
        Ok(DeadPage { items: dead.into_iter().map(|(_, item)| item).collect(), next })
    }

    async fn replay_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        let count = self.change_dead(key, sql::REPLAY_DEAD, ids).await?;
        self.wake(key, usize::try_from(count).unwrap_or(usize::MAX));
        Ok(count)
    }

    async fn delete_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        self.change_dead(key, sql::DELETE_DEAD, ids).await
    }

    async fn expire_leases(&self) -> Result<u64, QueueError> {
        let attempts = i32::try_from(self.limits.losses).unwrap_or(i32::MAX);
        let rows = self.rows(sql::EXPIRE, &[&attempts, &number(BATCH_MAX)]).await?;
        let mut total = 0;
        for row in &rows {
            let room = RoomId::new(ProjectId::new(row.get(0)), row.get(1));
            let count = sql::count(row, 3);
            total += count;
            if let Ok(name) = QueueName::new(row.get::<_, String>(2)) {
                self.wake(&QueueKey::new(room, name), usize::try_from(count).unwrap_or(usize::MAX));
            }
        }
        self.arm_next().await?;
        Ok(total)
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
}

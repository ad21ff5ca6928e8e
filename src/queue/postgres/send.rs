//! What takes more than one statement: sending within the bounds, acknowledging all or none, deleting a queue.

use super::{Param, PostgresQueues, sql};
use crate::queue::types::{SEEN_KEEP, check_batch};
use crate::queue::{ItemId, LeaseToken, NewItem, QueueError, QueueKey, QueueStore as _, Sent};
use std::collections::HashSet;
use std::sync::PoisonError;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Part of the free places that one server may fill before it counts again, so that several do not overfill a queue.
const ALLOWANCE_PART: u64 = 8;
/// Remembered ids that one send forgets when their time is over.
const FORGET_MAX: i64 = 16;
/// A queue may be closed between its making and the send; how often that is tried again.
const CREATE_TRIES: u32 = 3;

/// Project, room and name, as every statement begins.
struct Place<'a>(Uuid, Uuid, &'a str);

impl<'a> Place<'a> {
    fn of(key: &'a QueueKey) -> Self {
        Self(key.room.project().uuid(), key.room.uuid(), key.name.as_str())
    }

    fn with<'b>(&'b self, more: &[Param<'b>]) -> Vec<Param<'b>> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.0, &self.1, &self.2];
        all.extend_from_slice(more);
        all
    }
}

impl PostgresQueues {
    pub(super) async fn send_items(
        &self,
        key: &QueueKey,
        items: Vec<NewItem>,
        create: bool,
    ) -> Result<Vec<Sent>, QueueError> {
        let mut tries = 0;
        loop {
            if self.allow(key, items.len() as u64).await? {
                let (sent, found) = self.insert(key, &items).await?;
                if found {
                    return Ok(sent);
                }
            }
            tries += 1;
            if !create || tries > CREATE_TRIES {
                return Err(QueueError::NotFound { queue: key.name.clone() });
            }
            self.ensure(key).await?;
        }
    }

    /// Takes `count` places of the queue's free ones. False when there is no such queue.
    async fn allow(&self, key: &QueueKey, count: u64) -> Result<bool, QueueError> {
        let take = |allowance: &mut u64| allowance.checked_sub(count).map(|left| *allowance = left).is_some();
        let known =
            self.allowances.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key).is_some_and(take);
        if known {
            return Ok(true);
        }
        if !self.exists(key).await? {
            self.allowances.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            return Ok(false);
        }
        let limit = self.limits.items_per_queue;
        let rows = self.on(key, sql::COUNT, &[&i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        let free = limit.saturating_sub(rows.first().map_or(0, |row| sql::count(row, 0)));
        if free < count {
            return Err(self.limits.full(key));
        }
        let left = (free / ALLOWANCE_PART).saturating_sub(count);
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), left);
        Ok(true)
    }

    /// Stores the items in one transaction; false when there is no such queue.
    async fn insert(&self, key: &QueueKey, items: &[NewItem]) -> Result<(Vec<Sent>, bool), QueueError> {
        if items.is_empty() {
            return Ok((Vec::new(), self.exists(key).await?));
        }
        let inserted = self.insert_in_transaction(key, items).await?;
        inserted.map_err(|error| self.store.error(&error).into())
    }

    async fn insert_in_transaction(
        &self,
        key: &QueueKey,
        items: &[NewItem],
    ) -> Result<Result<(Vec<Sent>, bool), Error>, QueueError> {
        let mut client = self.store.client().await?;
        let chosen: Vec<Uuid> = items.iter().filter_map(|item| item.id.map(|id| id.0)).collect();
        let work = async {
            if chosen.is_empty() {
                let (sent, ids, bodies) = self.outcome(items, &mut HashSet::new());
                let statement = client.prepare_cached(sql::SEND).await?;
                let stored = client.execute(&statement, &Place::of(key).with(&[&ids, &bodies])).await?;
                return Ok((sent, stored > 0));
            }
            let transaction = client.transaction().await?;
            let days = i32::try_from(SEEN_KEEP.num_days()).unwrap_or(i32::MAX);
            transaction.execute(sql::FORGET, &[&days, &FORGET_MAX]).await?;
            let new = transaction.query(sql::REMEMBER, &Place::of(key).with(&[&chosen])).await?;
            let mut new: HashSet<Uuid> = new.iter().map(|row| row.get(0)).collect();
            let (sent, ids, bodies) = self.outcome(items, &mut new);
            let mut found = true;
            if ids.is_empty() {
                found = transaction
                    .query_one(sql::EXISTS, &Place::of(key).with(&[]))
                    .await?
                    .get::<_, Option<i64>>(0)
                    .is_some();
            } else {
                let stored = transaction.execute(sql::SEND, &Place::of(key).with(&[&ids, &bodies])).await?;
                found &= stored > 0;
            }
            transaction.commit().await?;
            Ok((sent, found))
        };
        Ok(work.await)
    }

    /// What the send answers for each item, and the ids and bodies to store. `new` holds the chosen ids that nobody
    /// sent before.
    fn outcome<'a>(
        &self,
        items: &'a [NewItem],
        new: &mut HashSet<Uuid>,
    ) -> (Vec<Sent>, Vec<Uuid>, Vec<&'a str>) {
        let (mut sent, mut ids, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            if let Some(id) = item.id.filter(|id| !new.remove(&id.0)) {
                sent.push(Sent::Duplicate(id));
                continue;
            }
            let id = item.id.unwrap_or_else(|| ItemId(self.ids.fresh()));
            sent.push(Sent::Stored(id));
            ids.push(id.0);
            bodies.push(item.body.as_str());
        }
        (sent, ids, bodies)
    }

    /// Removes what was done, all or none; the first token whose lease is over.
    pub(super) async fn ack_all(
        &self,
        key: &QueueKey,
        tokens: &[LeaseToken],
    ) -> Result<Option<LeaseToken>, QueueError> {
        let (places, nonces): (Vec<i64>, Vec<Uuid>) =
            tokens.iter().map(|token| (token.place, token.nonce)).unzip();
        if let [one] = tokens {
            let gone = self.on(key, sql::ACK, &[&places, &nonces]).await?;
            return Ok(gone.is_empty().then_some(*one));
        }
        let mut client = self.store.client().await?;
        let work = async {
            let transaction = client.transaction().await?;
            let statement = transaction.prepare_cached(sql::ACK).await?;
            let gone = transaction.query(&statement, &Place::of(key).with(&[&places, &nonces])).await?;
            let gone: HashSet<i64> = gone.iter().map(|row| row.get(0)).collect();
            let lost = tokens.iter().find(|token| !gone.contains(&token.place));
            match lost {
                Some(_) => transaction.rollback().await?,
                None => transaction.commit().await?,
            }
            Ok::<_, Error>(lost.copied())
        };
        work.await.map_err(|error| self.store.error(&error).into())
    }

    pub(super) async fn delete_queue(&self, key: &QueueKey) -> Result<(), QueueError> {
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        let mut client = self.store.client().await?;
        let work = async {
            let transaction = client.transaction().await?;
            // Waits for sends that are under way, and keeps later ones out.
            let deleted = transaction.query(sql::DELETE_QUEUE, &Place::of(key).with(&[])).await?;
            for row in &deleted {
                let queue: i64 = row.get(0);
                for content in sql::DELETE_CONTENT {
                    transaction.execute(content, &[&queue]).await?;
                }
            }
            transaction.commit().await?;
            Ok::<_, Error>(!deleted.is_empty())
        };
        if work.await.map_err(|error| QueueError::from(self.store.error(&error)))? {
            Ok(())
        } else {
            Err(QueueError::NotFound { queue: key.name.clone() })
        }
    }

    pub(super) async fn change_dead(
        &self,
        key: &QueueKey,
        sql: &str,
        ids: &[ItemId],
    ) -> Result<u64, QueueError> {
        check_batch(key, ids.len())?;
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let count = self.change(key, sql, &[&ids]).await?;
        if count == 0 {
            self.require(key).await?;
        }
        Ok(count)
    }
}

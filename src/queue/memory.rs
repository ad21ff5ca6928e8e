//! Queues in memory: for tests, and the plainest statement of what the port means.

use super::alarm::Alarm;
use super::types::{SEEN_KEEP, check_batch, check_lease};
use super::{
    BATCH_MAX, DEAD_PAGE_MAX, DeadItem, DeadPage, ItemId, LeaseToken, LeasedItem, Limits, Line, NewItem,
    QueueError, QueueInfo, QueueItem, QueueKey, QueueStore, Sent, Turn,
};
use crate::clock::{Clock, IdSource};
use crate::id::RoomId;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Queues that end with the process.
pub struct MemoryQueues {
    queues: Mutex<BTreeMap<QueueKey, Queue>>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    line: Arc<Line>,
    alarm: Alarm,
}

impl std::fmt::Debug for MemoryQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryQueues").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    items: BTreeMap<i64, Item>,
    ready: BTreeSet<i64>,
    last_place: i64,
    seen: HashMap<ItemId, DateTime<Utc>>,
}

struct Item {
    id: ItemId,
    body: String,
    attempt: u32,
    state: State,
}

enum State {
    Ready,
    Leased { holder: String, nonce: Uuid, until: DateTime<Utc> },
    Delayed { until: DateTime<Utc> },
    Dead { reason: String, at: DateTime<Utc> },
}

impl Queue {
    fn make_ready(&mut self, place: i64) {
        if let Some(item) = self.items.get_mut(&place) {
            item.state = State::Ready;
            self.ready.insert(place);
        }
    }

    fn leased(&mut self, token: LeaseToken) -> Option<&mut Item> {
        self.items
            .get_mut(&token.place)
            .filter(|item| matches!(&item.state, State::Leased { nonce, .. } if *nonce == token.nonce))
    }

    /// Ends an attempt that failed: back to its place, or dead. True when dead.
    fn fail(&mut self, place: i64, attempts: u32, reason: String, now: DateTime<Utc>, delay_ms: u64) -> bool {
        let Some(item) = self.items.get_mut(&place) else { return false };
        if item.attempt >= attempts {
            item.state = State::Dead { reason, at: now };
            return true;
        }
        let delay = i64::try_from(delay_ms).unwrap_or(i64::MAX / 4);
        match chrono::Duration::try_milliseconds(delay) {
            Some(delay) if delay_ms > 0 => item.state = State::Delayed { until: now + delay },
            _ => self.make_ready(place),
        }
        false
    }

    fn places_dead(&self, ids: &[ItemId]) -> Vec<i64> {
        let chosen = |item: &Item| ids.is_empty() || ids.contains(&item.id);
        let dead = |item: &Item| matches!(item.state, State::Dead { .. });
        self.items.iter().filter(|(_, item)| dead(item) && chosen(item)).map(|(place, _)| *place).collect()
    }
}

impl MemoryQueues {
    pub fn new(limits: Limits, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Arc<Self> {
        Arc::new_cyclic(|own: &std::sync::Weak<Self>| Self {
            queues: Mutex::default(),
            limits,
            clock,
            ids,
            line: Arc::default(),
            alarm: Alarm::new(own.clone()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueueKey, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        key: &QueueKey,
        f: impl FnOnce(&mut Queue) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        match self.lock().get_mut(key) {
            Some(queue) => f(queue),
            None => Err(QueueError::NotFound { queue: key.name.clone() }),
        }
    }

    fn make(&self, queues: &mut BTreeMap<QueueKey, Queue>, key: &QueueKey) -> Result<(), QueueError> {
        let count = queues.keys().filter(|other| other.room == key.room).count() as u64;
        if count >= self.limits.queues_per_room {
            return Err(QueueError::TooManyQueues {
                queue: key.name.clone(),
                limit: self.limits.queues_per_room,
            });
        }
        queues.insert(key.clone(), Queue::default());
        Ok(())
    }

    fn arm(&self, until: DateTime<Utc>) {
        self.alarm.arm((until - self.clock.now()).to_std().unwrap_or_default());
    }
}

fn lost(key: &QueueKey, token: LeaseToken) -> QueueError {
    QueueError::LeaseLost { queue: key.name.clone(), token }
}

#[async_trait]
impl QueueStore for MemoryQueues {
    async fn create(&self, key: &QueueKey) -> Result<(), QueueError> {
        let mut queues = self.lock();
        if queues.contains_key(key) {
            return Err(QueueError::AlreadyExists { queue: key.name.clone() });
        }
        self.make(&mut queues, key)
    }

    async fn exists(&self, key: &QueueKey) -> Result<bool, QueueError> {
        Ok(self.lock().contains_key(key))
    }

    async fn list(&self, room: RoomId) -> Result<Vec<QueueInfo>, QueueError> {
        let info = |(key, queue): (&QueueKey, &Queue)| {
            let dead = queue.places_dead(&[]).len() as u64;
            let size = queue.ready.len() as u64;
            QueueInfo { name: key.name.clone(), size, leased: queue.items.len() as u64 - size - dead, dead }
        };
        Ok(self.lock().iter().filter(|(key, _)| key.room == room).map(info).collect())
    }

    async fn send_many(
        &self,
        key: &QueueKey,
        items: Vec<NewItem>,
        create: bool,
    ) -> Result<Vec<Sent>, QueueError> {
        self.limits.check_send(key, &items)?;
        let now = self.clock.now();
        let mut queues = self.lock();
        if create && !queues.contains_key(key) {
            self.make(&mut queues, key)?;
        }
        let missing = || QueueError::NotFound { queue: key.name.clone() };
        let queue = queues.get_mut(key).ok_or_else(missing)?;
        queue.seen.retain(|_, at| now - *at < SEEN_KEEP);
        if queue.items.len() as u64 + items.len() as u64 > self.limits.items_per_queue {
            return Err(self.limits.full(key));
        }
        let mut sent = Vec::with_capacity(items.len());
        for item in items {
            if let Some(id) = item.id
                && queue.seen.insert(id, now).is_some()
            {
                sent.push(Sent::Duplicate(id));
                continue;
            }
            let id = item.id.unwrap_or_else(|| ItemId(self.ids.fresh()));
            queue.last_place += 1;
            let place = queue.last_place;
            queue.items.insert(place, Item { id, body: item.body, attempt: 0, state: State::Ready });
            queue.ready.insert(place);
            sent.push(Sent::Stored(id));
        }
        drop(queues);
        self.line.call(key, sent.len());
        Ok(sent)
    }

    async fn receive_many(&self, key: &QueueKey, max: usize) -> Result<Vec<QueueItem>, QueueError> {
        self.with(key, |queue| {
            let mut received = Vec::new();
            while let Some(place) =
                queue.ready.first().copied().filter(|_| received.len() < max.min(BATCH_MAX))
            {
                queue.ready.remove(&place);
                if let Some(Item { id, body, attempt, .. }) = queue.items.remove(&place) {
                    received.push(QueueItem { id, place, body, attempt });
                }
            }
            Ok(received)
        })
    }

    async fn put_back(&self, key: &QueueKey, item: QueueItem) -> Result<(), QueueError> {
        self.with(key, |queue| {
            let QueueItem { id, place, body, attempt } = item;
            queue.items.insert(place, Item { id, body, attempt, state: State::Ready });
            queue.ready.insert(place);
            Ok(())
        })?;
        self.line.call(key, 1);
        Ok(())
    }

    async fn lease_many(
        &self,
        key: &QueueKey,
        holder: &str,
        lease_ms: u64,
        max: usize,
    ) -> Result<Vec<LeasedItem>, QueueError> {
        let until = self.clock.now() + check_lease(key, lease_ms)?;
        let leased = self.with(key, |queue| {
            let places: Vec<i64> = queue.ready.iter().copied().take(max.min(BATCH_MAX)).collect();
            let mut leased = Vec::with_capacity(places.len());
            for place in places {
                queue.ready.remove(&place);
                let Some(item) = queue.items.get_mut(&place) else { continue };
                let nonce = self.ids.fresh();
                item.attempt += 1;
                item.state = State::Leased { holder: holder.to_owned(), nonce, until };
                let token = LeaseToken { place, nonce };
                leased.push(LeasedItem {
                    id: item.id,
                    body: item.body.clone(),
                    attempt: item.attempt,
                    token,
                    until,
                });
            }
            Ok(leased)
        })?;
        if !leased.is_empty() {
            self.arm(until);
        }
        Ok(leased)
    }

    async fn ack_many(&self, key: &QueueKey, tokens: &[LeaseToken]) -> Result<(), QueueError> {
        check_batch(key, tokens.len())?;
        self.with(key, |queue| {
            if let Some(token) = tokens.iter().find(|token| queue.leased(**token).is_none()) {
                return Err(lost(key, *token));
            }
            for token in tokens {
                queue.items.remove(&token.place);
            }
            Ok(())
        })
    }

    async fn release(&self, key: &QueueKey, token: LeaseToken) -> Result<(), QueueError> {
        self.with(key, |queue| {
            let item = queue.leased(token).ok_or_else(|| lost(key, token))?;
            item.attempt = item.attempt.saturating_sub(1);
            queue.make_ready(token.place);
            Ok(())
        })?;
        self.line.call(key, 1);
        Ok(())
    }

    async fn nack(
        &self,
        key: &QueueKey,
        token: LeaseToken,
        reason: &str,
        delay_ms: u64,
    ) -> Result<bool, QueueError> {
        let now = self.clock.now();
        let delay_ms = delay_ms.min(*super::LEASE_MS.end());
        let dead = self.with(key, |queue| {
            queue.leased(token).ok_or_else(|| lost(key, token))?;
            Ok(queue.fail(token.place, self.limits.attempts, reason.to_owned(), now, delay_ms))
        })?;
        if !dead && delay_ms > 0 {
            self.alarm.arm(std::time::Duration::from_millis(delay_ms));
        } else if !dead {
            self.line.call(key, 1);
        }
        Ok(dead)
    }

    async fn extend(&self, key: &QueueKey, token: LeaseToken, lease_ms: u64) -> Result<(), QueueError> {
        let until_new = self.clock.now() + check_lease(key, lease_ms)?;
        self.with(key, |queue| {
            let item = queue.leased(token).ok_or_else(|| lost(key, token))?;
            if let State::Leased { until, .. } = &mut item.state {
                *until = until_new;
            }
            Ok(())
        })?;
        self.arm(until_new);
        Ok(())
    }

    async fn nack_holder(&self, room: RoomId, holder: &str, reason: &str) -> Result<u64, QueueError> {
        let now = self.clock.now();
        let mut count = 0;
        for (_, queue) in self.lock().iter_mut().filter(|(key, _)| key.room == room) {
            let held = |item: &Item| matches!(&item.state, State::Leased { holder: by, .. } if by == holder);
            let places: Vec<i64> =
                queue.items.iter().filter(|(_, item)| held(item)).map(|(p, _)| *p).collect();
            count += places.len() as u64;
            for place in places {
                queue.fail(place, self.limits.losses, reason.to_owned(), now, 0);
            }
        }
        self.line.call_room(room);
        Ok(count)
    }

    async fn drain(&self, key: &QueueKey) -> Result<u64, QueueError> {
        self.with(key, |queue| {
            let before = queue.items.len();
            queue.items.retain(|_, item| matches!(item.state, State::Dead { .. }));
            queue.ready.clear();
            Ok((before - queue.items.len()) as u64)
        })
    }

    async fn close(&self, key: &QueueKey) -> Result<(), QueueError> {
        let missing = || QueueError::NotFound { queue: key.name.clone() };
        self.lock().remove(key).map(drop).ok_or_else(missing)?;
        self.line.call(key, usize::MAX);
        Ok(())
    }

    async fn dead_letters(&self, key: &QueueKey, after: i64, limit: usize) -> Result<DeadPage, QueueError> {
        let limit = limit.clamp(1, DEAD_PAGE_MAX);
        self.with(key, |queue| {
            let mut items = Vec::new();
            let mut last = None;
            for (place, item) in queue.items.range(after.saturating_add(1)..) {
                let State::Dead { reason, at } = &item.state else { continue };
                if items.len() == limit {
                    return Ok(DeadPage { items, next: last });
                }
                let (id, body, reason) = (item.id, item.body.clone(), reason.clone());
                items.push(DeadItem { id, body, attempt: item.attempt, reason, dead_at: *at });
                last = Some(*place);
            }
            Ok(DeadPage { items, next: None })
        })
    }

    async fn replay_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        check_batch(key, ids.len())?;
        let count = self.with(key, |queue| {
            let places = queue.places_dead(ids);
            for place in &places {
                if let Some(item) = queue.items.get_mut(place) {
                    item.attempt = 0;
                }
                queue.make_ready(*place);
            }
            Ok(places.len())
        })?;
        self.line.call(key, count);
        Ok(count as u64)
    }

    async fn delete_dead(&self, key: &QueueKey, ids: &[ItemId]) -> Result<u64, QueueError> {
        check_batch(key, ids.len())?;
        self.with(key, |queue| {
            let places = queue.places_dead(ids);
            for place in &places {
                queue.items.remove(place);
            }
            Ok(places.len() as u64)
        })
    }

    async fn expire_leases(&self) -> Result<u64, QueueError> {
        let now = self.clock.now();
        let (mut count, mut next) = (0, None::<DateTime<Utc>>);
        for (key, queue) in self.lock().iter_mut() {
            let mut due = Vec::new();
            for (place, item) in &queue.items {
                match &item.state {
                    State::Leased { until, holder, .. } if *until <= now => {
                        due.push((*place, Some(super::types::expired_reason(holder, item.attempt))));
                    }
                    State::Delayed { until } if *until <= now => due.push((*place, None)),
                    State::Leased { until, .. } | State::Delayed { until } => {
                        next = Some(next.map_or(*until, |n| n.min(*until)));
                    }
                    State::Ready | State::Dead { .. } => {}
                }
            }
            count += due.len() as u64;
            self.line.call(key, due.len());
            for (place, expired) in due {
                match expired {
                    Some(reason) => drop(queue.fail(place, self.limits.losses, reason, now, 0)),
                    None => queue.make_ready(place),
                }
            }
        }
        if let Some(next) = next {
            self.arm(next);
        }
        Ok(count)
    }

    async fn delete_room(&self, room: RoomId) -> Result<(), QueueError> {
        self.lock().retain(|key, _| key.room != room);
        self.line.call_room(room);
        Ok(())
    }

    fn watch(&self, key: &QueueKey) -> Turn {
        self.line.join(key)
    }
}

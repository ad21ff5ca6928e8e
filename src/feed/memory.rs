//! Messages of feeds in memory, for tests.

use super::{
    BATCH_MESSAGES_MAX, Failure, FeedError, FeedStore, PROJECT_BYTES_MAX, TRIM_MESSAGES_MAX,
    WAITING_BYTES_MAX, WAITING_MESSAGES_MAX, Waiting, cut,
};
use crate::id::{FeedId, FeedSubscriptionId};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Messages in memory.
#[derive(Debug, Default)]
pub struct MemoryFeeds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_place: i64,
    messages: BTreeMap<FeedId, Vec<Waiting>>,
    cursors: BTreeMap<FeedSubscriptionId, (i64, Option<Failure>)>,
}

impl MemoryFeeds {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn place(&self, of: FeedSubscriptionId) -> i64 {
        self.cursors.get(&of).map_or(0, |(place, _)| *place)
    }
}

#[async_trait]
impl FeedStore for MemoryFeeds {
    async fn publish(&self, feed: FeedId, bodies: Vec<String>, at: DateTime<Utc>) -> Result<(), FeedError> {
        let mut state = self.locked();
        let kept = state.messages.entry(feed).or_default();
        let count = kept.len() + bodies.len();
        let bytes: usize = kept.iter().map(|one| one.body.len()).chain(bodies.iter().map(String::len)).sum();
        if count as u64 > WAITING_MESSAGES_MAX || bytes as u64 > WAITING_BYTES_MAX {
            return Err(FeedError::Full { feed: feed.to_string() });
        }
        let of_project = state.messages.iter().filter(|(id, _)| id.project() == feed.project());
        let waiting: usize = of_project.flat_map(|(_, all)| all).map(|one| one.body.len()).sum();
        let more: usize = bodies.iter().map(String::len).sum();
        if (waiting + more) as u64 > PROJECT_BYTES_MAX {
            return Err(FeedError::ProjectFull);
        }
        for body in bodies {
            state.last_place += 1;
            let place = state.last_place;
            // As stores keep it: to the millisecond.
            let published_at = super::time(at.timestamp_millis());
            state.messages.entry(feed).or_default().push(Waiting { place, published_at, body });
        }
        Ok(())
    }

    async fn batch(
        &self,
        subscription: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Waiting>, FeedError> {
        let state = self.locked();
        let place = state.place(subscription);
        let wants = |one: &&Waiting| {
            one.place > place && one.published_at.timestamp_millis() >= since.timestamp_millis()
        };
        let all = state.messages.get(&feed).into_iter().flatten().filter(wants);
        Ok(cut(all.take(BATCH_MESSAGES_MAX).cloned().collect()))
    }

    async fn delivered(&self, subscription: FeedSubscriptionId, place: i64) -> Result<(), FeedError> {
        let mut state = self.locked();
        let place = place.max(state.place(subscription));
        state.cursors.insert(subscription, (place, None));
        Ok(())
    }

    async fn failed(&self, subscription: FeedSubscriptionId, failure: &Failure) -> Result<(), FeedError> {
        let mut state = self.locked();
        let place = state.place(subscription);
        state.cursors.insert(subscription, (place, Some(failure.clone())));
        Ok(())
    }

    async fn recovered(&self, subscription: FeedSubscriptionId) -> Result<(), FeedError> {
        if let Some((_, failure)) = self.locked().cursors.get_mut(&subscription) {
            *failure = None;
        }
        Ok(())
    }

    async fn failure(&self, subscription: FeedSubscriptionId) -> Result<Option<Failure>, FeedError> {
        Ok(self.locked().cursors.get(&subscription).and_then(|(_, failure)| failure.clone()))
    }

    async fn skip(
        &self,
        subscription: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<(), FeedError> {
        let mut state = self.locked();
        let older = |one: &&Waiting| one.published_at.timestamp_millis() < since.timestamp_millis();
        let last = state.messages.get(&feed).into_iter().flatten().filter(older).map(|one| one.place).max();
        if let Some(last) = last.filter(|_| state.place(subscription) == 0) {
            state.cursors.entry(subscription).or_insert((last, None)).0 = last;
        }
        Ok(())
    }

    async fn last(&self, feed: FeedId) -> Result<Option<i64>, FeedError> {
        Ok(self.locked().messages.get(&feed).and_then(|all| all.last()).map(|one| one.place))
    }

    async fn trim(
        &self,
        feed: FeedId,
        subscriptions: &[FeedSubscriptionId],
        upto: i64,
    ) -> Result<usize, FeedError> {
        let mut state = self.locked();
        let upto = subscriptions.iter().map(|one| state.place(*one)).fold(upto, i64::min);
        let Some(kept) = state.messages.get_mut(&feed) else { return Ok(0) };
        let gone = kept.iter().take_while(|one| one.place <= upto).take(TRIM_MESSAGES_MAX).count();
        kept.drain(..gone);
        if kept.is_empty() {
            state.messages.remove(&feed);
        }
        Ok(gone)
    }

    async fn forget(&self, subscription: FeedSubscriptionId) -> Result<(), FeedError> {
        self.locked().cursors.remove(&subscription);
        Ok(())
    }

    async fn known(&self) -> Result<(Vec<FeedId>, Vec<FeedSubscriptionId>), FeedError> {
        let state = self.locked();
        Ok((state.messages.keys().copied().collect(), state.cursors.keys().copied().collect()))
    }
}

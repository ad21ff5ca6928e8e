//! Steps under way: at most one per key, a bounded number at once, and a wait after a failure.

use super::turns::Turns;
use crate::app::attempts::Attempt;
use crate::control::{Error, backoff};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Steps carried out at once; more wait for their turn.
pub const AT_ONCE_MAX: usize = 16;

pub use super::turns::Rank;

#[derive(Clone, Debug, Default)]
struct Entry {
    busy: bool,
    failures: u32,
    until: Option<DateTime<Utc>>,
    /// When the last step failed, and why.
    held: Option<(DateTime<Utc>, Arc<str>)>,
}

/// Steps that failed in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failing {
    pub failures: u32,
    pub at: DateTime<Utc>,
    /// No step begins before.
    pub until: DateTime<Utc>,
    pub why: Arc<str>,
}

impl From<Failing> for Attempt {
    fn from(failing: Failing) -> Self {
        let Failing { failures, at, until, why } = failing;
        Self { at, failures, next: Some(until), error: Some(why) }
    }
}

/// The steps of one controller.
#[derive(Debug)]
pub struct Workers<K> {
    entries: Arc<Mutex<HashMap<K, Entry>>>,
    turns: Arc<Turns>,
    tracker: TaskTracker,
    done: watch::Sender<u64>,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Workers<K> {
    /// `done` counts up whenever a step ended.
    #[must_use]
    pub fn new(done: watch::Sender<u64>) -> Self {
        Self::with_turns(done, AT_ONCE_MAX)
    }

    /// As [`Workers::new`], for steps that take long and cost little: so many at once.
    #[must_use]
    pub fn with_turns(done: watch::Sender<u64>, at_once: usize) -> Self {
        Self {
            entries: Arc::default(),
            turns: Arc::new(Turns::new(at_once)),
            tracker: TaskTracker::new(),
            done,
        }
    }

    /// Keys with a step under way. Only the caller begins steps: a key that is not among these stays so until then.
    #[must_use]
    pub fn busy(&self) -> HashSet<K> {
        locked(&self.entries).iter().filter(|(_, entry)| entry.busy).map(|(key, _)| key.clone()).collect()
    }

    /// The keys whose last steps failed.
    #[must_use]
    pub fn all_failing(&self) -> Vec<(K, Failing)> {
        let failing = |(key, entry): (&K, &Entry)| {
            let (at, why) = entry.held.clone()?;
            Some((key.clone(), Failing { failures: entry.failures, at, until: entry.until?, why }))
        };
        locked(&self.entries).iter().filter_map(failing).collect()
    }

    /// Until when no step may begin for this key, because the last one failed.
    #[must_use]
    pub fn held_until(&self, key: &K, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        locked(&self.entries).get(key).and_then(|entry| entry.until).filter(|until| *until > now)
    }

    /// Begins a step without a rank: as it comes. `now` is asked when it failed, to know when the next may begin.
    pub fn begin<F, N>(&self, key: K, seed: u128, now: N, step: F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
        N: FnOnce() -> DateTime<Utc> + Send + 'static,
    {
        self.begin_ranked(key, Rank::default(), seed, now, step);
    }

    /// As [`Workers::begin`]; where steps wait for their turn, the rank counts.
    pub fn begin_ranked<F, N>(&self, key: K, rank: Rank, seed: u128, now: N, step: F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
        N: FnOnce() -> DateTime<Utc> + Send + 'static,
    {
        locked(&self.entries).entry(key.clone()).or_default().busy = true;
        let (entries, done) = (Arc::clone(&self.entries), self.done.clone());
        // Asked for here: whoever is polled first is not first for that.
        let turn = self.turns.ask(rank);
        self.tracker.spawn(async move {
            // Dropped also when the step panics.
            let ended = Ended { entries: &entries, key: &key, done: &done };
            let _turn = turn.await;
            let ran = AssertUnwindSafe(step).catch_unwind().await;
            let result = ran.unwrap_or(Err(Error::Panicked("a step")));
            let mut held = locked(&entries);
            match result {
                Ok(()) => {
                    held.remove(&key);
                }
                Err(error) => {
                    let entry = held.entry(key.clone()).or_default();
                    entry.failures = entry.failures.saturating_add(1);
                    let wait = backoff::delay(entry.failures, seed);
                    tracing::warn!(%error, failures = entry.failures, ?wait, "a controller's step failed");
                    let at = now();
                    entry.until = Some(at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX));
                    entry.held = Some((at, Arc::from(error.to_string())));
                }
            }
            drop(held);
            drop(ended);
        });
    }

    /// Waits until no step is under way. None may begin any more.
    pub async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

struct Ended<'a, K: Eq + Hash> {
    entries: &'a Mutex<HashMap<K, Entry>>,
    key: &'a K,
    done: &'a watch::Sender<u64>,
}

impl<K: Eq + Hash> Drop for Ended<'_, K> {
    fn drop(&mut self) {
        if let Some(entry) = locked(self.entries).get_mut(self.key) {
            entry.busy = false;
        }
        self.done.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn locked<K>(entries: &Mutex<HashMap<K, Entry>>) -> MutexGuard<'_, HashMap<K, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Messages of feeds on their way to the rooms that subscribed: the port, its adapters, and what a feed takes.
//!
//! A message is on disk when [`Feeds::publish`] answers, and stays until every subscription has it. Knows nothing of
//! rooms' files, grants, HTTP or the event log; what is wanted of feeds is told to it.

mod error;
mod memory;
mod postgres;
mod read;
pub mod schema;
mod sqlite;

pub use error::FeedError;
pub use memory::MemoryFeeds;
pub use postgres::PostgresFeeds;
pub use sqlite::SqliteFeeds;

use crate::clock::Clock;
use crate::domain::feed::Feed;
use crate::id::{FeedId, FeedSubscriptionId, ProjectId};
use crate::share::{Place, Places};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use schema::Schemas;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Longest message as compact JSON, bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Most messages that are published at once.
pub const PUBLISH_MESSAGES_MAX: usize = 10_000;
/// Most messages and bytes of one feed that wait; beyond, it takes no more.
pub const WAITING_MESSAGES_MAX: u64 = 1_000_000;
pub const WAITING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most bytes of all feeds of one project that wait.
pub const PROJECT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Largest body that publishes, and most bytes of such bodies that are held at once, of one project and of all.
pub const PUBLISH_BYTES_MAX: usize = 16 * 1024 * 1024;
const HELD_PER_PROJECT_BYTES_MAX: usize = 2 * PUBLISH_BYTES_MAX;
const HELD_BYTES_MAX: usize = 8 * PUBLISH_BYTES_MAX;
/// Most messages and bytes of one batch: a file. A message that is longer goes alone.
pub const BATCH_MESSAGES_MAX: usize = 10_000;
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that one job removes.
const TRIM_MESSAGES_MAX: usize = 2_000;

/// One message that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its place among the messages of its feed; later ones have greater places.
    pub place: i64,
    pub published_at: DateTime<Utc>,
    /// Compact JSON, without line breaks.
    pub body: String,
}

/// What came of the last try to deliver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub reason: String,
    pub again_at: DateTime<Utc>,
}

/// Where messages wait.
#[async_trait]
pub trait FeedStore: Send + Sync + fmt::Debug + 'static {
    /// Keeps messages in their order, all or none.
    async fn publish(&self, feed: FeedId, bodies: Vec<String>, at: DateTime<Utc>) -> Result<(), FeedError>;

    /// The next messages of a subscription, oldest first, of those published since; within the bounds of a batch.
    async fn batch(
        &self,
        subscription: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Waiting>, FeedError>;

    /// Records that a subscription has everything up to a place.
    async fn delivered(&self, subscription: FeedSubscriptionId, place: i64) -> Result<(), FeedError>;

    /// Records that a delivery failed.
    async fn failed(&self, subscription: FeedSubscriptionId, failure: &Failure) -> Result<(), FeedError>;

    /// Records that all is well with a subscription, whatever failed before.
    async fn recovered(&self, subscription: FeedSubscriptionId) -> Result<(), FeedError>;

    /// What failed last, unless all was well since.
    async fn failure(&self, subscription: FeedSubscriptionId) -> Result<Option<Failure>, FeedError>;

    /// Has a subscription that has nothing yet begin behind what was published before.
    async fn skip(
        &self,
        subscription: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<(), FeedError>;

    /// The place of the newest message of a feed; `None` where none waits.
    async fn last(&self, feed: FeedId) -> Result<Option<i64>, FeedError>;

    /// Removes a bounded number of messages that all of these subscriptions have, none behind `upto`; says how many.
    async fn trim(
        &self,
        feed: FeedId,
        subscriptions: &[FeedSubscriptionId],
        upto: i64,
    ) -> Result<usize, FeedError>;

    /// Forgets where a subscription was.
    async fn forget(&self, subscription: FeedSubscriptionId) -> Result<(), FeedError>;

    /// All feeds with messages, and all subscriptions that are remembered.
    async fn known(&self) -> Result<(Vec<FeedId>, Vec<FeedSubscriptionId>), FeedError>;
}

/// Messages and bytes that were published in a feed here since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    pub messages: u64,
    pub bytes: u64,
}

/// What feeds take, and who is woken.
pub struct Feeds {
    pub store: Arc<dyn FeedStore>,
    clock: Arc<dyn Clock>,
    schemas: Arc<Schemas>,
    held: Arc<Places<ProjectId>>,
    heard: Mutex<HashMap<FeedId, Heard>>,
    woken: watch::Sender<u64>,
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeds").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Feeds {
    #[must_use]
    pub fn new(store: Arc<dyn FeedStore>, clock: Arc<dyn Clock>) -> Self {
        let schemas = Arc::new(Schemas::new(Arc::clone(&clock)));
        let held = Places::new(HELD_BYTES_MAX, HELD_PER_PROJECT_BYTES_MAX);
        Self { store, clock, schemas, held, heard: Mutex::default(), woken: watch::Sender::new(0) }
    }

    /// A hold on bytes of bodies, none yet; it grows with what has come, and is kept until that is published.
    pub fn hold(&self, project: ProjectId) -> Result<Place<ProjectId>, FeedError> {
        self.held.take_many(project, 0).ok_or(FeedError::Busy)
    }

    /// Reads a message in JSON, or a list of them, and holds them to the feed's schema. Takes a while.
    pub async fn check(
        &self,
        id: FeedId,
        feed: &Feed,
        raw: Bytes,
        is_list: bool,
    ) -> Result<Checked, FeedError> {
        check_takes(feed)?;
        let schema = feed.wanted.message_schema.clone();
        let turn = match &schema {
            None => None,
            Some(_) => Some(self.schemas.turn(id.project()).await?),
        };
        let (schemas, generation) = (Arc::clone(&self.schemas), feed.generation);
        // On a thread that nobody else waits for.
        let work = move || {
            let _turn = turn;
            let held = schema.map(|schema| schemas.hold(id, generation, &schema)).transpose()?;
            read::bodies(&raw, is_list, |at, message, bytes| match &held {
                None => Ok(()),
                Some(held) => held.check(at, message, bytes),
            })
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(FeedError::Unchecked)).map(Checked)
    }

    /// Takes messages: all or none. Where nobody subscribed they are kept by nobody. The feed and who subscribed are to be as they
    /// are now, not as they were before the check.
    pub async fn publish(
        &self,
        id: FeedId,
        feed: &Feed,
        has_subscribers: bool,
        Checked(bodies): Checked,
    ) -> Result<(), FeedError> {
        check_takes(feed)?;
        if bodies.is_empty() || !has_subscribers {
            return Ok(());
        }
        let bytes = bodies.iter().map(|body| body.len() as u64).sum::<u64>();
        let count = bodies.len() as u64;
        let kept = self.store.publish(id, bodies, self.clock.now()).await;
        kept.map_err(|error| match error {
            FeedError::Full { .. } => FeedError::Full { feed: feed.wanted.name.clone() },
            other => other,
        })?;
        self.hear(id, count, bytes);
        Ok(())
    }

    fn hear(&self, id: FeedId, messages: u64, bytes: u64) {
        let mut all = self.locked();
        let heard = all.entry(id).or_default();
        heard.messages = heard.messages.saturating_add(messages);
        heard.bytes = heard.bytes.saturating_add(bytes);
        drop(all);
        self.woken.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What was published in a feed so far.
    #[must_use]
    pub fn heard(&self, id: FeedId) -> Heard {
        self.locked().get(&id).copied().unwrap_or_default()
    }

    /// Forgets feeds that are gone.
    pub fn keep(&self, is: impl Fn(FeedId) -> bool) {
        let mut gone = vec![];
        self.locked().retain(|id, _| {
            let stays = is(*id);
            gone.extend((!stays).then_some(*id));
            stays
        });
        gone.into_iter().for_each(|id| self.schemas.forget(id));
    }

    /// Counts what was published, and deliveries that ended.
    #[must_use]
    pub fn woken(&self) -> watch::Sender<u64> {
        self.woken.clone()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<FeedId, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As stores keep it: to the millisecond.
fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Messages that a feed may take, compact.
#[derive(Debug)]
pub struct Checked(Vec<String>);

fn check_takes(feed: &Feed) -> Result<(), FeedError> {
    if feed.wanted.paused { Err(FeedError::Paused { feed: feed.wanted.name.clone() }) } else { Ok(()) }
}

/// As many of the oldest as fit one batch.
fn cut(mut waiting: Vec<Waiting>) -> Vec<Waiting> {
    let mut bytes = 0;
    let fits = waiting.iter().enumerate().take_while(|(n, one)| {
        bytes += one.body.len() + 1;
        *n == 0 || bytes <= BATCH_BYTES_MAX
    });
    let count = fits.count();
    waiting.truncate(count);
    waiting
}

//! Feeds: writes what was published into files of the rooms that subscribed.
//!
//! A batch is one file; its name follows from the subscription and its first message. A server that dies between the
//! file and its record writes the same file again, with what came since: at least once, and each message once per file.

use super::service::workers::Workers;
use super::{ControlParts, Controller, Error, Outcome, backoff};
use crate::app::feeds::of_feed;
use crate::domain::feed_subscription::{FeedSubscription, stamp};
use crate::feed::{BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Failure, Heard, Waiting};
use crate::id::{FeedId, FeedSubscriptionId};
use crate::lease::LeaseError;
use crate::projection::World;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Longest time that a message waits for others, unless a batch is full before.
pub const BATCH_WAIT: Duration = Duration::from_secs(10);
/// How long one server delivers to a subscription by itself.
pub const LEASE_TTL: Duration = Duration::from_mins(2);
/// How often a server looks for what others took, where several use one database.
pub const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Batches that one step delivers; the next step follows at once.
const STEP_BATCHES_MAX: usize = 20;
/// Subscriptions that are delivered to at once, of one project and of all.
const AT_ONCE_PER_PROJECT_MAX: usize = 4;
const AT_ONCE_MAX: usize = 16;

/// The controller of feeds.
pub struct Feeds {
    parts: ControlParts,
    deliveries: Workers<FeedSubscriptionId>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When this looked for what others took, or an earlier run left behind.
    looked_at: Option<DateTime<Utc>>,
    /// All subscriptions there are, and some that are gone.
    known: HashMap<FeedSubscriptionId, FeedId>,
    progress: HashMap<FeedSubscriptionId, Progress>,
    /// Until when another server delivers.
    elsewhere: HashMap<FeedSubscriptionId, DateTime<Utc>>,
    /// Counts the looks at all: each begins with another project.
    looks: usize,
}

/// How far a subscription is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// What was published when the last delivery began.
    heard: Heard,
    /// Since when something newer waits.
    waits_since: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("deliveries", &self.deliveries).finish_non_exhaustive()
    }
}

/// When the next batch is due, of what was heard; `None`: there is nothing.
fn due(progress: &mut Progress, heard: Heard, wait: TimeDelta, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let messages = heard.messages.saturating_sub(progress.heard.messages);
    let bytes = heard.bytes.saturating_sub(progress.heard.bytes);
    if messages == 0 {
        return None;
    }
    let since = *progress.waits_since.get_or_insert(now);
    let full = messages >= BATCH_MESSAGES_MAX as u64 || bytes >= BATCH_BYTES_MAX as u64;
    Some(if full { now } else { since + wait })
}

impl Feeds {
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        let deliveries = Workers::new(parts.feeds.woken());
        Self { parts, deliveries, seen: Arc::default() }
    }

    /// Forgets subscriptions and messages of what was deleted.
    async fn clean(&self, world: &World) -> Result<(), Error> {
        let messages = &self.parts.feeds;
        let lost = |id: &FeedSubscriptionId| world.feed_subscription(*id).is_none();
        let gone: Vec<_> =
            self.seen().known.iter().map(|(id, feed)| (*id, *feed)).filter(|(id, _)| lost(id)).collect();
        let busy = self.deliveries.busy();
        for (id, feed) in gone.into_iter().filter(|(id, _)| !busy.contains(id)) {
            messages.store.forget(id).await?;
            // What waited for it alone.
            trim(&self.parts, feed).await?;
            let mut seen = self.seen();
            seen.known.remove(&id);
            seen.progress.remove(&id);
        }
        messages.keep(|feed| world.feed(feed).is_some());
        Ok(())
    }

    /// Looks for messages that are not this run's own: those of an earlier run, once, and those that other servers took.
    async fn look(&self, world: &World, now: DateTime<Utc>, outcome: &mut Outcome) -> Result<(), Error> {
        let again = TimeDelta::from_std(LOOK_AGAIN).unwrap_or(TimeDelta::MAX);
        let looked_at = self.seen().looked_at;
        let nobody =
            || world.projects().all(|(project, _)| world.feed_subscriptions(project).next().is_none());
        if looked_at.is_some() && nobody() {
            return Ok(());
        }
        if let Some(at) = looked_at.filter(|at| !self.parts.settings.is_shared || now < *at + again) {
            if self.parts.settings.is_shared {
                outcome.due(at + again);
            }
            return Ok(());
        }
        let messages = &self.parts.feeds;
        let all = || world.projects().flat_map(|(project, _)| world.feed_subscriptions(project));
        // Before the look: what is published after it is heard of.
        let heard: HashMap<FeedId, Heard> =
            all().map(|(_, one)| (one.wanted.feed, messages.heard(one.wanted.feed))).collect();
        let (feeds, known) = messages.store.known().await?;
        let feeds: HashSet<FeedId> = feeds.into_iter().collect();
        if looked_at.is_none() {
            for id in known.into_iter().filter(|id| world.feed_subscription(*id).is_none()) {
                messages.store.forget(id).await?;
            }
            for feed in feeds.iter().filter(|feed| of_feed(world, **feed).next().is_none()) {
                trim(&self.parts, *feed).await?;
            }
        }
        let mut seen = self.seen();
        for (id, one) in all() {
            let feed = one.wanted.feed;
            if !feeds.contains(&feed) {
                let heard = heard.get(&feed).copied().unwrap_or_default();
                seen.progress.entry(id).or_insert(Progress { heard, waits_since: None });
            } else if seen.progress.get(&id).is_some_and(|progress| progress.waits_since.is_none()) {
                seen.progress.remove(&id);
            }
        }
        seen.looked_at = Some(now);
        if self.parts.settings.is_shared {
            outcome.due(now + again);
        }
        Ok(())
    }

    fn begin(&self, id: FeedSubscriptionId) {
        let parts = self.parts.clone();
        let (clock, seen) = (Arc::clone(&parts.app.clock), Arc::clone(&self.seen));
        let work = async move {
            let turn = turn(&parts, id).await;
            let clock = &parts.app.clock;
            let mut seen = locked(&seen);
            match &turn {
                Ok(Next::Done) => {}
                Ok(Next::Elsewhere(until)) => {
                    seen.progress.remove(&id);
                    // It gives the lease back when it is done; there may be more then.
                    let soon = clock.now() + TimeDelta::from_std(BATCH_WAIT).unwrap_or_default();
                    seen.elsewhere.insert(id, soon.min(*until));
                }
                // It is looked at again.
                Ok(Next::More) | Err(_) => {
                    seen.progress.remove(&id);
                }
            }
            drop(seen);
            turn.map(drop)
        };
        self.deliveries.begin(id, id.uuid().as_u128(), move || clock.now(), work);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    /// Subscriptions whose turn it is; of each project a share, and the others when one of those ends.
    fn turns(&self, world: &World, now: DateTime<Utc>, outcome: &mut Outcome) -> Vec<FeedSubscriptionId> {
        let busy = self.deliveries.busy();
        let wait = self.parts.settings.feed_wait.unwrap_or(BATCH_WAIT);
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let mut seen = self.seen();
        seen.elsewhere.retain(|_, until| *until > now);
        let (mut turns, mut projects) = (vec![], world.projects().map(|(id, _)| id).collect::<Vec<_>>());
        seen.looks = seen.looks.wrapping_add(1);
        let first = seen.looks.checked_rem(projects.len()).unwrap_or_default();
        projects.rotate_left(first);
        for project in projects {
            let mut own = busy.iter().filter(|id| id.project() == project).count();
            for (id, one) in world.feed_subscriptions(project) {
                let (feed, heard) = (one.wanted.feed, self.parts.feeds.heard(one.wanted.feed));
                seen.known.entry(id).or_insert(feed);
                if busy.contains(&id) || one.paused_at.is_some() {
                    continue;
                }
                let at = match seen.progress.get_mut(&id) {
                    // Whatever waits since before is not known.
                    None => Some(now),
                    Some(progress) => due(progress, heard, wait, now),
                };
                let Some(at) = at else { continue };
                let held = [self.deliveries.held_until(&id, now), seen.elsewhere.get(&id).copied()];
                let at = held.into_iter().flatten().fold(at, DateTime::max);
                if at > now {
                    outcome.due(at);
                } else if own < AT_ONCE_PER_PROJECT_MAX && busy.len() + turns.len() < AT_ONCE_MAX {
                    seen.progress.insert(id, Progress { heard, waits_since: None });
                    turns.push(id);
                    own += 1;
                }
            }
        }
        turns
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Controller for Feeds {
    const NAME: &'static str = "feed";

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        let (world, now) = (self.parts.app.world(), self.parts.app.clock.now());
        self.clean(&world).await?;
        self.look(&world, now, &mut outcome).await?;
        let failing = self.deliveries.all_failing().into_iter();
        let told = failing.map(|(id, failing)| (id.uuid(), failing.into())).collect();
        self.parts.app.attempts.tell(Self::NAME, told);
        for id in self.turns(&world, now, &mut outcome) {
            self.begin(id);
            outcome.steps += 1;
        }
        Ok(outcome)
    }
}

/// What came of a step.
enum Next {
    Done,
    /// There may be more at once.
    More,
    Elsewhere(DateTime<Utc>),
}

/// Delivers to one subscription, under its lease.
async fn turn(parts: &ControlParts, id: FeedSubscriptionId) -> Result<Next, Error> {
    let (name, url) = (format!("feed/{id}"), &parts.app.settings.server_url);
    let lease = match parts.leases.acquire(&name, &parts.holder, url, LEASE_TTL).await {
        Ok(lease) => lease,
        Err(LeaseError::Held(other)) => return Ok(Next::Elsewhere(other.until)),
        Err(error) => return Err(error.into()),
    };
    // A server that is slower than its lease may be overtaken, and must not write then.
    let until = parts.app.clock.now() + TimeDelta::from_std(LEASE_TTL / 2).unwrap_or_default();
    let done = match deliver(parts, id, until).await {
        Ok(Next::Done) => recover(parts, id).await,
        done => done,
    };
    if let Err(error) = &done {
        let again = TimeDelta::from_std(backoff::delay(1, id.uuid().as_u128())).unwrap_or_default();
        let failure = Failure { reason: error.to_string(), again_at: parts.app.clock.now() + again };
        if let Err(error) = parts.feeds.store.failed(id, &failure).await {
            tracing::warn!(subscription = %id, %error, "that a delivery failed could not be recorded");
        }
    }
    parts.leases.release(&lease).await?;
    done
}

/// There is nothing to deliver: what failed before is over.
async fn recover(parts: &ControlParts, id: FeedSubscriptionId) -> Result<Next, Error> {
    let store = &parts.feeds.store;
    if store.failure(id).await?.is_some() {
        store.recovered(id).await?;
    }
    Ok(Next::Done)
}

async fn deliver(parts: &ControlParts, id: FeedSubscriptionId, until: DateTime<Utc>) -> Result<Next, Error> {
    let messages = &parts.feeds;
    for _ in 0..STEP_BATCHES_MAX {
        let world = parts.app.world();
        let Some(one) = world.feed_subscription(id) else { return Ok(Next::Done) };
        let feed = one.wanted.feed;
        if world.room(one.wanted.room).is_none() {
            return Ok(Next::Done);
        }
        let batch = messages.store.batch(id, feed, one.created_at).await?;
        let Some(last) = batch.last().map(|last| last.place) else {
            messages.store.skip(id, feed, one.created_at).await?;
            trim(parts, feed).await?;
            return Ok(Next::Done);
        };
        if parts.app.clock.now() > until {
            break;
        }
        write(parts, id, one, &batch).await?;
        messages.store.delivered(id, last).await?;
        tracing::debug!(subscription = %id, messages = batch.len(), "a batch of a feed was written");
    }
    Ok(Next::More)
}

async fn write(
    parts: &ControlParts,
    id: FeedSubscriptionId,
    one: &FeedSubscription,
    batch: &[Waiting],
) -> Result<(), Error> {
    let Some(first) = batch.first() else { return Ok(()) };
    let (room, name) = (one.wanted.room, file_name(id, one, first));
    let size = batch.iter().map(|message| message.body.len() + 1).sum();
    let mut lines = Vec::with_capacity(size);
    for message in batch {
        lines.extend_from_slice(message.body.as_bytes());
        lines.push(b'\n');
    }
    parts.blobs.room(room).write(&name, Bytes::from(lines), true).await?;
    parts.host.file_changed(room, &name, false, Feeds::NAME);
    Ok(())
}

/// The same at every try.
fn file_name(id: FeedSubscriptionId, one: &FeedSubscription, first: &Waiting) -> String {
    let wanted = &one.wanted;
    let stamp = stamp(wanted.filename_datetime_format.as_deref(), first.published_at);
    let unique = Uuid::new_v5(&id.uuid(), &first.place.to_be_bytes()).simple();
    let folder = if wanted.path.is_empty() { String::new() } else { format!("{}/", wanted.path) };
    format!("{folder}{stamp}_{unique}.jsonl")
}

/// Removes what all subscriptions of a feed have.
async fn trim(parts: &ControlParts, feed: FeedId) -> Result<(), Error> {
    let store = &parts.feeds.store;
    // First: who subscribes meanwhile has nothing of what was published before.
    let Some(last) = store.last(feed).await? else { return Ok(()) };
    let all = parts.app.feed_subscribers(feed).await?;
    while store.trim(feed, &all, last).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_has_waited() {
        let fresh = Progress { heard: Heard { messages: 5, bytes: 50 }, waits_since: None };
        let wait = TimeDelta::seconds(10);
        let mut one = fresh;
        assert_eq!(due(&mut one, fresh.heard, wait, at(1)), None);
        assert_eq!(due(&mut one, Heard { messages: 6, bytes: 60 }, wait, at(1)), Some(at(11)));
        assert_eq!(
            due(&mut one, Heard { messages: 7, bytes: 70 }, wait, at(5)),
            Some(at(11)),
            "the first waits longest"
        );
        let full = Heard { messages: 5 + BATCH_MESSAGES_MAX as u64, bytes: 60 };
        assert_eq!(due(&mut one, full, wait, at(5)), Some(at(5)));
        let large = Heard { messages: 6, bytes: 50 + BATCH_BYTES_MAX as u64 };
        assert_eq!(due(&mut fresh.clone(), large, wait, at(5)), Some(at(5)));
    }
}

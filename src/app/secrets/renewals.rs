//! Whose turn it is to renew the tokens of a secret: one request at a time for each version, and none that failed a
//! moment ago. What one project has renewed keeps no other waiting.

use crate::id::OwnedSecretId;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use uuid::Uuid;

/// Versions of one project whose tokens are renewed at once, or were not to be had a moment ago, at most.
pub(super) const PROJECT_MAX: usize = 64;
/// The same of all projects.
pub(super) const ALL_MAX: usize = 4_096;
/// Requests that wait for the tokens of one version, at most.
pub(super) const WAITING_MAX: usize = 256;
/// How long one of them waits for its turn; longer than a token endpoint may take.
pub(super) const TURN_WAIT: Duration = Duration::from_secs(45);
/// How long an endpoint is not asked again after it gave nothing.
const PAUSE: TimeDelta = TimeDelta::seconds(5);

/// A version of a secret.
pub(super) type Key = (OwnedSecretId, Uuid);

/// What came of the last turn, where it failed.
#[derive(Debug, Default)]
pub(super) struct Last(Option<(String, DateTime<Utc>)>);

impl Last {
    pub fn failed(&mut self, why: String, now: DateTime<Utc>) {
        self.0 = Some((why, now + PAUSE));
    }

    /// Why the endpoint is not asked now.
    pub fn pause(&self, now: DateTime<Utc>) -> Option<&str> {
        self.0
            .as_ref()
            .filter(|(_, until)| *until > now && *until - now <= PAUSE)
            .map(|(why, _)| why.as_str())
    }
}

/// The turns of all secrets of this server.
#[derive(Debug, Default)]
pub struct Renewals(Mutex<BTreeMap<Key, Arc<Turn<Last>>>>);

impl Renewals {
    /// Waits for the turn of a version; `None` where too many wait, or it does not come in time.
    pub(super) async fn turn(&self, key: Key, now: DateTime<Utc>) -> Option<OwnedMutexGuard<Last>> {
        let lane = self.lane(key, now)?;
        tokio::time::timeout(TURN_WAIT, lane.lock_owned()).await.ok()
    }

    fn lane(&self, key: Key, now: DateTime<Utc>) -> Option<Arc<Turn<Last>>> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = |lane: &Arc<Turn<Last>>| Arc::strong_count(lane) > 1;
        if let Some(lane) = lanes.get(&key) {
            return (Arc::strong_count(lane) <= WAITING_MAX).then(|| Arc::clone(lane));
        }
        lanes.retain(|_, lane| in_use(lane) || lane.try_lock().is_ok_and(|last| last.pause(now).is_some()));
        let full = |lanes: &BTreeMap<Key, _>| {
            let mine = lanes.keys().filter(|(id, _)| id.project() == key.0.project()).count();
            mine >= PROJECT_MAX || lanes.len() >= ALL_MAX
        };
        if full(&lanes) {
            // Rather than to refuse, old failures are forgotten.
            lanes.retain(|(id, _), lane| id.project() != key.0.project() || in_use(lane));
        }
        if full(&lanes) {
            return None;
        }
        Some(Arc::clone(lanes.entry(key).or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000, 0).unwrap()
    }

    fn key(project: u128, n: u128) -> Key {
        let project = ProjectId::new(Uuid::from_u128(project));
        (OwnedSecretId::new(project, Uuid::from_u128(n)), Uuid::from_u128(n))
    }

    #[tokio::test(start_paused = true)]
    async fn one_project_keeps_no_other_waiting() {
        let renewals = Renewals::default();
        let mut held = vec![];
        for n in 0..PROJECT_MAX as u128 {
            held.push(renewals.turn(key(1, n), now()).await.unwrap());
        }
        assert!(renewals.turn(key(1, 1_000), now()).await.is_none(), "it has as many as it may");
        assert!(renewals.turn(key(2, 1_000), now()).await.is_some());
        assert!(renewals.turn(key(1, 0), now()).await.is_none(), "it does not wait for ever");
        held.pop();
        assert!(renewals.turn(key(1, 1_000), now()).await.is_some());
    }

    #[tokio::test]
    async fn a_failure_is_remembered_for_a_moment_and_takes_no_place() {
        let renewals = Renewals::default();
        for n in 0..PROJECT_MAX as u128 {
            renewals.turn(key(1, n), now()).await.unwrap().failed("no".into(), now());
        }
        let again = renewals.turn(key(1, 0), now()).await.unwrap();
        assert_eq!((again.pause(now()), again.pause(now() + PAUSE)), (Some("no"), None));
        drop(again);
        assert!(renewals.turn(key(1, 1_000), now()).await.is_some());
        let later = renewals.turn(key(1, 1), now()).await.unwrap();
        assert_eq!(later.pause(now()), None, "it made room");
    }

    #[tokio::test]
    async fn so_many_wait_for_one_version_and_no_more() {
        let renewals = Renewals::default();
        let first = renewals.lane(key(1, 1), now()).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| renewals.lane(key(1, 1), now())).take(1_000).collect();
        assert_eq!(all.len(), WAITING_MAX - 1);
        drop((first, all));
        assert!(renewals.lane(key(1, 1), now()).is_some());
    }
}

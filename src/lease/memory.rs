//! Leases in memory, for tests and for one server alone.

use super::{Lease, LeaseError, LeaseStore, clamp_ttl};
use crate::clock::Clock;
use async_trait::async_trait;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Leases that end with the process.
pub struct MemoryLeases {
    clock: Arc<dyn Clock>,
    /// Also those that ran out or were released: they hold the epoch.
    leases: Mutex<HashMap<String, Lease>>,
}

impl fmt::Debug for MemoryLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLeases").finish_non_exhaustive()
    }
}

impl MemoryLeases {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, leases: Mutex::default() }
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<String, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the lease if it is still the caller's; false when it is not.
    fn change(&self, lease: &Lease, until: chrono::DateTime<chrono::Utc>) -> bool {
        let now = self.clock.now();
        let mut leases = self.leases();
        let own = |stored: &&mut Lease| {
            stored.epoch == lease.epoch && stored.holder == lease.holder && stored.until > now
        };
        leases.get_mut(&lease.name).filter(own).map(|stored| stored.until = until).is_some()
    }
}

#[async_trait]
impl LeaseStore for MemoryLeases {
    async fn acquire(&self, name: &str, holder: &str, url: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        let now = self.clock.now();
        let mut leases = self.leases();
        let old = leases.get(name);
        let epoch = match old {
            Some(held) if held.until > now && held.holder != holder => {
                return Err(LeaseError::Held(held.clone()));
            }
            other => other.map_or(0, |over| over.epoch) + 1,
        };
        let until = now + clamp_ttl(ttl);
        let lease =
            Lease { name: name.to_owned(), holder: holder.to_owned(), url: url.to_owned(), epoch, until };
        leases.insert(name.to_owned(), lease.clone());
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        let until = self.clock.now() + clamp_ttl(ttl);
        if self.change(lease, until) {
            return Ok(Lease { until, ..lease.clone() });
        }
        Err(LeaseError::Lost { name: lease.name.clone(), epoch: lease.epoch })
    }

    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.change(lease, self.clock.now());
        Ok(())
    }

    async fn current(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        let now = self.clock.now();
        Ok(self.leases().get(name).filter(|lease| lease.until > now).cloned())
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<Lease>, LeaseError> {
        let now = self.clock.now();
        let leases = self.leases();
        let named = leases.values().filter(|lease| lease.name.starts_with(prefix) && lease.until > now);
        let mut all: Vec<Lease> = named.cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.truncate(max);
        Ok(all)
    }
}

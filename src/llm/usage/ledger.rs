//! Gathers what is used and writes it in batches, so that no answer waits for the disk.

use super::{Account, Filter, KEPT_DAYS, Sums, UsageError, UsageStore, hour_ms};
use crate::clock::Clock;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Most sums that may wait for the store; beyond, nothing new is let in.
pub const WAITING_MAX: usize = 10_000;
/// How long a store that fails is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How often old rows are forgotten.
const FORGET_EVERY: Duration = Duration::from_hours(6);

/// What waits, and what is being written.
#[derive(Default)]
struct Pending {
    waiting: BTreeMap<Account, Sums>,
    writing: BTreeMap<Account, Sums>,
}

impl Pending {
    /// What was not written waits again.
    fn give_back(&mut self) {
        for (account, sums) in std::mem::take(&mut self.writing) {
            *self.waiting.entry(account).or_default() += sums;
        }
    }
}

/// The usage of this server's answers, on its way to the store.
pub struct Ledger {
    batches: Arc<Batches>,
    clock: Arc<dyn Clock>,
    wake: Notify,
}

/// What is written together.
struct Batches {
    store: Arc<dyn UsageStore>,
    pending: Mutex<Pending>,
    one_writer: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Batches {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self) -> Result<(), UsageError> {
        let _alone = self.one_writer.lock().await;
        let rows: Vec<(Account, Sums)> = {
            let mut pending = self.pending();
            pending.give_back();
            pending.writing = std::mem::take(&mut pending.waiting);
            pending.writing.iter().map(|(account, sums)| (account.clone(), *sums)).collect()
        };
        if rows.is_empty() {
            return Ok(());
        }
        let written = self.store.add(rows).await;
        let mut pending = self.pending();
        match written {
            Ok(()) => pending.writing.clear(),
            Err(_) => pending.give_back(),
        }
        written
    }
}

impl Ledger {
    #[must_use]
    pub fn new(store: Arc<dyn UsageStore>, clock: Arc<dyn Clock>) -> Self {
        let batches = Batches { store, pending: Mutex::default(), one_writer: tokio::sync::Mutex::default() };
        Self { batches: Arc::new(batches), clock, wake: Notify::new() }
    }

    /// Whether the store has fallen so far behind that nothing new may be used.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let pending = self.batches.pending();
        pending.waiting.len() + pending.writing.len() >= WAITING_MAX
    }

    /// Adds to the sums; on disk soon after.
    pub fn add(&self, account: Account, sums: Sums) {
        *self.batches.pending().waiting.entry(account).or_default() += sums;
        self.wake.notify_one();
    }

    /// Writes all that waits. When it fails, all still waits. A write that began ends, though nobody waits for it.
    pub async fn flush(&self) -> Result<(), UsageError> {
        let batches = Arc::clone(&self.batches);
        let written = tokio::spawn(async move { batches.write().await }).await;
        written.unwrap_or_else(|broken| {
            let unavailable =
                StoreError::Unavailable { place: "usage of models".to_owned(), reason: broken.to_string() };
            Err(unavailable.into())
        })
    }

    /// Rows with what waits among them.
    pub async fn rows(&self, filter: &Filter, span_ms: i64) -> Result<Vec<(Account, Sums)>, UsageError> {
        self.flush().await?;
        self.batches.store.rows(filter, span_ms).await
    }

    /// What all comes to, with what waits. While a batch is written it may count twice, and never not at all.
    pub async fn sum(&self, filter: &Filter) -> Result<Sums, UsageError> {
        let mut sums = Sums::default();
        {
            let pending = self.batches.pending();
            let all = pending.waiting.iter().chain(&pending.writing);
            all.filter(|(account, _)| filter.takes(account)).for_each(|(_, more)| sums += *more);
        }
        sums += self.batches.store.sum(filter).await?;
        Ok(sums)
    }

    /// Writes whenever something waits, until dropped.
    pub async fn follow(self: Arc<Self>) {
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                () = self.wake.notified() => {
                    if let Err(error) = self.flush().await {
                        tracing::warn!(%error, "the usage of models waits to be written");
                        tokio::time::sleep(RETRY_AFTER).await;
                        self.wake.notify_one();
                    }
                }
                _ = forget.tick() => self.forget().await,
            }
        }
    }

    async fn forget(&self) {
        let before = hour_ms(self.clock.now() - chrono::Duration::days(KEPT_DAYS));
        match self.batches.store.forget(before).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old usage of models was forgotten"),
            Err(error) => tracing::warn!(%error, "old usage of models remains"),
        }
    }
}

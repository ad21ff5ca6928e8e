//! The timer that gives expired leases back. Armed only while leases exist: an idle store runs no statement.

use super::QueueStore;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Rings no more often than this.
const REST_MIN: Duration = Duration::from_millis(5);
/// Wait after a failed attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Dial {
    rings_at: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Dial {
    fn at(&self) -> Option<Instant> {
        *self.rings_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the alarm unless it rings earlier anyway.
    fn set(&self, at: Instant) {
        let mut rings_at = self.rings_at.lock().unwrap_or_else(PoisonError::into_inner);
        if rings_at.is_none_or(|old| at < old) {
            *rings_at = Some(at);
            self.changed.notify_one();
        }
    }

    async fn ring(&self) {
        loop {
            match self.at() {
                None => self.changed.notified().await,
                Some(at) if at <= Instant::now() => {
                    *self.rings_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return;
                }
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }
}

/// Calls [`QueueStore::expire_leases`] of its store at the set time; the store sets it again while leases remain.
#[derive(Debug)]
pub(super) struct Alarm {
    dial: Arc<Dial>,
    store: Weak<dyn QueueStore>,
    task: OnceLock<AbortHandle>,
    /// Of the maker; the alarm is also armed on threads that know none.
    runtime: Option<Handle>,
}

impl Alarm {
    pub(super) fn new(store: Weak<dyn QueueStore>) -> Self {
        Self { dial: Arc::default(), store, task: OnceLock::new(), runtime: Handle::try_current().ok() }
    }

    /// Rings after `delay` at the latest. Made outside of the runtime, it must be armed within.
    pub(super) fn arm(&self, delay: Duration) {
        let (dial, store) = (&self.dial, &self.store);
        self.task.get_or_init(|| {
            let watch = watch(Arc::clone(dial), store.clone());
            let task = self.runtime.as_ref().map_or_else(Handle::current, Clone::clone).spawn(watch);
            task.abort_handle()
        });
        self.dial.set(Instant::now() + delay.max(REST_MIN));
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn watch(dial: Arc<Dial>, store: Weak<dyn QueueStore>) {
    loop {
        dial.ring().await;
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.expire_leases().await {
            tracing::warn!(%error, "expired queue leases could not be given back, trying again");
            dial.set(Instant::now() + RETRY_AFTER);
        }
    }
}

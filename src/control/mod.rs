//! The controllers: they compare what is wanted (the log's fold) with what is (rooms, processes, the time) and take
//! the steps between the two.
//!
//! One folder each: `plan.rs` decides and touches nothing, `execute.rs` or `mod.rs` carries out and decides nothing.
//! They know the application and the ports. They may not know any edge, any adapter's insides, HTTP frameworks or SQL.

pub mod backoff;
pub mod cadence;
mod driver;
mod error;
pub mod feed;
mod fresh;
pub mod git;
pub mod health;
pub mod schedule;
pub mod service;
pub mod session;
mod settings;
pub mod subscription;
pub mod webhook;

pub use driver::{Controller, Outcome, RUN_LIMIT};
pub use error::Error;
pub use service::status;
pub use settings::{Mail, Provider, Settings};

use crate::app::App;
use crate::app::host::RoomHost;
use crate::blob::Blobs;
use crate::git::Repositories;
use crate::id::{ServiceId, SessionId};
use crate::lease::LeaseStore;
use crate::queue::QueueStore;
use crate::runtime::Runtime;
use driver::{Wakes, drive};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest wait for running steps when the server stops.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What the controllers work with.
#[derive(Clone)]
pub struct ControlParts {
    pub app: Arc<App>,
    pub host: Arc<dyn RoomHost>,
    pub runtime: Arc<dyn Runtime>,
    pub queues: Arc<dyn QueueStore>,
    pub leases: Arc<dyn LeaseStore>,
    pub blobs: Blobs,
    pub feeds: Arc<crate::feed::Feeds>,
    /// The repositories of git sources; none are looked at without them.
    pub repositories: Option<Arc<Repositories>>,
    /// Name of this server, as leases name their holder; the same for every run.
    pub holder: String,
    pub settings: Settings,
}

impl std::fmt::Debug for ControlParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlParts").field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// The running controllers. Dropped without [`ControlHandle::stop`] they stop too, but processes are not waited for.
pub struct ControlHandle {
    app: Arc<App>,
    host: Arc<dyn RoomHost>,
    services: Arc<service::Services>,
    calls: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for ControlHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlHandle").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Starts the controllers. Call it when the projection is open and before any edge serves: sessions that the log
/// shows running on this server at this moment are those of its last run, and are ended and opened anew.
#[must_use]
pub fn start(parts: ControlParts) -> ControlHandle {
    let app = Arc::clone(&parts.app);
    let calls = watch::Sender::new(0_u64);
    let stop = watch::Sender::new(false);
    let wakes =
        Wakes { changes: app.projection.changes(), called: calls.subscribe(), stop: stop.subscribe() };
    let services = Arc::new(service::Services::new(parts.clone(), calls.clone()));
    let sessions = Arc::new(session::Sessions::new(parts.clone()));
    let schedules = Arc::new(schedule::Schedules::new(parts.clone()));
    let subscriptions = Arc::new(subscription::Subscriptions::new(parts.clone()));
    let webhooks = Arc::new(webhook::Webhooks::new(parts.clone(), calls.clone()));
    let feeds = Arc::new(feed::Feeds::new(parts.clone()));
    let published = Wakes { called: parts.feeds.woken().subscribe(), ..wakes.clone() };
    let mut tasks = vec![
        tokio::spawn(drive(feeds, Arc::clone(&app), published)),
        tokio::spawn(drive(sessions, Arc::clone(&app), wakes.clone())),
        tokio::spawn(drive(Arc::clone(&services), Arc::clone(&app), wakes.clone())),
        tokio::spawn(drive(schedules, Arc::clone(&app), wakes.clone())),
        tokio::spawn(drive(subscriptions, Arc::clone(&app), wakes.clone())),
        tokio::spawn(drive(webhooks, Arc::clone(&app), wakes.clone())),
    ];
    if let Some(repositories) = parts.repositories.clone() {
        let sources = Arc::new(git::GitSources::new(parts.clone(), repositories, calls.clone()));
        tasks.push(tokio::spawn(drive(sources, Arc::clone(&app), wakes)));
    }
    tasks.push(tokio::spawn(pass_on(parts.runtime.exited(), calls.clone())));
    ControlHandle { app, host: Arc::clone(&parts.host), services, calls, stop, tasks: Mutex::new(tasks) }
}

/// Turns the ends of processes into wake-ups.
async fn pass_on(mut exits: watch::Receiver<u64>, calls: watch::Sender<u64>) {
    while exits.changed().await.is_ok() {
        calls.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl ControlHandle {
    /// Makes every controller look again, for what is not in the log: a participant came or went, the clock was set.
    /// Does not block.
    pub fn wake(&self) {
        self.calls.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Something that wakes the controllers, for parts that live elsewhere.
    pub fn waker(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let calls = self.calls.clone();
        move || calls.send_modify(|count| *count = count.wrapping_add(1))
    }

    /// `ServiceRuntimeState` of a service in a session (room protocol §3.12).
    #[must_use]
    pub fn service_state(&self, service: ServiceId, session: Option<SessionId>) -> Value {
        let world = self.app.world();
        let mut state = status::runtime_state(&world, service, session, Some(self.services.probes()));
        let lacking = session.and_then(|_| {
            service::elsewhere::condition(&world, service, &*self.host, self.services.called())
        });
        if let Some(lacking) = lacking {
            state["last_start_error"] = Value::String(lacking.message);
        }
        state
    }

    /// The controller of services, for what is asked of it.
    #[must_use]
    pub fn services(&self) -> &service::Services {
        &self.services
    }

    /// Whether a service is as its spec wants it, in all rooms that run.
    #[must_use]
    pub fn service_condition(&self, service: ServiceId) -> status::Condition {
        let world = self.app.world();
        let condition = status::condition(&world, service, Some(self.services.probes()));
        if condition.status != "True" {
            return condition;
        }
        let lacking = service::elsewhere::condition(&world, service, &*self.host, self.services.called());
        lacking.unwrap_or(condition)
    }

    /// Stops the controllers, then every process they started. Sessions are left to whoever hosts them.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // The last one follows the runtime and has no end of its own.
        if let Some(follower) = tasks.last() {
            follower.abort();
        }
        let ended = async {
            for task in tasks {
                if let Err(error) = task.await
                    && !error.is_cancelled()
                {
                    tracing::error!(%error, "a controller ended badly");
                }
            }
            self.services.stop_all().await;
        };
        if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::error!(limit = ?STOP_LIMIT, "the controllers did not stop in time");
        }
    }
}

impl Drop for ControlHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            task.abort();
        }
    }
}

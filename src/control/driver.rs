//! What wakes controllers, and watches over them.
//!
//! A controller is told nothing: it is woken, reads what is wanted and what is, and does what is missing. The change
//! of the projection wakes it; a timer, armed only with an instant that the controller itself asked for, covers all
//! else. Between the two nothing runs.

use super::{Error, backoff};
use crate::app::App;
use crate::domain::{Event, controller};
use crate::eventlog::{Expected, Metadata, NewEvent, StreamWrite};
use crate::id::{Position, ProjectId};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A run, or one step of it, that takes longer is reported; it is not cut off.
pub const RUN_LIMIT: Duration = Duration::from_mins(1);
/// Shortest time between two runs that a controller asked for by itself.
pub const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest sleep; a clock that was set is noticed after it.
pub const PAUSE_MAX: Duration = Duration::from_mins(15);

/// What a run did, and when the next is due if nothing changes before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: only a change is of interest.
    pub next: Option<DateTime<Utc>>,
    /// Steps taken or begun.
    pub steps: usize,
}

impl Outcome {
    /// Asks to be woken at `at` at the latest.
    pub fn due(&mut self, at: DateTime<Utc>) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

/// Makes what is fit what is wanted.
pub trait Controller: Send + Sync + 'static {
    const NAME: &'static str;

    /// Looks at everything and does what is missing. Takes nothing: the run after a crash is the run after a change.
    fn reconcile(&self) -> impl Future<Output = Result<Outcome, Error>> + Send;
}

/// What wakes a controller.
#[derive(Clone, Debug)]
pub(super) struct Wakes {
    pub changes: watch::Receiver<Position>,
    /// Counts the wake-ups that are not in the log, such as the end of a process.
    pub called: watch::Receiver<u64>,
    pub stop: watch::Receiver<bool>,
}

/// Runs a controller until it is stopped; one run at a time.
pub(super) async fn drive<C: Controller>(controller: Arc<C>, app: Arc<App>, mut wakes: Wakes) {
    let mut failures = 0_u32;
    while !*wakes.stop.borrow_and_update() {
        wakes.changes.borrow_and_update();
        wakes.called.borrow_and_update();
        let run = AssertUnwindSafe(controller.reconcile()).catch_unwind();
        let ended = watched(&app, C::NAME, run).await;
        let outcome = ended.unwrap_or(Err(Error::Panicked(C::NAME)));
        let pause = match outcome {
            Ok(outcome) => {
                failures = 0;
                outcome.next.map(|at| pause_until(at, app.clock.now()))
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let wait = backoff::delay(failures, seed_of(C::NAME));
                tracing::warn!(controller = C::NAME, %error, failures, ?wait, "a controller's run failed");
                // Changes do not shorten this wait: what failed is not tried in a hurry.
                tokio::select! {
                    _ = wakes.stop.changed() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
        };
        tokio::select! {
            changed = wakes.stop.changed() => if changed.is_err() { return },
            changed = wakes.changes.changed() => if changed.is_err() { return },
            changed = wakes.called.changed() => if changed.is_err() { return },
            () = rest(pause) => {}
        }
    }
}

/// Sleeps, or waits for ever where nothing is due: no timer is armed then.
async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

fn pause_until(at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (at - now).to_std().unwrap_or(Duration::ZERO).clamp(PAUSE_MIN, PAUSE_MAX)
}

fn seed_of(name: &str) -> u128 {
    name.bytes().fold(7, |seed, byte| seed * 31 + u128::from(byte))
}

/// Waits for `work`; past [`RUN_LIMIT`] it reports once that `what` stalls, and waits on.
pub(super) async fn watched<F: Future>(app: &App, what: &str, work: F) -> F::Output {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        () = tokio::time::sleep(RUN_LIMIT) => {
            let (done, ()) = tokio::join!(work, report_stall(app, what));
            done
        }
    }
}

async fn report_stall(app: &App, what: &str) {
    let limit_seconds = RUN_LIMIT.as_secs();
    tracing::error!(
        controller = what,
        limit_seconds,
        "a controller stalls; what it waits for does not answer"
    );
    let server = app.settings.server_name.clone();
    let stream = controller::stream(&server);
    let event =
        Event::ControllerStalled(controller::Stalled { server, controller: what.to_owned(), limit_seconds });
    let Ok(data) = event.encode() else { return };
    let fact = NewEvent {
        event_id: app.ids.fresh(),
        kind: event.kind().to_owned(),
        schema_version: event.schema_version(),
        data,
        metadata: Metadata {
            project: Some(ProjectId::PLATFORM),
            actor: "controller:driver".to_owned(),
            on_behalf_of: None,
            causation: None,
            correlation: None,
            request_id: None,
        },
    };
    let write = StreamWrite { stream, expected: Expected::Any, events: vec![fact] };
    if let Err(error) = app.log.append(vec![write]).await {
        tracing::error!(controller = what, %error, "that a controller stalls could not be recorded");
    }
}

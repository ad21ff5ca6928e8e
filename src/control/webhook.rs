//! Webhooks of projects: makes the calls that the fold of the log says are due, and records what became of each.
//!
//! One call of a webhook at a time, among all servers; a room's calls in order. A server that dies between a call and
//! its record leaves the call to be made again: at least once.

use super::service::workers::Workers;
use super::{ControlParts, Controller, Error, Outcome};
use crate::app::Actor;
use crate::domain::webhook::{Delivery, Topic, Webhook};
use crate::id::{ProjectId, WebhookId};
use crate::lease::LeaseError;
use crate::net::guard::Refused;
use crate::net::webhook::{self, WebhookError};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use url::Url;

/// How long one server has a webhook for itself; longer than a call and its record take.
pub const LEASE_TTL: Duration = Duration::from_secs(90);
/// Calls of one project under way at once: the receivers of one do not hold up the others' calls.
pub const PROJECT_CALLS_MAX: usize = 4;
/// Answer of a receiver that wants no more calls.
const GONE: u16 = 410;

/// The controller of webhooks.
pub struct Webhooks {
    parts: ControlParts,
    calls: Workers<WebhookId>,
    /// Webhooks that another server calls, and until when it has them.
    elsewhere: Elsewhere,
}

type Elsewhere = Arc<Mutex<HashMap<WebhookId, DateTime<Utc>>>>;

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// The call of a webhook that is to be made next, and when: the oldest of some room, whose turn it is soonest.
#[must_use]
pub fn next(webhook: &Webhook) -> Option<(&Delivery, DateTime<Utc>)> {
    let heads = webhook.heads().into_iter();
    let timed = heads.map(|delivery| (delivery, delivery.again_at.unwrap_or(delivery.at)));
    timed.min_by_key(|(delivery, at)| (*at, delivery.at))
}

/// What the receiver is sent (REST reference §8).
#[must_use]
pub fn envelope(delivery: &Delivery, public_url: &str) -> Value {
    let mut data = json!({"room_name": delivery.room_name});
    if delivery.event == Topic::RoomStarted {
        let url = format!("{}/rooms/{}", public_url.replacen("http", "ws", 1), delivery.room_name);
        data["room_url"] = url.into();
    }
    // The clients leave alone what they do not know. By its id a receiver knows a call that is repeated.
    data["delivery_id"] = delivery.id.to_string().into();
    json!({"event": delivery.event.as_str(), "data": data})
}

/// Of the webhooks whose calls are due, those whose turn it is, the longest due first. The end of a call that is under
/// way has them looked at again.
#[must_use]
pub fn turns(mut due: Vec<(DateTime<Utc>, WebhookId)>, busy: &HashSet<WebhookId>) -> Vec<WebhookId> {
    let mut under_way: HashMap<ProjectId, usize> = HashMap::new();
    for id in busy {
        *under_way.entry(id.project()).or_default() += 1;
    }
    due.sort_unstable();
    let mut fits = |id: &WebhookId| {
        let calls = under_way.entry(id.project()).or_default();
        *calls += 1;
        *calls <= PROJECT_CALLS_MAX
    };
    due.into_iter().map(|(_, id)| id).filter(|id| fits(id)).collect()
}

impl Webhooks {
    #[must_use]
    pub fn new(parts: ControlParts, done: watch::Sender<u64>) -> Self {
        Self { parts, calls: Workers::new(done), elsewhere: Arc::default() }
    }

    fn begin(&self, id: WebhookId) {
        let parts = self.parts.clone();
        let (clock, elsewhere) = (Arc::clone(&parts.app.clock), Arc::clone(&self.elsewhere));
        let work = async move {
            if let Some(until) = turn(&parts, id).await? {
                locked(&elsewhere).insert(id, until);
            }
            Ok(())
        };
        self.calls.begin(id, id.uuid().as_u128(), move || clock.now(), work);
    }

    /// When a call may begin that is due at `at`.
    fn free_at(&self, id: WebhookId, at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let held = self.calls.held_until(&id, now);
        let elsewhere = locked(&self.elsewhere).get(&id).copied();
        [held, elsewhere].into_iter().flatten().fold(at, DateTime::max)
    }
}

fn locked(elsewhere: &Elsewhere) -> MutexGuard<'_, HashMap<WebhookId, DateTime<Utc>>> {
    elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Controller for Webhooks {
    const NAME: &'static str = "webhook";

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        let (world, now) = (self.parts.app.world(), self.parts.app.clock.now());
        let busy = self.calls.busy();
        locked(&self.elsewhere).retain(|_, until| *until > now);
        let mut due = Vec::new();
        for (id, webhook) in world.projects().flat_map(|(project, _)| world.webhooks(project)) {
            let Some((_, at)) = next(webhook).filter(|_| !busy.contains(&id)) else { continue };
            let at = self.free_at(id, at, now);
            if at > now {
                outcome.due(at);
                continue;
            }
            due.push((at, id));
        }
        for id in turns(due, &busy) {
            self.begin(id);
            outcome.steps += 1;
        }
        Ok(outcome)
    }
}

/// One call, under the webhook's lease, with what came of it recorded. Where another server makes it: until when that
/// one has the lease.
async fn turn(parts: &ControlParts, id: WebhookId) -> Result<Option<DateTime<Utc>>, Error> {
    let name = format!("webhook/{id}");
    let url = &parts.app.settings.server_url;
    let lease = match parts.leases.acquire(&name, &parts.holder, url, LEASE_TTL).await {
        Ok(lease) => lease,
        Err(LeaseError::Held(other)) => return Ok(Some(other.until)),
        Err(error) => return Err(error.into()),
    };
    let done = call(parts, id).await;
    parts.leases.release(&lease).await?;
    done.map(|()| None)
}

async fn call(parts: &ControlParts, id: WebhookId) -> Result<(), Error> {
    let world = parts.app.world();
    let now = parts.app.clock.now();
    let Some(webhook) = world.webhook(id) else { return Ok(()) };
    let Some((delivery, _)) = next(webhook).filter(|(_, at)| *at <= now) else { return Ok(()) };
    let outward = &parts.settings.outward;
    let secret = parts.app.webhook_secret(outward, id.project()).await?;
    let event = envelope(delivery, &parts.app.settings.public_url);
    let sent = match Url::parse(&webhook.wanted.url) {
        Ok(url) => webhook::send(url, &event, secret.expose(), &outward.allowed).await,
        Err(error) => Err(WebhookError::Refused(Refused::Invalid(format!("the url is no URL: {error}")))),
    };
    let (room, kind) = (delivery.room, delivery.event.as_str());
    match sent {
        Ok(()) => {
            tracing::debug!(webhook = %id, %room, kind, "a webhook was called");
            parts.app.webhook_delivered(&actor(), id, delivery.id).await?;
        }
        Err(error) => {
            tracing::warn!(webhook = %id, %room, kind, %error, "a webhook's call failed");
            let again = may_help(&error);
            parts.app.webhook_failed(&actor(), id, delivery.id, error.to_string(), again).await?;
        }
    }
    Ok(())
}

/// Whether the same call may do better later.
fn may_help(error: &WebhookError) -> bool {
    match error {
        WebhookError::Refused(Refused::NotPublic(_) | Refused::Invalid(_)) | WebhookError::TooLong { .. } => {
            false
        }
        WebhookError::Answered { status, .. } => *status != GONE,
        WebhookError::Refused(_) | WebhookError::Unreachable { .. } | WebhookError::Unsigned => true,
    }
}

fn actor() -> Actor {
    Actor::controller(Webhooks::NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Entity;
    use crate::domain::webhook::{Command, Wanted};
    use crate::id::RoomId;
    use crate::name::RoomName;
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn delivery(room: u128, seconds: i64, again: Option<i64>) -> Delivery {
        Delivery {
            id: Uuid::from_u128(9),
            event: Topic::RoomStarted,
            room: RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(room)),
            room_name: RoomName::new("desk").unwrap(),
            at: at(seconds),
            attempts: 0,
            again_at: again.map(at),
            reason: None,
        }
    }

    #[test]
    fn the_room_whose_turn_is_soonest_is_next_and_never_its_second_call() {
        let wanted = Wanted {
            name: "w".into(),
            url: "https://h/".into(),
            events: Topic::ALL.into(),
            description: String::new(),
        };
        let made = Webhook::decide(None, Command::Create(wanted)).unwrap();
        let mut webhook = Webhook::evolve(None, &made[0], at(0)).unwrap();
        assert_eq!(next(&webhook), None);
        webhook.tell(delivery(1, 10, Some(60)));
        webhook.tell(delivery(1, 11, None));
        assert_eq!(next(&webhook).unwrap().1, at(60), "the second waits for the first");
        webhook.tell(delivery(2, 20, None));
        assert_eq!(next(&webhook).unwrap().1, at(20), "another room does not");
    }

    #[test]
    fn calls_are_as_the_clients_read_them() {
        let started = envelope(&delivery(1, 1, None), "https://h");
        let id = Uuid::from_u128(9).to_string();
        let data = json!({"room_name": "desk", "room_url": "wss://h/rooms/desk", "delivery_id": id});
        assert_eq!(started, json!({"event": "room.started", "data": data}));
        let ended = envelope(&Delivery { event: Topic::RoomEnded, ..delivery(1, 1, None) }, "https://h");
        let data = json!({"room_name": "desk", "delivery_id": id});
        assert_eq!(ended, json!({"event": "room.ended", "data": data}));
    }

    #[test]
    fn what_cannot_become_better_is_not_tried_again() {
        let answered = |status| WebhookError::Answered { host: "h".into(), status };
        let down = WebhookError::Unreachable { host: "h".into(), why: "down".into() };
        for error in [answered(500), answered(404), answered(302), answered(429), down] {
            assert!(may_help(&error), "{error}");
        }
        let refused = WebhookError::Refused(Refused::NotPublic("h".into()));
        for error in [answered(GONE), refused, WebhookError::TooLong { bytes: 1 }] {
            assert!(!may_help(&error), "{error}");
        }
    }

    #[test]
    fn a_project_has_so_many_calls_under_way_and_the_others_theirs() {
        let id = |project: u128, n: u128| {
            WebhookId::new(ProjectId::new(Uuid::from_u128(project)), Uuid::from_u128(n))
        };
        let due = |of: &[(u128, u128)]| -> Vec<_> {
            of.iter().map(|(project, n)| (at(-i64::try_from(*n).unwrap()), id(*project, *n))).collect()
        };
        let many: Vec<_> = (0..20).map(|n| (1, n)).chain([(2, 50)]).collect();
        let none = HashSet::new();
        assert_eq!(turns(due(&many), &none), [id(2, 50), id(1, 19), id(1, 18), id(1, 17), id(1, 16)]);
        let busy = HashSet::from([id(1, 90), id(1, 91), id(1, 92), id(2, 93)]);
        assert_eq!(turns(due(&many), &busy), [id(2, 50), id(1, 19)]);
        let full: HashSet<_> = (90..94).map(|n| id(1, n)).collect();
        assert_eq!(turns(due(&many), &full), [id(2, 50)]);
        assert_eq!(turns(vec![], &full), []);
    }
}

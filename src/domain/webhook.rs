//! A webhook of a project: an address that is called when rooms start and end.
//!
//! Deliveries follow from the log alone: a session's fact adds one to every webhook that wants it, and the facts of a
//! webhook say what became of each. A room's deliveries go out in order: the next one waits for the one before it.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::RoomId;
use crate::name::RoomName;
use chrono::{DateTime, TimeDelta, Utc};
use imbl::Vector;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Deliveries of one webhook that wait at once; beyond, the oldest is a dead letter.
pub const WAITING_MAX: usize = 1_000;
/// Dead letters kept per webhook, the newest; the log has them all.
pub const DEAD_MAX: usize = 100;
/// Tries of one delivery.
pub const ATTEMPTS_MAX: u32 = 15;
/// Wait after the first try that failed; each further one doubles it.
pub const RETRY_FIRST: TimeDelta = TimeDelta::seconds(1);
/// Longest wait between two tries.
pub const RETRY_MAX: TimeDelta = TimeDelta::hours(1);
/// Webhooks of one project.
pub const WEBHOOKS_MAX: usize = 100;
/// Characters of a name, a description or a reason that are kept.
pub const TEXT_CHARS_MAX: usize = 1_000;
/// Bytes of an address.
pub const URL_BYTES_MAX: usize = 2_048;

/// What a webhook can be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Topic {
    #[serde(rename = "room.started")]
    RoomStarted,
    #[serde(rename = "room.ended")]
    RoomEnded,
}

impl Topic {
    pub const ALL: [Self; 2] = [Self::RoomStarted, Self::RoomEnded];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoomStarted => "room.started",
            Self::RoomEnded => "room.ended",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text)
    }
}

/// What is wanted of a webhook; the payload of `webhook.created` and `webhook.updated`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub name: String,
    pub url: String,
    pub events: BTreeSet<Topic>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Fact: the receiver took it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivered {
    pub delivery: Uuid,
}

/// Fact: a try failed, and there will be another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deferred {
    pub delivery: Uuid,
    pub again_at: DateTime<Utc>,
    pub reason: String,
}

/// Fact: no more tries are made; it is a dead letter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Abandoned {
    pub delivery: Uuid,
    pub reason: String,
}

/// Fact: these dead letters wait again, with no tries behind them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replayed {
    pub deliveries: Vec<Uuid>,
}

/// One call to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// Derived from the webhook and the fact it tells of.
    pub id: Uuid,
    pub event: Topic,
    pub room: RoomId,
    pub room_name: RoomName,
    /// When the fact was recorded.
    pub at: DateTime<Utc>,
    /// Tries that failed.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<DateTime<Utc>>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Webhook {
    pub wanted: Wanted,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// In the order of the facts.
    pub waiting: Vector<Delivery>,
    /// Newest last.
    pub dead: Vector<Delivery>,
    /// How many the receiver took.
    pub delivered: u64,
    /// How many became dead letters.
    pub abandoned: u64,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Wanted),
    Update(Wanted),
    Deliver(Uuid),
    /// A try failed; `again`: whether another one may help.
    Fail {
        delivery: Uuid,
        reason: String,
        again: bool,
        now: DateTime<Utc>,
    },
    /// Put dead letters back; all of them where none are named.
    Replay(Vec<Uuid>),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the webhook exists already; update it instead")]
    Exists,
    #[error("the webhook does not exist; `meshagent webhook list` shows those that do")]
    NotFound,
    #[error("a webhook needs a name; give one")]
    NoName,
    #[error("a webhook needs events, such as `room.started`; name at least one")]
    NoEvents,
    #[error("the {what} of a webhook has at most {max} {unit}; shorten it")]
    TooLong { what: &'static str, max: usize, unit: &'static str },
    #[error("a project has at most {WEBHOOKS_MAX} webhooks; delete one that is not needed")]
    TooMany,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::TooMany => Refusal::State,
            Self::NoName | Self::NoEvents | Self::TooLong { .. } => Refusal::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "webhook-exists",
            Self::NotFound => "webhook-not-found",
            Self::TooMany => "webhook-limit",
            Self::NoName | Self::NoEvents | Self::TooLong { .. } => "webhook-invalid",
        }
    }
}

/// When a delivery is tried again after `attempts` that failed; `None`: no more.
#[must_use]
pub fn again_at(attempts: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if attempts >= ATTEMPTS_MAX {
        return None;
    }
    let wait = RETRY_FIRST.checked_mul(1 << attempts.saturating_sub(1).min(20)).unwrap_or(RETRY_MAX);
    Some(now + wait.min(RETRY_MAX))
}

/// Id of the call that tells a webhook of a fact: the same however often it is worked out.
#[must_use]
pub fn delivery_id(webhook: Uuid, fact: Uuid) -> Uuid {
    Uuid::new_v5(&webhook, fact.as_bytes())
}

impl Wanted {
    fn check(&self) -> Result<(), Refused> {
        let long = |what, text: &str| {
            let fits = text.chars().count() <= TEXT_CHARS_MAX;
            if fits {
                Ok(())
            } else {
                Err(Refused::TooLong { what, max: TEXT_CHARS_MAX, unit: "characters" })
            }
        };
        if self.name.trim().is_empty() {
            return Err(Refused::NoName);
        }
        if self.events.is_empty() {
            return Err(Refused::NoEvents);
        }
        if self.url.len() > URL_BYTES_MAX {
            return Err(Refused::TooLong { what: "url", max: URL_BYTES_MAX, unit: "bytes" });
        }
        long("name", &self.name)?;
        long("description", &self.description)
    }
}

impl Webhook {
    /// Adds a call where the webhook wants to hear of this.
    pub fn tell(&mut self, delivery: Delivery) {
        if !self.wanted.events.contains(&delivery.event) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            let reason = format!("more than {WAITING_MAX} calls waited for the receiver");
            self.bury(Delivery { reason: Some(reason), ..oldest });
        }
        self.waiting.push_back(delivery);
    }

    /// Of each room the oldest call that waits; the others wait for it.
    #[must_use]
    pub fn heads(&self) -> Vec<&Delivery> {
        let mut rooms: BTreeMap<RoomId, &Delivery> = BTreeMap::new();
        for delivery in &self.waiting {
            rooms.entry(delivery.room).or_insert(delivery);
        }
        rooms.into_values().collect()
    }

    fn waits(&self, id: Uuid) -> Option<&Delivery> {
        self.waiting.iter().find(|delivery| delivery.id == id)
    }

    fn take(&mut self, id: Uuid) -> Option<Delivery> {
        let at = self.waiting.iter().position(|delivery| delivery.id == id)?;
        Some(self.waiting.remove(at))
    }

    fn bury(&mut self, delivery: Delivery) {
        if self.dead.len() >= DEAD_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(Delivery { again_at: None, ..delivery });
        self.abandoned += 1;
    }

    fn fail(&self, delivery: Uuid, reason: &str, again: bool, now: DateTime<Utc>) -> Vec<Event> {
        let Some(waiting) = self.waits(delivery) else { return vec![] };
        let reason: String = reason.chars().take(TEXT_CHARS_MAX).collect();
        match again_at(waiting.attempts + 1, now).filter(|_| again) {
            Some(again_at) => vec![Event::WebhookDeferred(Deferred { delivery, again_at, reason })],
            None => vec![Event::WebhookAbandoned(Abandoned { delivery, reason })],
        }
    }

    fn replay(&self, ids: &[Uuid]) -> Vec<Event> {
        let wanted = |delivery: &&Delivery| ids.is_empty() || ids.contains(&delivery.id);
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        let deliveries: Vec<Uuid> = self.dead.iter().filter(wanted).map(|d| d.id).take(room).collect();
        if deliveries.is_empty() { vec![] } else { vec![Event::WebhookReplayed(Replayed { deliveries })] }
    }

    fn rise(&mut self, id: Uuid) {
        let Some(at) = self.dead.iter().position(|delivery| delivery.id == id) else { return };
        let delivery = Delivery { attempts: 0, again_at: None, reason: None, ..self.dead.remove(at) };
        // Back to its place among what waits, so that a room's calls keep their order.
        let place =
            self.waiting.iter().position(|other| other.at > delivery.at).unwrap_or(self.waiting.len());
        self.waiting.insert(place, delivery);
    }

    fn apply(&mut self, event: &Event, at: DateTime<Utc>) {
        match event {
            Event::WebhookUpdated(wanted) => {
                self.wanted = wanted.clone();
                self.updated_at = at;
                // What was changed may be what was wrong: nothing waits for its next try.
                self.waiting.iter_mut().for_each(|delivery| delivery.again_at = None);
            }
            Event::WebhookDelivered(fact) if self.take(fact.delivery).is_some() => {
                self.delivered += 1;
            }
            Event::WebhookDeferred(fact) => {
                if let Some(delivery) = self.waiting.iter_mut().find(|d| d.id == fact.delivery) {
                    delivery.attempts += 1;
                    delivery.again_at = Some(fact.again_at);
                    delivery.reason = Some(fact.reason.clone());
                }
            }
            Event::WebhookAbandoned(fact) => {
                if let Some(delivery) = self.take(fact.delivery) {
                    let attempts = delivery.attempts + 1;
                    self.bury(Delivery { attempts, reason: Some(fact.reason.clone()), ..delivery });
                }
            }
            Event::WebhookReplayed(fact) => fact.deliveries.iter().for_each(|id| self.rise(*id)),
            _ => {}
        }
    }
}

impl Entity for Webhook {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, Command::Create(wanted)) => {
                wanted.check()?;
                Ok(vec![Event::WebhookCreated(wanted)])
            }
            (None, _) => Err(Refused::NotFound),
            (Some(webhook), Command::Update(wanted)) if wanted == webhook.wanted => Ok(vec![]),
            (Some(_), Command::Update(wanted)) => {
                wanted.check()?;
                Ok(vec![Event::WebhookUpdated(wanted)])
            }
            (Some(webhook), Command::Deliver(delivery)) => Ok(match webhook.waits(delivery) {
                Some(_) => vec![Event::WebhookDelivered(Delivered { delivery })],
                None => vec![],
            }),
            (Some(webhook), Command::Fail { delivery, reason, again, now }) => {
                Ok(webhook.fail(delivery, &reason, again, now))
            }
            (Some(webhook), Command::Replay(ids)) => Ok(webhook.replay(&ids)),
            (Some(_), Command::Delete) => Ok(vec![Event::WebhookDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::WebhookCreated(wanted) => Some(Self {
                wanted: wanted.clone(),
                created_at: at,
                updated_at: at,
                waiting: Vector::new(),
                dead: Vector::new(),
                delivered: 0,
                abandoned: 0,
            }),
            Event::WebhookDeleted(_) => None,
            event => state.map(|mut webhook| {
                webhook.apply(event, at);
                webhook
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn wanted(events: &[Topic]) -> Wanted {
        let events = events.iter().copied().collect();
        Wanted { name: "w".into(), url: "https://h/".into(), events, description: String::new() }
    }

    fn webhook() -> Webhook {
        let events = Webhook::decide(None, Command::Create(wanted(&[Topic::RoomStarted]))).unwrap();
        Webhook::evolve(None, &events[0], at(0)).unwrap()
    }

    fn delivery(room: u128, n: u128) -> Delivery {
        Delivery {
            id: Uuid::from_u128(n),
            event: Topic::RoomStarted,
            room: RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(room)),
            room_name: RoomName::new("r").unwrap(),
            at: at(i64::try_from(n).unwrap()),
            attempts: 0,
            again_at: None,
            reason: None,
        }
    }

    fn run(webhook: Webhook, command: Command) -> Webhook {
        let events = Webhook::decide(Some(&webhook), command).unwrap();
        events.iter().fold(webhook, |webhook, event| Webhook::evolve(Some(webhook), event, at(9)).unwrap())
    }

    fn fail(webhook: Webhook, n: u128, again: bool) -> Webhook {
        let delivery = Uuid::from_u128(n);
        run(webhook, Command::Fail { delivery, reason: "down".into(), again, now: at(100) })
    }

    fn ids(deliveries: &Vector<Delivery>) -> Vec<u128> {
        deliveries.iter().map(|delivery| delivery.id.as_u128()).collect()
    }

    #[test]
    fn a_rooms_calls_go_one_after_another_and_rooms_do_not_wait_for_each_other() {
        let mut webhook = webhook();
        for (room, n) in [(1, 10), (1, 11), (2, 12)] {
            webhook.tell(delivery(room, n));
        }
        webhook.tell(Delivery { event: Topic::RoomEnded, ..delivery(1, 13) });
        let heads = |webhook: &Webhook| -> Vec<u128> {
            webhook.heads().iter().map(|delivery| delivery.id.as_u128()).collect()
        };
        assert_eq!(heads(&webhook), [10, 12]);
        webhook = fail(webhook, 10, true);
        assert_eq!(heads(&webhook), [10, 12], "it stays before the next of its room");
        assert_eq!((webhook.waiting[0].attempts, webhook.waiting[0].again_at), (1, Some(at(101))));
        webhook = run(webhook, Command::Deliver(Uuid::from_u128(10)));
        assert_eq!((heads(&webhook), webhook.delivered), (vec![11, 12], 1));
        assert_eq!(Webhook::decide(Some(&webhook), Command::Deliver(Uuid::from_u128(10))), Ok(vec![]));
    }

    #[test]
    fn tries_end_in_a_dead_letter_that_can_be_replayed_in_its_place() {
        let mut webhook = webhook();
        webhook.tell(delivery(1, 10));
        webhook.tell(delivery(1, 11));
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(ids(&webhook.waiting), [10, 11]);
            webhook = fail(webhook, 10, true);
        }
        assert_eq!((ids(&webhook.waiting), ids(&webhook.dead)), (vec![11], vec![10]));
        assert_eq!(webhook.dead[0].attempts, ATTEMPTS_MAX);
        webhook = fail(webhook, 11, false);
        assert_eq!((ids(&webhook.dead), webhook.abandoned), (vec![10, 11], 2), "another try would not help");
        webhook.tell(delivery(1, 12));
        webhook = run(webhook, Command::Replay(vec![]));
        assert_eq!((ids(&webhook.waiting), ids(&webhook.dead)), (vec![10, 11, 12], vec![]));
        assert_eq!(webhook.waiting[0].attempts, 0);
        assert_eq!(Webhook::decide(Some(&webhook), Command::Replay(vec![])), Ok(vec![]));
    }

    #[test]
    fn waits_double_up_to_an_hour() {
        let wait = |attempts| again_at(attempts, at(0)).map(|at| at.timestamp());
        assert_eq!([1, 2, 3, 12, 13, 14].map(wait), [1, 2, 4, 2048, 3600, 3600].map(Some));
        assert_eq!(wait(ATTEMPTS_MAX), None);
    }

    #[test]
    fn what_waits_and_what_is_dead_is_bounded() {
        let mut webhook = webhook();
        for n in 0..(WAITING_MAX + DEAD_MAX + 5) as u128 {
            webhook.tell(delivery(n, n));
        }
        assert_eq!((webhook.waiting.len(), webhook.dead.len()), (WAITING_MAX, DEAD_MAX));
        assert_eq!(webhook.abandoned, DEAD_MAX as u64 + 5);
        assert!(webhook.dead[0].reason.as_ref().unwrap().contains("calls waited"));
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        let long = "x".repeat(TEXT_CHARS_MAX + 1);
        let good = wanted(&Topic::ALL);
        for (bad, code) in [
            (Wanted { name: " ".into(), ..good.clone() }, Refused::NoName),
            (wanted(&[]), Refused::NoEvents),
            (
                Wanted { description: long, ..good.clone() },
                Refused::TooLong { what: "description", max: TEXT_CHARS_MAX, unit: "characters" },
            ),
        ] {
            assert_eq!(Webhook::decide(None, Command::Create(bad.clone())), Err(code.clone()));
            assert_eq!(Webhook::decide(Some(&webhook()), Command::Update(bad)), Err(code));
        }
        assert_eq!(Webhook::decide(None, Command::Delete), Err(Refused::NotFound));
    }
}

//! Subscriptions of agents to events of their room: an annotation names the event, its value the queue that gets it
//! (specs reference §2).
//!
//! What is to be delivered follows from the log alone: the fold notes it with the fact itself, under the subscriptions
//! that stand at that moment, and forgets it when its delivery is a fact.

use super::Event;
use super::service::Service;
use crate::id::{Position, ProjectId, RoomId, StreamId};
use crate::spec::EVENT_PREFIX;
use imbl::Vector;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Notices of one project that wait at once; beyond, the oldest are given up.
pub const WAITING_MAX: usize = 10_000;

/// The event of a subscription that this fact is.
#[must_use]
pub fn topic(event: &Event) -> Option<&'static str> {
    match event {
        Event::ServiceCreated(_) => Some("service.created"),
        Event::ServiceUpdated(_) => Some("service.updated"),
        Event::RoomUserGranted(_) => Some("room.user.grant.create"),
        Event::RoomUserChanged(_) => Some("room.user.grant.update"),
        Event::RoomUserRevoked(_) => Some("room.user.grant.delete"),
        _ => None,
    }
}

/// Fact: everything that was noted up to a position is in its queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivered {
    pub up_to: Position,
}

/// One item to put into a queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Of the fact it tells of.
    pub position: Position,
    pub room: RoomId,
    pub queue: String,
}

/// What a project's subscribers are still to be told, oldest first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Notices {
    pub waiting: Vector<Notice>,
    /// How many were given up because too many waited.
    pub given_up: u64,
}

impl Notices {
    pub const CATEGORY: &'static str = "subscription";

    #[must_use]
    pub fn stream(project: ProjectId) -> StreamId {
        StreamId::new(Self::CATEGORY, project)
    }

    /// Adds what one fact has to tell.
    pub fn note(&mut self, position: Position, targets: BTreeSet<(RoomId, String)>) {
        for (room, queue) in targets {
            if self.waiting.len() >= WAITING_MAX {
                self.waiting.pop_front();
                self.given_up += 1;
            }
            self.waiting.push_back(Notice { position, room, queue });
        }
    }

    /// The fact that all up to a position was delivered, where something of that waits.
    #[must_use]
    pub fn deliver(&self, up_to: Position) -> Vec<Event> {
        let waits = self.waiting.front().is_some_and(|notice| notice.position <= up_to);
        if waits { vec![Event::SubscriptionDelivered(Delivered { up_to })] } else { vec![] }
    }

    pub fn evolve(&mut self, event: &Event) {
        if let Event::SubscriptionDelivered(delivered) = event {
            while self.waiting.front().is_some_and(|notice| notice.position <= delivered.up_to) {
                self.waiting.pop_front();
            }
        }
    }
}

/// Rooms and queues that get an event about `room`, or about the whole project where that is `None`. Each queue once,
/// however many agents name it. A project's agent is in every room: it hears of one room there, and of the project in
/// the rooms that run.
pub fn targets<'a>(
    topic: &str,
    room: Option<RoomId>,
    services: impl Iterator<Item = &'a Service>,
    running: impl Fn() -> Vec<RoomId>,
) -> BTreeSet<(RoomId, String)> {
    let mut targets = BTreeSet::new();
    for service in services.filter(|service| service.spec.enabled) {
        for queue in queues(service, topic) {
            let rooms = match (room, service.room) {
                (Some(room), Some(own)) if room != own => continue,
                (Some(room), _) | (None, Some(room)) => vec![room],
                (None, None) => running(),
            };
            targets.extend(rooms.into_iter().map(|room| (room, queue.to_owned())));
        }
    }
    targets
}

/// Whether an agent of the service subscribes to anything.
#[must_use]
pub fn subscribes(service: &Service) -> bool {
    let keys = service.spec.agents().iter().filter_map(|agent| agent.annotations.as_ref());
    keys.flat_map(|notes| notes.keys()).any(|key| key.starts_with(EVENT_PREFIX))
}

fn queues<'a>(service: &'a Service, topic: &str) -> impl Iterator<Item = &'a str> {
    let key = format!("{EVENT_PREFIX}{topic}");
    service.spec.agents().iter().filter_map(move |agent| agent.annotation(&key)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::json;
    use uuid::Uuid;

    fn room(n: u128) -> RoomId {
        RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(n))
    }

    fn service(own: Option<RoomId>, enabled: bool, queue: &str) -> Service {
        let spec = json!({"version": "v1", "kind": "Service", "enabled": enabled, "metadata": {"name": "s"},
            "agents": [{"name": "a", "annotations": {"meshagent.events.service.created": queue}}]});
        let at = DateTime::UNIX_EPOCH;
        let spec = serde_json::from_value(spec).unwrap();
        let (generation, run_generation, paused_at) = (1, 1, None);
        Service { room: own, spec, generation, run_generation, created_at: at, updated_at: at, paused_at }
    }

    fn told(about: Option<RoomId>, services: &[Service]) -> Vec<(u128, String)> {
        let targets = targets("service.created", about, services.iter(), || vec![room(8), room(9)]);
        targets.into_iter().map(|(room, queue)| (room.uuid().as_u128(), queue)).collect()
    }

    #[test]
    fn the_agents_of_a_room_hear_of_it_and_of_their_project() {
        let services = [
            service(Some(room(2)), true, "own"),
            service(Some(room(2)), true, " own "),
            service(Some(room(3)), true, "other"),
            service(Some(room(2)), false, "off"),
            service(None, true, "all"),
        ];
        let said = |pairs: &[(u128, &str)]| -> Vec<(u128, String)> {
            pairs.iter().map(|(room, queue)| (*room, (*queue).to_owned())).collect()
        };
        assert_eq!(told(Some(room(2)), &services), said(&[(2, "all"), (2, "own")]));
        assert_eq!(told(None, &services), said(&[(2, "own"), (3, "other"), (8, "all"), (9, "all")]));
        let none = targets("service.updated", Some(room(2)), services.iter(), Vec::new);
        assert_eq!(none, BTreeSet::new());
    }

    #[test]
    fn what_was_delivered_is_forgotten_and_what_waits_is_bounded() {
        let mut notices = Notices::default();
        let one = || BTreeSet::from([(room(2), "q".to_owned())]);
        notices.note(Position(5), one());
        notices.note(Position(7), one());
        assert_eq!(notices.deliver(Position(4)), vec![], "nothing of that waits");
        let events = notices.deliver(Position(5));
        events.iter().for_each(|event| notices.evolve(event));
        assert_eq!(notices.waiting.iter().map(|n| n.position.0).collect::<Vec<_>>(), [7]);
        for position in 8..8 + WAITING_MAX as u64 {
            notices.note(Position(position), one());
        }
        assert_eq!((notices.waiting.len(), notices.given_up), (WAITING_MAX, 1));
    }
}

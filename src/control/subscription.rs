//! Subscriptions: puts what agents subscribed to into their queues, and opens the rooms so that they take it.
//!
//! What is to be told is in the fold of the log, and leaves it when its delivery is a fact. An item's id follows from
//! the fact, the room and the queue: servers that do the same, or one that was killed in between, put it there once.

use super::fresh::Fresh;
use super::{ControlParts, Controller, Error, Outcome};
use crate::app::Actor;
use crate::domain::service::{Created, Updated};
use crate::domain::subscription::{Notice, topic};
use crate::domain::{DecodeError, Event};
use crate::eventlog::{Filter, Recorded};
use crate::id::{Position, ProjectId, RoomId};
use crate::name::QueueName;
use crate::projection::World;
use crate::queue::{ItemId, NewItem, QueueKey};
use serde_json::{Value, json};
use uuid::Uuid;

/// Notices of a project that one run delivers; the next run follows at once.
pub const BATCH_MAX: usize = 200;

/// The controller of subscriptions.
pub struct Subscriptions {
    parts: ControlParts,
    fresh: Fresh,
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriptions").finish_non_exhaustive()
    }
}

/// Id of the item that tells a queue of a fact: the same on every server and at every retry.
#[must_use]
pub fn item_id(notice: &Notice) -> Uuid {
    let text = format!("event/{}/{}", notice.position, notice.queue);
    Uuid::new_v5(&notice.room.uuid(), text.as_bytes())
}

impl Subscriptions {
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        Self { parts, fresh: Fresh::default() }
    }

    /// Delivers what waits in one project, oldest first.
    async fn deliver(&self, world: &World, project: ProjectId, outcome: &mut Outcome) -> Result<(), Error> {
        let mut fact: Option<Recorded> = None;
        let mut last = Position(0);
        for (at, notice) in world.notices(project).enumerate() {
            // All of one fact goes in one run: that it was delivered is recorded by its position.
            if at >= BATCH_MAX && notice.position != last {
                break;
            }
            if fact.as_ref().is_none_or(|fact| fact.position != notice.position) {
                fact = self.read(notice.position).await?;
            }
            if let Some(fact) = &fact {
                self.send(world, notice, fact).await?;
            }
            last = notice.position;
            outcome.steps += 1;
        }
        if last.0 > 0 {
            self.parts.app.record_notices(&actor(), project, last).await?;
        }
        Ok(())
    }

    async fn read(&self, position: Position) -> Result<Option<Recorded>, Error> {
        let before = Position(position.0.saturating_sub(1));
        let page = self.parts.app.log.read(before, &Filter::all(), 1).await;
        let page = page.map_err(crate::app::Error::Read)?;
        Ok(page.into_iter().find(|event| event.position == position))
    }

    async fn send(&self, world: &World, notice: &Notice, fact: &Recorded) -> Result<(), Error> {
        let given_up = |why: String| {
            let (room, queue, position) = (notice.room, &notice.queue, notice.position);
            tracing::warn!(%room, queue, %position, why, "an event could not be delivered to its subscriber");
        };
        let body = match body(world, notice.room, fact) {
            Ok(Some(body)) => body.to_string(),
            Ok(None) => return Ok(()),
            Err(error) => {
                return {
                    let _: () = given_up(error.to_string());
                    Ok(())
                };
            }
        };
        let name = match QueueName::new(notice.queue.as_str()) {
            Ok(name) => name,
            Err(error) => {
                return {
                    let _: () = given_up(error.to_string());
                    Ok(())
                };
            }
        };
        let item = NewItem::with_id(ItemId(item_id(notice)), body);
        match self.parts.queues.send(&QueueKey::new(notice.room, name), item, true).await {
            Ok(_) => self.fresh.add(notice.room, self.parts.app.clock.now()),
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => given_up(error.to_string()),
        }
        Ok(())
    }
}

/// What a queue is told of a fact, in the form of a webhook; nothing where the room is gone.
fn body(world: &World, room: RoomId, fact: &Recorded) -> Result<Option<Value>, DecodeError> {
    let event = Event::decode(&fact.kind, fact.schema_version, &fact.data)?;
    let (Some(room), Some((about, what))) = (world.room(room), about(fact, &event)) else { return Ok(None) };
    let mut data = json!({"room_name": room.name, "by": fact.metadata.actor, "at": fact.recorded_at});
    data[about] = what;
    Ok(Some(json!({"event": topic(&event), "data": data})))
}

/// What a service's container is made of stays out: it may have secrets in it.
fn about(fact: &Recorded, event: &Event) -> Option<(&'static str, Value)> {
    match event {
        Event::ServiceCreated(Created { spec, .. }) | Event::ServiceUpdated(Updated { spec }) => {
            let agents: Vec<&str> = spec.agents().iter().map(|agent| agent.name.as_str()).collect();
            let service = json!({
                "id": fact.stream.key(), "metadata": spec.metadata, "enabled": spec.enabled, "agents": agents,
            });
            Some(("service", service))
        }
        Event::RoomUserGranted(granted) | Event::RoomUserChanged(granted) => {
            Some(("user", json!({"id": granted.user, "email": granted.user, "roles": granted.roles})))
        }
        Event::RoomUserRevoked(revoked) => {
            Some(("user", json!({"id": revoked.user, "email": revoked.user, "roles": []})))
        }
        _ => None,
    }
}

impl Controller for Subscriptions {
    const NAME: &'static str = "subscription";

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        let world = self.parts.app.world();
        for (project, _) in world.projects() {
            self.deliver(&world, project, &mut outcome).await?;
        }
        self.fresh.open_rooms(&self.parts, &mut outcome).await;
        Ok(outcome)
    }
}

fn actor() -> Actor {
    Actor::controller(Subscriptions::NAME)
}

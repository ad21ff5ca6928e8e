//! Sessions: ends those that are idle, too old, or whose room is gone; closes those whose server is gone and opens
//! their rooms anew; opens rooms with work waiting when the server starts.
//!
//! [`plan`] decides; this file gathers facts and carries out. It knows nothing of sockets: a room's host is a port.

pub mod plan;

use super::{ControlParts, Controller, Error, Outcome, backoff, service};
use crate::app::Actor;
use crate::app::host::lease_name;
use crate::domain::room::Room;
use crate::domain::session::{Reason, Session};
use crate::id::{ProjectId, RoomId, SessionId};
use crate::name::QueueName;
use crate::projection::World;
use chrono::{DateTime, TimeDelta, Utc};
use plan::{Facts, Place, Step, Wanted, plan};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rooms whose queues are looked at when the server starts.
pub const BOOT_ROOMS_MAX: usize = 10_000;
/// A room's service that was made or changed within this time opens its room, once.
pub const NEW_SERVICE_WINDOW: TimeDelta = TimeDelta::minutes(10);

/// The controller of sessions.
pub struct Sessions {
    parts: ControlParts,
    /// Sessions that the log showed running here when this run of the server began.
    orphans: HashSet<SessionId>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Rooms found with work under way, and when to look again.
    busy_until: HashMap<RoomId, DateTime<Utc>>,
    /// Whether the queues were looked at after the start.
    booted: bool,
    /// Rooms that were found with work waiting then, or that came while they ended, until they are open.
    waiting: BTreeSet<RoomId>,
    /// Rooms that could not be opened: how often, and when to try again.
    refused: HashMap<RoomId, (u32, DateTime<Utc>)>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("orphans", &self.orphans.len()).finish_non_exhaustive()
    }
}

impl Sessions {
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        let world = parts.app.world();
        let own = &parts.app.settings.server_name;
        let here: HashSet<SessionId> = parts.host.live().into_iter().map(|(_, session)| session).collect();
        let orphans = active(&world)
            .filter(|(id, session)| session.host == *own && !here.contains(id))
            .map(|(id, _)| id)
            .collect();
        Self { parts, orphans, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn gather(&self, world: &World) -> Result<Vec<Facts>, Error> {
        let live: BTreeMap<SessionId, RoomId> =
            self.parts.host.live().into_iter().map(|(room, session)| (session, room)).collect();
        let mut all = Vec::new();
        for (id, session) in active(world) {
            let place = if live.contains_key(&id) {
                Place::Live { idle_since: self.parts.host.idle_since(session.room) }
            } else if session.host == self.parts.app.settings.server_name {
                Place::NotLive { orphan: self.orphans.contains(&id) }
            } else {
                Place::Elsewhere { gone: self.is_gone(session).await? }
            };
            all.push(self.facts(world, id, session, place));
        }
        for (id, room) in live {
            if let Some(ended) = world.session(id).filter(|s| !s.is_active()) {
                let idle_since = self.parts.host.idle_since(room);
                all.push(self.facts(world, id, ended, Place::Live { idle_since }));
            }
        }
        Ok(all)
    }

    fn facts(&self, world: &World, id: SessionId, session: &Session, place: Place) -> Facts {
        Facts {
            room: session.room,
            session: id,
            started_at: session.started_at,
            place,
            ended: session.ended.map(|(_, reason)| reason),
            wanted: world.room(session.room).map(|room| self.wanted(room)),
            busy_until: self.memory().busy_until.get(&session.room).copied(),
        }
    }

    fn wanted(&self, room: &Room) -> Wanted {
        let seconds = |key: &str| room.annotations.get(key).and_then(|text| plan::seconds(text));
        Wanted {
            enabled: room.enabled,
            empty_seconds: seconds(plan::EMPTY_ROOM_TIMEOUT)
                .or(self.parts.settings.empty_room_seconds)
                .unwrap_or(plan::EMPTY_ROOM_SECONDS),
            max_seconds: seconds(plan::MAX_RUNTIME).filter(|seconds| *seconds > 0),
        }
    }

    /// Whether the server that hosts a session elsewhere has lost it.
    async fn is_gone(&self, session: &Session) -> Result<bool, Error> {
        let lease = self.parts.leases.current(&lease_name(session.room)).await?;
        Ok(lease.is_none_or(|lease| lease.epoch > session.epoch))
    }

    async fn take(&self, step: Step, outcome: &mut Outcome) -> Result<(), Error> {
        match step {
            Step::Wait { until } => {
                outcome.due(until);
                return Ok(());
            }
            Step::End { room, session, reason } => self.end(room, session, reason).await?,
            Step::EndIfUnused { room, session } => {
                let work = self.work(room).await?;
                if work.is_under_way() {
                    let until = self.parts.app.clock.now() + TimeDelta::seconds(plan::BUSY_SECONDS);
                    self.memory().busy_until.insert(room, until);
                    outcome.due(until);
                    return Ok(());
                }
                self.end(room, session, Reason::Idle).await?;
                // Who stored it found the room running, and woke nobody. What waited before is left alone: nobody may want it.
                if self.work(room).await?.has_grown_since(&work) {
                    self.memory().waiting.insert(room);
                }
            }
            Step::Close { session, reason } => {
                tracing::info!(%session, ?reason, "a session is closed whose server is gone");
                self.parts.app.end_session(&actor(), session, reason).await?;
            }
        }
        outcome.steps += 1;
        Ok(())
    }

    async fn end(&self, room: RoomId, session: SessionId, reason: Reason) -> Result<(), Error> {
        tracing::info!(%room, %session, ?reason, "a session ends");
        self.memory().busy_until.remove(&room);
        self.parts.host.end(room, session, reason).await;
        self.parts.app.end_session(&actor(), session, reason).await?;
        Ok(())
    }

    async fn work(&self, room: RoomId) -> Result<Work, Error> {
        let queues = self.parts.queues.list(room).await?;
        Ok(Work(queues.into_iter().map(|queue| (queue.name, (queue.size, queue.leased))).collect()))
    }

    /// At the first run: remembers the rooms with work waiting.
    async fn look_for_waiting_work(&self, world: &World) -> Result<(), Error> {
        if self.memory().booted {
            return Ok(());
        }
        let mut waiting = BTreeSet::new();
        for room in dormant(world).take(BOOT_ROOMS_MAX) {
            let queues = self.parts.queues.list(room).await?;
            if queues.iter().any(|queue| queue.size + queue.leased > 0) {
                waiting.insert(room);
            }
        }
        let mut memory = self.memory();
        memory.waiting = waiting;
        memory.booted = true;
        Ok(())
    }

    /// Opens the rooms that lost their server, whose services are new, or with work waiting since before the start.
    async fn open_rooms(&self, world: &World, outcome: &mut Outcome) {
        if !self.parts.host.takes_rooms() {
            return;
        }
        let mut rooms: BTreeSet<RoomId> =
            world.projects().flat_map(|(project, _)| lost(world, project)).collect();
        let new = service::rooms_with_new_services(world, self.parts.app.clock.now(), NEW_SERVICE_WINDOW);
        rooms.extend(new.into_iter().filter(|room| can_open(world, *room)));
        {
            let mut memory = self.memory();
            memory.waiting.retain(|room| can_open(world, *room) && service::runs_something(world, *room));
            rooms.extend(&memory.waiting);
            memory.refused.retain(|room, _| rooms.contains(room));
        }
        for room in rooms {
            let now = self.parts.app.clock.now();
            let refused = self.memory().refused.get(&room).copied();
            if let Some((_, again)) = refused.filter(|(_, again)| *again > now) {
                outcome.due(again);
                continue;
            }
            match self.parts.host.open(room).await {
                Ok(hosted) => {
                    tracing::info!(%room, session = %hosted.session, "a room is open");
                    let mut memory = self.memory();
                    memory.waiting.remove(&room);
                    memory.refused.remove(&room);
                    outcome.steps += 1;
                }
                Err(error) => {
                    let failures = refused.map_or(1, |(failures, _)| failures.saturating_add(1));
                    let again = now + backoff::delay(failures, room.uuid().as_u128());
                    tracing::warn!(%room, %error, %again, "a room cannot be opened");
                    self.memory().refused.insert(room, (failures, again));
                    outcome.due(again);
                }
            }
        }
    }
}

/// What the queues of a room hold: items that wait, and items that a consumer has on lease or that wait for their next try.
struct Work(BTreeMap<QueueName, (u64, u64)>);

impl Work {
    fn is_under_way(&self) -> bool {
        self.0.values().any(|(_, leased)| *leased > 0)
    }

    fn has_grown_since(&self, before: &Self) -> bool {
        let waited = |name| before.0.get(name).map_or(0, |(size, _)| *size);
        self.is_under_way() || self.0.iter().any(|(name, (size, _))| *size > waited(name))
    }
}

impl Controller for Sessions {
    const NAME: &'static str = "session";

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let app = &self.parts.app;
        let mut outcome = Outcome::default();
        let facts = self.gather(&app.world()).await?;
        let known: HashSet<RoomId> = facts.iter().map(|facts| facts.room).collect();
        self.memory().busy_until.retain(|room, _| known.contains(room));
        for facts in &facts {
            if let Some(step) = plan(facts, app.clock.now()) {
                self.take(step, &mut outcome).await?;
            }
        }
        let world = app.world();
        self.look_for_waiting_work(&world).await?;
        self.open_rooms(&world, &mut outcome).await;
        Ok(outcome)
    }
}

fn actor() -> Actor {
    Actor::controller(Sessions::NAME)
}

fn active(world: &World) -> impl Iterator<Item = (SessionId, &Session)> {
    world
        .projects()
        .flat_map(|(project, _)| world.sessions(project))
        .filter(|(_, session)| session.is_active())
}

/// Rooms of a project whose newest session ended because its server was gone.
fn lost(world: &World, project: ProjectId) -> Vec<RoomId> {
    let mut newest: BTreeMap<RoomId, &Session> = BTreeMap::new();
    for (_, session) in world.sessions(project) {
        let kept = newest.entry(session.room).or_insert(session);
        if session.started_at >= kept.started_at {
            *kept = session;
        }
    }
    newest
        .into_iter()
        .filter(|(room, session)| {
            session.ended.is_some_and(|(_, reason)| reason == Reason::HostGone) && can_open(world, *room)
        })
        .map(|(room, _)| room)
        .collect()
}

/// Enabled rooms without a session in which something would run.
fn dormant(world: &World) -> impl Iterator<Item = RoomId> {
    world
        .projects()
        .flat_map(|(project, _)| world.rooms(project))
        .map(|(id, _)| id)
        .filter(|id| can_open(world, *id) && service::runs_something(world, *id))
}

/// Whether the room may run and does not.
fn can_open(world: &World, id: RoomId) -> bool {
    world.room(id).is_some_and(|room| room.enabled) && world.active_session(id).is_none()
}

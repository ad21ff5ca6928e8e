//! Services: starts, restarts, replaces and stops the processes of the services wanted in the sessions that this
//! server hosts, and looks whether their ports answer.
//!
//! [`plan`] decides, `execute` carries out and records what it saw. What runs is known from the runtime alone; what
//! this run of the server started, and for which session, is remembered beside it. It knows no adapter of a runtime.

mod agents;
mod attend;
mod call;
pub mod elsewhere;
pub mod environment;
mod execute;
mod http;
pub mod invoke;
pub mod plan;
pub mod probe;
mod pull;
pub mod reach;
pub mod status;
mod turns;
pub(super) mod workers;

use super::driver::watched;
use super::session::plan::OPENING_SECONDS_MAX;
use super::{ControlParts, Controller, Error, Outcome};
use crate::app::Actor;
use crate::app::attempts::Attempt;
use crate::domain::instance::{self, Command, Instance, Phase};
use crate::domain::service::Service;
use crate::domain::session::Session;
use crate::id::{RoomId, ServiceId, SessionId};
use crate::projection::World;
use crate::runtime::{InstanceKey, Observed, RunState};
use crate::spec::reconcile::PRIORITY_DEFAULT;
use chrono::{DateTime, TimeDelta, Utc};
use execute::{Execute, STOP_GRACE};
use plan::{Act, Facts, Mark, Wanted};
use probe::{Probes, Seen, Target};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;
use workers::{Rank, Workers};

const NAME: &str = "service";
/// Pause between two looks for a session that is being opened.
const OPENING_PAUSE: TimeDelta = TimeDelta::milliseconds(50);

/// What this run of the server did, by instance.
#[derive(Debug, Default)]
struct State {
    marks: HashMap<InstanceKey, Mark>,
    seeded: HashMap<InstanceKey, Mark>,
    /// Started because somebody asked, by a service that runs only then.
    invoked: HashSet<InstanceKey>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The controller of services.
pub struct Services {
    execute: Execute,
    steps: Workers<InstanceKey>,
    looks: Workers<(InstanceKey, usize)>,
    calls: Workers<(InstanceKey, call::Place)>,
    /// Agents elsewhere that take part over a socket, as long as it is there.
    sockets: Workers<(InstanceKey, call::Place)>,
    called: Arc<elsewhere::Called>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Services {
    /// `done` is counted up whenever a step ended, so that the controller looks again.
    #[must_use]
    pub fn new(parts: ControlParts, done: watch::Sender<u64>) -> Self {
        let execute = Execute { parts, state: Arc::default(), probes: Arc::default() };
        let (steps, looks) = (Workers::new(done.clone()), Workers::new(done.clone()));
        let sockets = Workers::with_turns(done.clone(), attend::SOCKETS_MAX);
        Self { execute, steps, looks, calls: Workers::new(done), sockets, called: Arc::default() }
    }

    /// What is known of the ports of services.
    #[must_use]
    pub fn probes(&self) -> &Probes {
        &self.execute.probes
    }

    /// Which agents elsewhere were called.
    #[must_use]
    pub fn called(&self) -> &elsewhere::Called {
        &self.called
    }

    /// Whether a session is recorded for this server that its host did not have yet when it said which are `live`.
    fn is_opening(&self, world: &World, live: &[(RoomId, SessionId)]) -> bool {
        let app = &self.execute.parts.app;
        let here: HashSet<SessionId> = live.iter().map(|(_, id)| *id).collect();
        let earliest = app.clock.now() - TimeDelta::seconds(OPENING_SECONDS_MAX);
        world.projects().flat_map(|(project, _)| world.sessions(project)).any(|(id, session)| {
            session.is_active()
                && session.host == app.settings.server_name
                && session.started_at > earliest
                && !here.contains(&id)
        })
    }

    fn gather(
        &self,
        world: &World,
        hosted: &BTreeMap<RoomId, SessionId>,
        observed: Vec<(InstanceKey, Observed)>,
    ) -> Vec<Facts> {
        let mut observed: BTreeMap<InstanceKey, Observed> = observed.into_iter().collect();
        let state = locked(&self.execute.state);
        let mut all = Vec::new();
        for (room, session) in hosted {
            for (id, service) in services_of(world, *room) {
                let key = InstanceKey { room: *room, service: id, container: 0 };
                let mut wanted = wanted(service, *session, state.seeded.get(&key).copied());
                if let Ok(wanted) = &mut wanted {
                    wanted.invoked = state.invoked.contains(&key);
                }
                all.push(Facts {
                    wanted,
                    recorded: world.instance(instance::Key { session: *session, service: id }).cloned(),
                    observed: observed.remove(&key).unwrap_or(Observed::Absent),
                    mark: state.marks.get(&key).copied(),
                    paused: service.paused_at.is_some(),
                    key,
                });
            }
        }
        // What is left runs for a session that ended or a service that is gone.
        for (key, observed) in observed {
            let session = hosted.get(&key.room).copied();
            let why = if session.is_none() { "the session ended" } else { "the service was deleted" };
            let recorded = session
                .and_then(|session| world.instance(instance::Key { session, service: key.service }).cloned());
            let mark = state.marks.get(&key).copied();
            all.push(Facts { key, wanted: Err(why), recorded, observed, mark, paused: false });
        }
        all
    }

    /// Begins the steps of instances that had none under way when they were looked at.
    fn begin(&self, world: &World, facts: &[Facts], outcome: &mut Outcome) {
        let now = self.execute.parts.app.clock.now();
        for step in plan::plan(facts, now) {
            if let Act::Wait { until } = step.act {
                outcome.due(until);
                continue;
            }
            if let Some(until) = self.steps.held_until(&step.key, now) {
                outcome.due(until);
                continue;
            }
            outcome.steps += 1;
            let execute = self.execute.clone();
            let app = Arc::clone(&execute.parts.app);
            let clock = Arc::clone(&app.clock);
            let (key, seed) = (step.key.clone(), step.key.service.uuid().as_u128());
            let what = format!("{NAME}/{key}");
            let rank = rank_of(world, key.service);
            let work = async move { watched(&app, &what, execute.step(step)).await };
            self.steps.begin_ranked(key, rank, seed, move || clock.now(), work);
        }
    }

    /// Looks at the ports of what runs, each when it is due, and calls the endpoints of those that are ready.
    fn look(&self, world: &World, facts: &[Facts], outcome: &mut Outcome) {
        let now = self.execute.parts.app.clock.now();
        for facts in facts {
            let running = matches!(facts.observed, Observed::Present { state: RunState::Running, .. });
            let Some(service) = world.service(facts.key.service).filter(|_| running && facts.wanted.is_ok())
            else {
                continue;
            };
            for (target, due) in self.execute.probes.targets(&facts.key, &service.spec, now) {
                if due > now {
                    outcome.due(due);
                } else {
                    self.look_at(target, now);
                }
            }
            for call in call::due(&self.execute.probes, &facts.key, &service.spec) {
                self.call(call, now, outcome);
            }
        }
    }

    /// Asks where the ports answer that offer tools, once for each run of an instance.
    async fn locate(&self, world: &World, facts: &[Facts], outcome: &mut Outcome) {
        let parts = &self.execute.parts;
        for facts in facts {
            let running = matches!(facts.observed, Observed::Present { state: RunState::Running, .. });
            let Some(service) = world.service(facts.key.service).filter(|_| running) else { continue };
            // What is being ended has no address any more.
            if self.steps.busy().contains(&facts.key) {
                continue;
            }
            for num in elsewhere::tool_ports(service) {
                let Some(number) = self.execute.probes.number(&facts.key, num) else { continue };
                if self.execute.probes.place(&facts.key, number).is_some() {
                    continue;
                }
                match parts.runtime.reach(&facts.key, number).await {
                    Some(at) => self.execute.probes.set_place(&facts.key, number, at),
                    None => outcome.due(parts.app.clock.now() + probe::PAUSE_NOT_READY),
                }
            }
        }
    }

    fn look_at(&self, target: Target, now: DateTime<Utc>) {
        let key = (target.key.clone(), target.index);
        if self.looks.busy().contains(&key) || self.looks.held_until(&key, now).is_some() {
            return;
        }
        let (probes, clock) = (Arc::clone(&self.execute.probes), Arc::clone(&self.execute.parts.app.clock));
        let (later, runtime) = (Arc::clone(&clock), Arc::clone(&self.execute.parts.runtime));
        self.looks.begin(key, 0, move || later.now(), async move {
            let error = match runtime.reach(&target.key, target.port).await {
                Some(at) => http::ask(at, &target.path, None).await.err(),
                None => Some(format!("port {} cannot be reached from this host", target.port)),
            };
            probes.set(&target, Seen { ready: error.is_none(), checked_at: clock.now(), error });
            Ok(())
        });
    }

    fn call(&self, call: call::Call, now: DateTime<Utc>, outcome: &mut Outcome) {
        let key = (call.key.clone(), call.place);
        if let Some(until) = self.calls.held_until(&key, now) {
            return outcome.due(until);
        }
        if self.calls.busy().contains(&key) {
            return;
        }
        let (execute, seed) = (self.execute.clone(), call.key.service.uuid().as_u128());
        let clock = Arc::clone(&execute.parts.app.clock);
        let work = async move { call::make(call, &execute.parts, &execute.probes).await };
        self.calls.begin(key, seed, move || clock.now(), work);
    }

    /// Calls the agents that run elsewhere, and says which tool servers the rooms are to offer.
    fn reach_out(&self, world: &World, hosted: &BTreeMap<RoomId, SessionId>, outcome: &mut Outcome) {
        self.called.keep(hosted);
        for (room, session) in hosted {
            let servers = elsewhere::tool_servers(world, *room, *session, &self.execute.probes);
            self.execute.parts.host.offer_tools(*room, servers);
        }
        let now = self.execute.parts.app.clock.now();
        for call in elsewhere::due(world, hosted, &self.called) {
            let key = (call.key.clone(), call.place);
            let held = self.calls.held_until(&key, now).max(self.sockets.held_until(&key, now));
            if let Some(until) = held {
                outcome.due(until);
                continue;
            }
            if self.calls.busy().contains(&key) || self.sockets.busy().contains(&key) {
                continue;
            }
            let (parts, called) = (self.execute.parts.clone(), Arc::clone(&self.called));
            let (clock, seed) = (Arc::clone(&parts.app.clock), call.key.service.uuid().as_u128());
            if call.is_dialled() {
                let work = async move { attend::attend(call, &parts, &called).await };
                self.sockets.begin(key, seed, move || clock.now(), work);
                continue;
            }
            let work = async move { elsewhere::make(call, &parts, &called).await };
            self.calls.begin(key, seed, move || clock.now(), work);
        }
    }

    /// Stops everything that runs, at once, and records it. Nothing may be begun any more.
    pub async fn stop_all(&self) {
        self.steps.finish().await;
        let parts = &self.execute.parts;
        let observed = match parts.runtime.observe().await {
            Ok(observed) => observed,
            Err(error) => return tracing::error!(%error, "the runtime cannot say what still runs"),
        };
        let stops = observed.iter().map(|(key, _)| async move {
            if let Err(error) = parts.runtime.stop(key, STOP_GRACE).await {
                tracing::error!(instance = %key, %error, "a service's process could not be stopped");
            }
        });
        futures_util::future::join_all(stops).await;
        let own: HashSet<SessionId> =
            locked(&self.execute.state).marks.values().map(|mark| mark.session).collect();
        let world = parts.app.world();
        let running: Vec<instance::Key> = world
            .projects()
            .flat_map(|(project, _)| world.instances(project))
            .filter(|seen| seen.phase == Phase::Running && own.contains(&seen.key.session))
            .map(|seen| seen.key)
            .collect();
        for key in running {
            let stopped = instance::Stopped { key, reason: "the server stops".to_owned() };
            let actor = Actor::controller(NAME);
            if let Err(error) = parts.app.record_instance(&actor, key, Command::Stopped(stopped)).await {
                return tracing::warn!(%error, "that services were stopped could not be recorded");
            }
        }
    }
}

impl Controller for Services {
    const NAME: &'static str = NAME;

    async fn reconcile(&self) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        // In this order: what is seen of a key without a step under way is then the whole of it.
        let busy = self.steps.busy();
        let observed = self.execute.parts.runtime.observe().await?;
        // Asked once, and before the state is read: a session that came later is seen as one that is being opened.
        let live = self.execute.parts.host.live();
        let world = self.execute.parts.app.world();
        let hosted = hosted(&world, &live);
        let mut facts = self.gather(&world, &hosted, observed);
        facts.retain(|facts| !busy.contains(&facts.key));
        self.begin(&world, &facts, &mut outcome);
        self.look(&world, &facts, &mut outcome);
        look_again(&world, &facts, self.execute.parts.app.clock.now(), &mut outcome);
        self.locate(&world, &facts, &mut outcome).await;
        self.reach_out(&world, &hosted, &mut outcome);
        let failing = self.steps.all_failing().into_iter();
        let mut told: HashMap<Uuid, Attempt> = HashMap::new();
        for (key, failing) in failing {
            let entry = told.entry(key.service.uuid()).or_insert_with(|| failing.clone().into());
            // Of several rooms, the one where it failed most often.
            if entry.failures < failing.failures {
                *entry = failing.into();
            }
        }
        self.execute.parts.app.attempts.tell(NAME, told);
        if self.is_opening(&world, &live) {
            // Its host tells nobody when it is there.
            outcome.due(self.execute.parts.app.clock.now() + OPENING_PAUSE);
        }
        Ok(outcome)
    }
}

/// Its turn among what waits.
fn rank_of(world: &World, service: ServiceId) -> Rank {
    let priority = world.service(service).map_or(PRIORITY_DEFAULT, |service| service.cadence().rank());
    Rank { lane: service.project().uuid(), priority }
}

/// What runs is seen anew as often as services say, also where nothing tells of a change.
fn look_again(world: &World, facts: &[Facts], now: DateTime<Utc>, outcome: &mut Outcome) {
    let looked_at = facts.iter().filter(|facts| !facts.paused);
    let services = looked_at.filter_map(|facts| world.service(facts.key.service));
    let intervals = services.filter_map(|service| service.cadence().interval_seconds);
    if let Some(seconds) = intervals.min() {
        outcome.due(now + TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000)));
    }
}

/// Those of the `live` sessions that the log shows running, of rooms that are enabled.
fn hosted(world: &World, live: &[(RoomId, SessionId)]) -> BTreeMap<RoomId, SessionId> {
    let is_wanted = |(room, session): &&(RoomId, SessionId)| {
        world.session(*session).is_some_and(Session::is_active)
            && world.room(*room).is_some_and(|room| room.enabled)
    };
    live.iter().filter(is_wanted).copied().collect()
}

/// Whether a service is to run in a session; `Err` says why not.
fn wanted(service: &Service, session: SessionId, seeded: Option<Mark>) -> Result<Wanted, &'static str> {
    if !service.spec.enabled {
        return Err("the service is disabled");
    }
    let generation = service.run_generation;
    let runs = runs(service);
    let seeded = service.spec.files().is_empty() || seeded == Some(Mark { session, generation });
    Ok(Wanted { session, generation, runs, invoked: false, seeded })
}

/// Whether a service has a process of its own that is not started only on demand.
pub(super) fn runs(service: &Service) -> bool {
    service.spec.container.as_ref().is_some_and(|container| container.on_demand != Some(true))
}

/// Whether the last start failed in a way that every start will.
pub(super) fn lasting(instance: &Instance) -> bool {
    let reason = instance.last_start_reason.as_deref();
    reason.is_some_and(|reason| plan::LASTING_REASONS.contains(&reason))
}

/// The services of a room: its own and its project's. In the room of a managed agent there is the agent alone.
fn services_of(world: &World, room: RoomId) -> impl Iterator<Item = (ServiceId, &Service)> {
    let alone = agents::is_home(world, room);
    let here = move |service: &Service| service.room.map_or(!alone, |own| own == room);
    world.services(room.project()).filter(move |(_, service)| here(service))
}

/// Whether a session of this room would start a process.
pub(super) fn runs_something(world: &World, room: RoomId) -> bool {
    services_of(world, room).any(|(_, service)| is_startable(service))
}

/// Whether a service is started by itself in a room that runs.
fn is_startable(service: &Service) -> bool {
    service.spec.enabled && runs(service) && service.paused_at.is_none()
}

/// Whether a room's own service changed after the room last ran: it has not been tried since.
pub(super) fn never_ran_since_change(world: &World, room: RoomId, service: &Service) -> bool {
    let ended_later = |session: &Session| session.ended.is_none_or(|(at, _)| at >= service.updated_at);
    !world.sessions(room.project()).any(|(_, session)| session.room == room && ended_later(session))
}

/// Rooms whose own services changed within `window` before `now` and were not tried since: they want a session.
pub(super) fn rooms_with_new_services(world: &World, now: DateTime<Utc>, window: TimeDelta) -> Vec<RoomId> {
    let mut rooms = Vec::new();
    for (project, _) in world.projects() {
        for (_, service) in world.services(project) {
            let Some(room) = service.room.filter(|_| is_startable(service)) else { continue };
            // A managed agent waits for somebody to talk to.
            if agents::is_home(world, room) {
                continue;
            }
            if now - service.updated_at <= window && never_ran_since_change(world, room, service) {
                rooms.push(room);
            }
        }
    }
    rooms
}

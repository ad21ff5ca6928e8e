//! Scheduled tasks that services own: what the annotation `meshagent.agent.schedule` of an agent asks for, made, changed and deleted
//! with the service. Pure: the world in, steps out.
//!
//! A room's own service has them in its room; a project's service in the room that the task names, else in the rooms that run. Where
//! such a room ends its tasks stay and rest, so that what has fired is not forgotten.

use crate::domain::service::Service;
use crate::id::{RoomId, ScheduledTaskId, ServiceId};
use crate::projection::World;
use crate::spec::{AGENT_SCHEDULE, Agent, ROOM, ScheduledTask, from_json};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// Annotation of a task: the service that owns it.
pub const OWNER: &str = "meshagent.owner.service";
/// Annotation of a task: the agent of that service that asked for it.
pub const OWNER_AGENT: &str = "meshagent.owner.agent";
/// Annotation of a task: how many of its kind were there before.
pub const OWNER_NUMBER: &str = "meshagent.owner.number";

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create { owner: Owner, id: ScheduledTaskId, spec: Box<ScheduledTask> },
    Update { id: ScheduledTaskId, spec: Box<ScheduledTask> },
    Delete { id: ScheduledTaskId },
}

/// Whose task it is: of which agent of which service, in which room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub service: ServiceId,
    pub room: RoomId,
    pub agent: String,
}

impl Owner {
    /// Id of the task with a number: the same on every server, and nobody else's. An id that was deleted is never used again.
    fn task_id(&self, number: u64) -> ScheduledTaskId {
        let text = format!("schedule/{}/{}/{number}", self.room, self.agent);
        let id = Uuid::new_v5(&self.service.uuid(), text.as_bytes());
        ScheduledTaskId::new(self.service.project(), id)
    }

    /// Who owns a task, and its number; its id says so, whoever wrote its annotations.
    fn of(id: ScheduledTaskId, room: RoomId, spec: &ScheduledTask) -> Option<(Self, u64)> {
        let service = spec.annotation(OWNER)?.parse().ok()?;
        let number = spec.annotation(OWNER_NUMBER)?.parse().ok()?;
        let agent = spec.annotation(OWNER_AGENT)?.to_owned();
        let owner = Self { service: ServiceId::new(id.project(), service), room, agent };
        (owner.task_id(number) == id).then_some((owner, number))
    }

    /// The task as it is to be.
    fn spec(&self, wanted: &ScheduledTask, number: u64) -> ScheduledTask {
        let mut spec = wanted.clone();
        let notes = [
            (OWNER, self.service.uuid().to_string()),
            (OWNER_AGENT, self.agent.clone()),
            (OWNER_NUMBER, number.to_string()),
        ];
        spec.metadata.annotations.extend(notes.map(|(name, value)| (name.to_owned(), value)));
        spec
    }
}

/// What services' tasks need.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Tasks that do not fire for now, as their rooms do not run.
    pub resting: HashSet<ScheduledTaskId>,
}

/// What is to be done so that every agent has the task it asks for, and nothing is left of those that are gone. `numbers` says which
/// number a new one gets: those before it were deleted.
#[must_use]
pub fn plan(world: &World, numbers: &BTreeMap<Owner, u64>) -> Plan {
    let mut wanted = wanted(world);
    let (mut steps, mut resting, mut seen) = (Vec::new(), HashSet::new(), BTreeSet::new());
    for (id, task) in world.projects().flat_map(|(project, _)| world.tasks(project)) {
        let Some((owner, number)) = Owner::of(id, task.room, &task.spec) else { continue };
        let running = wanted.remove(&owner);
        let rests = running.is_none();
        let asked = running.or_else(|| between_sessions(world, &owner));
        // An owner has one task, whatever two servers made at once.
        let Some(spec) = asked.filter(|_| seen.insert(owner.clone())) else {
            steps.push(Step::Delete { id });
            continue;
        };
        let paused = world.service(owner.service).is_some_and(|service| service.paused_at.is_some());
        if rests || paused {
            resting.insert(id);
        }
        let spec = owner.spec(&spec, number);
        if spec != task.spec {
            steps.push(Step::Update { id, spec: Box::new(spec) });
        }
    }
    steps.extend(wanted.into_iter().map(|(owner, spec)| {
        let number = numbers.get(&owner).copied().unwrap_or(0);
        let spec = Box::new(owner.spec(&spec, number));
        Step::Create { id: owner.task_id(number), owner, spec }
    }));
    Plan { steps, resting }
}

/// The tasks that agents ask for.
fn wanted(world: &World) -> BTreeMap<Owner, ScheduledTask> {
    let mut all = BTreeMap::new();
    for (id, service) in world.projects().flat_map(|(project, _)| world.services(project)) {
        for agent in service.spec.agents() {
            let Some(spec) = asked(service, agent) else { continue };
            for room in rooms(world, id, service, &spec) {
                let owner = Owner { service: id, room, agent: agent.name.clone() };
                all.insert(owner, spec.clone());
            }
        }
    }
    all
}

/// The task that an agent asks for.
fn asked(service: &Service, agent: &Agent) -> Option<ScheduledTask> {
    let mut spec = agent.annotation(AGENT_SCHEDULE).and_then(read)?;
    spec.active &= service.spec.enabled;
    let name = format!("{} of {}", agent.name, service.spec.metadata.name);
    spec.metadata.name.get_or_insert(name);
    Some(spec)
}

/// The task of a project's service in a room that does not run but may again.
fn between_sessions(world: &World, owner: &Owner) -> Option<ScheduledTask> {
    let service = world.service(owner.service).filter(|service| service.room.is_none())?;
    world.room(owner.room)?;
    let agent = service.spec.agents().iter().find(|agent| agent.name == owner.agent)?;
    asked(service, agent).filter(|spec| spec.annotation(ROOM).is_none())
}

/// What is no task was refused when the service was written; an old one that is none fires nothing.
fn read(text: &str) -> Option<ScheduledTask> {
    serde_json::from_str(text).ok().and_then(|value| from_json(value).ok())
}

fn rooms(world: &World, id: ServiceId, service: &Service, spec: &ScheduledTask) -> Vec<RoomId> {
    if let Some(room) = service.room {
        return if world.room(room).is_some() { vec![room] } else { vec![] };
    }
    if let Some(name) = spec.annotation(ROOM) {
        return world.room_named(id.project(), name).map(|(room, _)| room).into_iter().collect();
    }
    world.sessions_of_all(id.project()).map(|(_, session)| session.room).collect()
}

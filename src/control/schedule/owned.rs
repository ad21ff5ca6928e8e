//! Scheduled tasks that services own: what the annotation `meshagent.agent.schedule` of an agent asks for, made, changed and deleted
//! with the service. Pure: the world in, steps out.
//!
//! A room's own service has them in its room; a project's service in the room that the task names, else in the rooms that run.

use crate::domain::service::Service;
use crate::id::{RoomId, ScheduledTaskId, ServiceId};
use crate::projection::World;
use crate::spec::{AGENT_SCHEDULE, Agent, ROOM, ScheduledTask, from_json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Annotation of a task: the service that owns it.
pub const OWNER: &str = "meshagent.owner.service";
/// Annotation of a task: the agent of that service that asked for it.
pub const OWNER_AGENT: &str = "meshagent.owner.agent";

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create { id: ScheduledTaskId, room: RoomId, spec: Box<ScheduledTask> },
    Update { id: ScheduledTaskId, spec: Box<ScheduledTask> },
    Delete { id: ScheduledTaskId },
}

/// Id of the task of an agent in a room: the same on every server, and nobody else's.
fn task_id(service: ServiceId, room: RoomId, agent: &str) -> ScheduledTaskId {
    let text = format!("schedule/{room}/{agent}");
    ScheduledTaskId::new(service.project(), Uuid::new_v5(&service.uuid(), text.as_bytes()))
}

/// What is to be done so that every agent has the task it asks for, and nothing is left of those that are gone.
#[must_use]
pub fn plan(world: &World) -> Vec<Step> {
    let wanted = wanted(world);
    let mut steps = Vec::new();
    for (id, (room, spec)) in &wanted {
        match world.task(*id) {
            None => steps.push(Step::Create { id: *id, room: *room, spec: Box::new(spec.clone()) }),
            Some(task) if task.spec != *spec => {
                steps.push(Step::Update { id: *id, spec: Box::new(spec.clone()) })
            }
            Some(_) => {}
        }
    }
    let tasks = world.projects().flat_map(|(project, _)| world.tasks(project));
    let gone = tasks.filter(|(id, task)| !wanted.contains_key(id) && is_owned(*id, task.room, &task.spec));
    steps.extend(gone.map(|(id, _)| Step::Delete { id }));
    steps
}

/// Whether a service owns a task: its id says so, whoever wrote its annotations.
fn is_owned(id: ScheduledTaskId, room: RoomId, spec: &ScheduledTask) -> bool {
    let owner = spec.annotation(OWNER).and_then(|text| text.parse::<Uuid>().ok());
    let (Some(owner), Some(agent)) = (owner, spec.annotation(OWNER_AGENT)) else { return false };
    task_id(ServiceId::new(id.project(), owner), room, agent) == id
}

fn wanted(world: &World) -> BTreeMap<ScheduledTaskId, (RoomId, ScheduledTask)> {
    let mut all = BTreeMap::new();
    for (id, service) in world.projects().flat_map(|(project, _)| world.services(project)) {
        for agent in service.spec.agents() {
            let Some(spec) = agent.annotation(AGENT_SCHEDULE).and_then(read) else { continue };
            let spec = owned(id, service, agent, spec);
            for room in rooms(world, id, service, &spec) {
                all.insert(task_id(id, room, &agent.name), (room, spec.clone()));
            }
        }
    }
    all
}

/// What is no task was refused when the service was written; an old one that is none fires nothing.
fn read(text: &str) -> Option<ScheduledTask> {
    serde_json::from_str(text).ok().and_then(|value| from_json(value).ok())
}

fn owned(id: ServiceId, service: &Service, agent: &Agent, mut spec: ScheduledTask) -> ScheduledTask {
    spec.active &= service.spec.enabled;
    let name = || format!("{} of {}", agent.name, service.spec.metadata.name);
    spec.metadata.name = spec.metadata.name.or_else(|| Some(name()));
    spec.metadata.annotations.insert(OWNER.to_owned(), id.uuid().to_string());
    spec.metadata.annotations.insert(OWNER_AGENT.to_owned(), agent.name.clone());
    spec
}

fn rooms(world: &World, id: ServiceId, service: &Service, spec: &ScheduledTask) -> Vec<RoomId> {
    if let Some(room) = service.room {
        return if world.room(room).is_some() { vec![room] } else { vec![] };
    }
    if let Some(name) = spec.annotation(ROOM) {
        return world.room_named(id.project(), name).map(|(room, _)| room).into_iter().collect();
    }
    let active = world.sessions(id.project()).filter(|(_, session)| session.is_active());
    active.map(|(_, session)| session.room).collect()
}

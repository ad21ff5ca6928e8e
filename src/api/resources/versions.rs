//! How far each resource is: the position of the newest fact from which follows what is told of it, its status too.

use crate::app::plan::Resource;
use crate::id::{MailboxId, Position, ProjectId, RoomId, RouteId, ScheduledTaskId, ServiceId};
use crate::projection::World;
use crate::spec::Kind;
use std::collections::HashMap;
use uuid::Uuid;

/// One look at a project.
#[derive(Debug)]
pub(in crate::api) struct Versions<'a> {
    world: &'a World,
    project: ProjectId,
    /// By room: its newest run.
    runs: HashMap<RoomId, Position>,
    newest_run: Position,
    /// By service: what was last seen of it.
    instances: HashMap<ServiceId, Position>,
}

impl<'a> Versions<'a> {
    pub fn of(world: &'a World, project: ProjectId) -> Self {
        let (mut runs, mut instances) = (HashMap::new(), HashMap::new());
        let mut newest_run = Position(0);
        if let Some(view) = world.project(project) {
            for slot in view.sessions.values() {
                let run: &mut Position = runs.entry(slot.state.room).or_default();
                *run = slot.position.max(*run);
                newest_run = slot.position.max(newest_run);
            }
            for slot in view.instances.values() {
                let seen: &mut Position = instances.entry(slot.state.key.service).or_default();
                *seen = slot.position.max(*seen);
            }
        }
        Self { world, project, runs, newest_run, instances }
    }

    pub fn at(&self, resource: &dyn Resource, id: Uuid) -> Position {
        let own = self.world.position_of(self.project, &resource.stream(self.project, id));
        own.unwrap_or_default().max(self.status(resource.kind(), id))
    }

    /// Of what the status follows from besides the resource itself.
    fn status(&self, kind: Kind, id: Uuid) -> Position {
        let room = |room: RoomId| self.world.position_of(self.project, &room.stream()).unwrap_or_default();
        let run = |room: &RoomId| self.runs.get(room).copied().unwrap_or_default();
        match kind {
            Kind::Room => run(&RoomId::new(self.project, id)),
            Kind::Service => {
                let id = ServiceId::new(self.project, id);
                let home = self.world.service(id).and_then(|service| service.room);
                let runs = home.map_or(self.newest_run, |home| run(&home).max(room(home)));
                self.instances.get(&id).copied().unwrap_or_default().max(runs)
            }
            Kind::Route => {
                let route = self.world.route(RouteId::new(self.project, id));
                route.map(|route| room(route.backend.room())).unwrap_or_default()
            }
            Kind::Mailbox => {
                let mailbox = self.world.mailbox(MailboxId::new(self.project, id));
                mailbox.map(|mailbox| room(mailbox.room)).unwrap_or_default()
            }
            Kind::ScheduledTask => {
                let task = self.world.task(ScheduledTaskId::new(self.project, id));
                task.map(|task| room(task.room)).unwrap_or_default()
            }
            _ => Position(0),
        }
    }
}

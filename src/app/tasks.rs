//! Scheduled tasks.

use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::scheduled_task::{Command, Created, Fired, ScheduledTask};
use crate::id::{RoomId, ScheduledTaskId};
use crate::projection::World;
use crate::spec;

impl App {
    pub async fn create_task(
        &self,
        actor: &Actor,
        room: RoomId,
        spec: spec::ScheduledTask,
    ) -> Result<ScheduledTaskId, Error> {
        let id = ScheduledTaskId::new(room.project(), self.ids.fresh());
        self.create_task_as(actor, id, room, spec).await.map(|()| id)
    }

    /// The same under a chosen id.
    pub async fn create_task_as(
        &self,
        actor: &Actor,
        id: ScheduledTaskId,
        room: RoomId,
        spec: spec::ScheduledTask,
    ) -> Result<(), Error> {
        self.transact(actor, |world| {
            world.room(room).ok_or_else(|| Error::no_room(&room.to_string()))?;
            let created = Created { room, spec: spec.clone() };
            let events =
                ScheduledTask::decide(world.task(id), Command::Create(created)).map_err(Error::rejected)?;
            let changes = vec![
                Change::stands(id.project(), room.stream()),
                Change::new(id.project(), id.stream(), events),
            ];
            Ok(Decision { changes, answer: () })
        })
        .await
    }

    /// Replaces the spec. Says whether anything changed.
    pub async fn update_task(
        &self,
        actor: &Actor,
        id: ScheduledTaskId,
        spec: spec::ScheduledTask,
    ) -> Result<bool, Error> {
        self.transact(actor, |world| {
            let task = find(world, id)?;
            let events =
                ScheduledTask::decide(Some(task), Command::Update(spec.clone())).map_err(Error::rejected)?;
            let changed = !events.is_empty();
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: changed })
        })
        .await
    }

    pub async fn delete_task(&self, actor: &Actor, id: ScheduledTaskId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events =
                ScheduledTask::decide(Some(find(world, id)?), Command::Delete).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await
    }

    /// Records what became of one instant of the schedule; once, however often it is called.
    pub async fn record_firing(&self, actor: &Actor, id: ScheduledTaskId, fired: Fired) -> Result<(), Error> {
        self.transact(actor, |world| {
            let Some(task) = world.task(id) else { return Ok(Decision { changes: vec![], answer: () }) };
            let events =
                ScheduledTask::decide(Some(task), Command::Fire(fired.clone())).map_err(Error::rejected)?;
            let mut change = Change::new(id.project(), id.stream(), events);
            change.event_id = Some(fired.run);
            Ok(Decision { changes: vec![change], answer: () })
        })
        .await
    }
}

fn find(world: &World, id: ScheduledTaskId) -> Result<&ScheduledTask, Error> {
    world.task(id).ok_or_else(|| Error::no_task(&id.to_string()))
}

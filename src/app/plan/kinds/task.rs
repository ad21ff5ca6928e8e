//! `kind: ScheduledTask`.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::draft::Draft;
use crate::domain::scheduled_task::{Command, Created, ScheduledTask};
use crate::id::{ProjectId, ScheduledTaskId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::Kind;
use uuid::Uuid;

pub struct Tasks;

fn key(world: &World, task: &ScheduledTask) -> Key {
    let room = world.room(task.room).map(|room| room.name.to_string());
    Key::new(Kind::ScheduledTask, room, task.spec.metadata.name.as_deref().unwrap_or_default())
}

impl Resource for Tasks {
    fn kind(&self) -> Kind {
        Kind::ScheduledTask
    }

    fn home(&self) -> Home {
        Home::Room
    }

    /// Those without a name cannot be applied, and are not here.
    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        let named = world.tasks(project).map(|(id, task)| (id.uuid(), key(world, task)));
        named.filter(|(_, key)| !key.name.is_empty()).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let task = world.task(ScheduledTaskId::new(project, id))?;
        Some(Found {
            key: key(world, task),
            document: document_of(&task.spec),
            generation: task.generation,
            created_at: Some(task.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.task(ScheduledTaskId::new(project, id)).map(|task| task.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        ScheduledTaskId::new(project, id).stream()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.tasks, &new.tasks)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let project = draft.project();
        match change {
            Change::Create { id, key, document } => {
                let room = draft.room(key.room.as_deref().unwrap_or_default())?;
                let created = Created { room, spec: typed(key, document)? };
                let id = ScheduledTaskId::new(project, id);
                draft.decide::<ScheduledTask>(id.stream(), None, Command::Create(created))?;
            }
            Change::Update { id, key, document } => {
                let id = ScheduledTaskId::new(project, id);
                let command = Command::Update(typed(key, document)?);
                draft.decide(id.stream(), draft.world().task(id), command)?;
            }
            Change::Delete { id } => {
                let id = ScheduledTaskId::new(project, id);
                draft.decide(id.stream(), draft.world().task(id), Command::Delete)?;
            }
        }
        Ok(())
    }
}

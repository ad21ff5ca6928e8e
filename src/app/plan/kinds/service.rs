//! `kind: Service`.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::draft::Draft;
use crate::domain::Entity;
use crate::domain::names;
use crate::domain::service::{Command, Created, Service};
use crate::id::{ProjectId, RoomId, ServiceId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::Kind;
use uuid::Uuid;

pub struct Services;

fn key(world: &World, service: &Service) -> Key {
    let room = service.room.and_then(|room| world.room(room)).map(|room| room.name.to_string());
    Key::new(Kind::Service, room, service.spec.metadata.name.as_str())
}

impl Resource for Services {
    fn kind(&self) -> Kind {
        Kind::Service
    }

    fn home(&self) -> Home {
        Home::RoomOrProject
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        // Those of managed agents are theirs.
        let own = |service: &Service| service.room.is_some_and(|room| world.agent_of(room).is_some());
        let shown = world.services(project).filter(|(_, service)| !own(service));
        shown.map(|(id, service)| (id.uuid(), key(world, service))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let own = |service: &Service| service.room.is_some_and(|room| world.agent_of(room).is_some());
        let service = world.service(ServiceId::new(project, id)).filter(|service| !own(service))?;
        Some(Found {
            key: key(world, service),
            document: document_of(&service.spec),
            generation: service.generation,
            created_at: Some(service.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.service(ServiceId::new(project, id)).map(|service| service.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        ServiceId::new(project, id).stream()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        let of_agent = |id: &Uuid| old.agents.contains_key(id) || new.agents.contains_key(id);
        let all = differing(&old.services, &new.services);
        all.into_iter().filter(|id| !of_agent(id)).collect()
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let project = draft.project();
        match change {
            Change::Create { id, key, document } => {
                let room = key.room.as_deref().map(|room| draft.room(room)).transpose()?;
                let created = Created { room, spec: typed(key, document)? };
                draft.claim(project, names::Kind::Service, room, &key.name, id)?;
                let made = Service::decide(None, Command::Create(created)).map_err(Error::rejected)?;
                draft.push(ServiceId::new(project, id).stream(), made);
            }
            Change::Update { id, key, document } => {
                let id = ServiceId::new(project, id);
                let command = Command::Update(typed(key, document)?);
                let events = Service::decide(draft.world().service(id), command).map_err(Error::rejected)?;
                draft.push(id.stream(), events);
            }
            Change::Delete { id } => {
                let id = ServiceId::new(project, id);
                let old = draft.world().service(id).ok_or_else(|| Error::no_service(&id.to_string()))?;
                let gone = Service::decide(Some(old), Command::Delete).map_err(Error::rejected)?;
                let room: Option<RoomId> = old.room;
                draft.release(project, names::Kind::Service, room, &old.spec.metadata.name)?;
                draft.push(id.stream(), gone);
            }
        }
        Ok(())
    }
}

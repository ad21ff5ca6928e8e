//! `kind: Service`.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::domain::names;
use crate::domain::service::{Command, Created, Service};
use crate::id::{ProjectId, RoomId, ServiceId, ServiceInstanceId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::Kind;
use serde_json::Value;
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
        let shown = world.services(project).filter(|(id, service)| !is_of_another(world, *id, service));
        shown.map(|(id, service)| (id.uuid(), key(world, service))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let id = ServiceId::new(project, id);
        let service = world.service(id).filter(|service| !is_of_another(world, id, service))?;
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

    fn check(&self, ground: &Ground<'_>, key: &Key, _: &Value, old: Option<Uuid>) -> Vec<Problem> {
        if old.is_some() {
            return vec![];
        }
        let (world, project) = (ground.world, ground.project);
        let instance = Key { kind: Kind::ServiceInstance, ..key.clone() };
        let room = key.room.as_deref().map(|room| world.room_named(project, room).map(|(id, _)| id));
        let named = match room {
            Some(None) => None,
            room => world.named(project, names::Kind::Service, room.flatten(), &key.name),
        };
        let there = named.filter(|id| {
            let one = ServiceInstanceId::new(project, *id);
            world.service_instance(one).is_some() && !ground.asked.going.contains(id)
        });
        if there.is_none() && !ground.asked.instances.contains(&instance) {
            return vec![];
        }
        let text = format!("{instance} makes a service of this name, and there is one of a name");
        let problem = Problem::of(Code::Invalid, None, key, text).at("metadata.name");
        vec![problem.hint("give one of them another name, or remove it")]
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        let of_another = |id: &Uuid| {
            [old, new]
                .iter()
                .any(|view| view.agents.contains_key(id) || view.service_instances.contains_key(id))
        };
        let all = differing(&old.services, &new.services);
        all.into_iter().filter(|id| !of_another(id)).collect()
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let project = draft.project();
        match change {
            Change::Create { id, key, document } => {
                let room = key.room.as_deref().map(|room| draft.room(room)).transpose()?;
                let created = Created { room, spec: typed(key, document)? };
                draft.claim(project, names::Kind::Service, room, &key.name, id)?;
                draft.decide::<Service>(
                    ServiceId::new(project, id).stream(),
                    None,
                    Command::Create(created),
                )?;
            }
            Change::Update { id, key, document } => {
                let id = ServiceId::new(project, id);
                let command = Command::Update(typed(key, document)?);
                draft.decide(id.stream(), draft.world().service(id), command)?;
            }
            Change::Delete { id } => {
                let id = ServiceId::new(project, id);
                let old = draft.world().service(id).ok_or_else(|| Error::no_service(&id.to_string()))?;
                let room: Option<RoomId> = old.room;
                draft.release(project, names::Kind::Service, room, &old.spec.metadata.name)?;
                draft.decide(id.stream(), Some(old), Command::Delete)?;
            }
        }
        Ok(())
    }
}

/// Whether a service runs a managed agent, or is made of a template: it is theirs then.
fn is_of_another(world: &World, id: ServiceId, service: &Service) -> bool {
    let instance = ServiceInstanceId::new(id.project(), id.uuid());
    world.service_instance(instance).is_some()
        || service.room.is_some_and(|room| world.agent_of(room).is_some())
}

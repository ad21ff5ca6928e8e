//! Services of projects and rooms.

use super::agents::{not_of_agent, not_the_agent};
use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::Entity;
use crate::domain::names::Kind;
use crate::domain::service::{self, Service};
use crate::domain::service_instance::Refused;
use crate::id::{ProjectId, RoomId, ServiceId, ServiceInstanceId};
use crate::projection::World;
use crate::spec;

impl App {
    pub async fn create_service(
        &self,
        actor: &Actor,
        project: ProjectId,
        room: Option<RoomId>,
        spec: spec::Service,
    ) -> Result<ServiceId, Error> {
        let id = ServiceId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            if let Some(room) = room {
                world.room(room).ok_or_else(|| Error::no_room(&room.to_string()))?;
                not_of_agent(world, room)?;
            }
            let claimed = claim(world, project, Kind::Service, room, &spec.metadata.name, id.uuid())?;
            let created = service::Created { room, spec: spec.clone() };
            let made = Service::decide(None, service::Command::Create(created)).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    /// Replaces the spec. Says whether anything changed.
    pub async fn update_service(
        &self,
        actor: &Actor,
        id: ServiceId,
        spec: spec::Service,
    ) -> Result<bool, Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let service = find(world, id)?;
            not_of_another(world, id)?;
            let mut changes = vec![];
            let (old, new) = (&service.spec.metadata.name, &spec.metadata.name);
            if old != new {
                changes.push(claim(world, project, Kind::Service, service.room, new, id.uuid())?);
                changes.push(release(world, project, Kind::Service, service.room, old)?);
            }
            let events = Service::decide(Some(service), service::Command::Update(spec.clone()))
                .map_err(Error::rejected)?;
            let changed = !events.is_empty();
            changes.push(Change::new(project, id.stream(), events));
            Ok(Decision { changes, answer: changed })
        })
        .await
    }

    /// Asks for a fresh run of the same spec.
    pub async fn restart_service(&self, actor: &Actor, id: ServiceId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let events = Service::decide(Some(find(world, id)?), service::Command::Restart)
                .map_err(Error::rejected)?;
            Ok(Decision { changes: vec![Change::new(id.project(), id.stream(), events)], answer: () })
        })
        .await
    }

    pub async fn delete_service(&self, actor: &Actor, id: ServiceId) -> Result<(), Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let service = find(world, id)?;
            not_of_another(world, id)?;
            let events = Service::decide(Some(service), service::Command::Delete).map_err(Error::rejected)?;
            let name = &service.spec.metadata.name;
            let released = release(world, project, Kind::Service, service.room, name)?;
            let changes = vec![Change::new(project, id.stream(), events), released];
            Ok(Decision { changes, answer: () })
        })
        .await
    }
}

/// Refuses to change what runs a managed agent, or is made of a template.
fn not_of_another(world: &World, id: ServiceId) -> Result<(), Error> {
    not_the_agent(world, id)?;
    let instance = world.service_instance(ServiceInstanceId::new(id.project(), id.uuid()));
    instance.map_or(Ok(()), |instance| {
        Err(Error::rejected(Refused::OfInstance(instance.spec.metadata.name.clone())))
    })
}

fn find(world: &World, id: ServiceId) -> Result<&Service, Error> {
    world.service(id).ok_or_else(|| Error::no_service(&id.to_string()))
}

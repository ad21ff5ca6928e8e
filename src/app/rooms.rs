//! Rooms.

use super::agents::not_of_agent;
use super::mailboxes::held;
use super::{Actor, App, Change, Decision, Error};
use crate::domain::names::{self, Kind, Names};
use crate::domain::room::{self, Room};
use crate::domain::{Entity, Event, mailbox, route, scheduled_task, service, service_instance};
use crate::id::{ProjectId, RoomId};
use crate::projection::World;

impl App {
    /// Makes a room. With `if_not_exists`, one of that name is as good.
    pub async fn create_room(
        &self,
        actor: &Actor,
        project: ProjectId,
        created: room::Created,
        if_not_exists: bool,
    ) -> Result<RoomId, Error> {
        let id = RoomId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            if let Some((existing, _)) = world.room_named(project, created.name.as_str())
                && if_not_exists
            {
                return Ok(Decision { changes: vec![], answer: existing });
            }
            let claimed = claim(world, project, Kind::Room, None, created.name.as_str(), id.uuid())?;
            let made = Room::decide(None, room::Command::Create(created.clone())).map_err(Error::rejected)?;
            Ok(Decision { changes: vec![claimed, Change::new(project, id.stream(), made)], answer: id })
        })
        .await
    }

    /// Changes what is given. Says whether anything changed.
    pub async fn update_room(&self, actor: &Actor, id: RoomId, update: room::Updated) -> Result<bool, Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let room = world.room(id).ok_or_else(|| Error::no_room(&id.to_string()))?;
            not_of_agent(world, id)?;
            let mut changes = vec![];
            if let Some(new) = update.name.as_ref().filter(|n| **n != room.name) {
                changes.push(claim(world, project, Kind::Room, None, new.as_str(), id.uuid())?);
                changes.push(release(world, project, Kind::Room, None, room.name.as_str())?);
            }
            let events =
                Room::decide(Some(room), room::Command::Update(update.clone())).map_err(Error::rejected)?;
            let changed = !events.is_empty();
            changes.push(Change::new(project, id.stream(), events));
            Ok(Decision { changes, answer: changed })
        })
        .await
    }

    /// Deletes a room with its services, scheduled tasks, mailboxes, routes and subscriptions of feeds.
    pub async fn delete_room(&self, actor: &Actor, id: RoomId) -> Result<(), Error> {
        self.transact(actor, |world| {
            not_of_agent(world, id)?;
            Ok(Decision { changes: room_gone(world, id)?, answer: () })
        })
        .await
    }
}

/// The end of a room, with everything that lives in it.
pub(super) fn room_gone(world: &World, id: RoomId) -> Result<Vec<Change>, Error> {
    let room = world.room(id).ok_or_else(|| Error::no_room(&id.to_string()))?;
    let gone = Room::decide(Some(room), room::Command::Delete).map_err(Error::rejected)?;
    let project = id.project();
    let mut changes = contents(world, id)?;
    changes.push(Change::new(project, id.stream(), gone));
    changes.push(release(world, project, Kind::Room, None, room.name.as_str())?);
    Ok(changes)
}

/// The end of everything that lives in a room.
fn contents(world: &World, room: RoomId) -> Result<Vec<Change>, Error> {
    let project = room.project();
    let mut changes = vec![];
    for (id, service) in world.services(project).filter(|(_, s)| s.room == Some(room)) {
        let gone =
            service::Service::decide(Some(service), service::Command::Delete).map_err(Error::rejected)?;
        changes.push(Change::new(project, id.stream(), gone));
        changes.push(release(world, project, Kind::Service, Some(room), &service.spec.metadata.name)?);
    }
    for (id, instance) in world.service_instances(project).filter(|(_, one)| one.room == Some(room)) {
        let gone =
            service_instance::ServiceInstance::decide(Some(instance), service_instance::Command::Delete)
                .map_err(Error::rejected)?;
        changes.push(Change::new(project, id.stream(), gone));
    }
    for (id, task) in world.tasks(project).filter(|(_, t)| t.room == room) {
        let gone = scheduled_task::ScheduledTask::decide(Some(task), scheduled_task::Command::Delete)
            .map_err(Error::rejected)?;
        changes.push(Change::new(project, id.stream(), gone));
    }
    for (id, mailbox) in world.mailboxes(project).filter(|(_, m)| m.room == room) {
        let gone =
            mailbox::Mailbox::decide(Some(mailbox), mailbox::Command::Delete).map_err(Error::rejected)?;
        changes.push(Change::new(project, id.stream(), gone));
        changes.push(release(
            world,
            ProjectId::PLATFORM,
            Kind::MailboxAddress,
            None,
            &held(&mailbox.address),
        )?);
    }
    for (id, route) in world.routes(project).filter(|(_, r)| r.backend.room() == room) {
        let gone = route::Route::decide(Some(route), route::Command::Delete).map_err(Error::rejected)?;
        changes.push(Change::new(project, id.stream(), gone));
        changes.push(release(world, ProjectId::PLATFORM, Kind::RouteDomain, None, &route.domain())?);
    }
    changes.extend(super::feeds::of_room_end(world, room)?);
    Ok(changes)
}

/// Takes a name in a project for something.
pub(super) fn claim(
    world: &World,
    project: ProjectId,
    kind: Kind,
    scope: Option<RoomId>,
    name: &str,
    id: uuid::Uuid,
) -> Result<Change, Error> {
    let key = names::Key { kind, scope: scope.map(RoomId::uuid), name: name.to_owned() };
    names_change(world, project, names::Command::Claim { key, id })
}

/// Gives a name back.
pub(super) fn release(
    world: &World,
    project: ProjectId,
    kind: Kind,
    scope: Option<RoomId>,
    name: &str,
) -> Result<Change, Error> {
    let key = names::Key { kind, scope: scope.map(RoomId::uuid), name: name.to_owned() };
    names_change(world, project, names::Command::Release { key })
}

pub(super) fn names_change(
    world: &World,
    project: ProjectId,
    command: names::Command,
) -> Result<Change, Error> {
    let names = world.project(project).and_then(|v| v.names.as_ref()).map(|s| &s.state);
    let events: Vec<Event> = Names::decide(names, command).map_err(Error::rejected)?;
    Ok(Change::new(project, Names::stream(project), events))
}

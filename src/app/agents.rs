//! Managed agents. Each has a room of its own, where its threads are and where one service runs it: room and service
//! have the agent's UUID, come with it, change with it and go with it.

mod service;
mod socket;

pub use service::SECRET_VARIABLE;
pub(in crate::app) use service::of as service_of;
pub use socket::AGENT_GRANT;

use super::rooms::{claim, release, room_gone};
use super::{Actor, App, Change, Decision, Error};
use crate::domain::managed_agent::{Command, ManagedAgent, Refused};
use crate::domain::names::Kind;
use crate::domain::room::{self, Room};
use crate::domain::service::{Command as ServiceCommand, Created, Service};
use crate::domain::{Entity, Rejection};
use crate::id::{ManagedAgentId, ProjectId, RoomId, ServiceId};
use crate::name::RoomName;
use crate::projection::World;
use crate::spec;
use serde_json::Map;
use std::collections::BTreeMap;

/// Annotation of an agent's room: the agent's name when the room was made.
const AGENT_ANNOTATION: &str = "meshagent.agent";

impl App {
    /// Makes an agent. With `if_not_exists`, one of that name is as good.
    pub async fn create_agent(
        &self,
        actor: &Actor,
        project: ProjectId,
        spec: spec::ManagedAgent,
        if_not_exists: bool,
    ) -> Result<ManagedAgentId, Error> {
        let id = ManagedAgentId::new(project, self.ids.fresh());
        self.transact(actor, |world| {
            let name = &spec.metadata.name;
            if let Some((existing, _)) = by_name(world, project, name)
                && if_not_exists
            {
                return Ok(Decision { changes: vec![], answer: existing });
            }
            let made = ManagedAgent::decide(None, Command::Create(spec.clone())).map_err(Error::rejected)?;
            let mut changes = vec![
                claim(world, project, Kind::ManagedAgent, None, name, id.uuid())?,
                Change::new(project, id.stream(), made),
            ];
            changes.extend(home(world, id, &spec)?);
            Ok(Decision { changes, answer: id })
        })
        .await
    }

    /// Replaces the whole. Says whether anything changed.
    pub async fn update_agent(
        &self,
        actor: &Actor,
        id: ManagedAgentId,
        spec: spec::ManagedAgent,
    ) -> Result<bool, Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let agent = find(world, id)?;
            let (old, new) = (&agent.spec.metadata.name, &spec.metadata.name);
            let events =
                ManagedAgent::decide(Some(agent), Command::Update(spec.clone())).map_err(Error::rejected)?;
            let changed = !events.is_empty();
            let mut changes = vec![];
            if old != new {
                let room = Some(id.room());
                changes.push(claim(world, project, Kind::ManagedAgent, None, new, id.uuid())?);
                changes.push(release(world, project, Kind::ManagedAgent, None, old)?);
                changes.push(claim(world, project, Kind::Service, room, new, id.uuid())?);
                changes.push(release(world, project, Kind::Service, room, old)?);
            }
            changes.push(Change::new(project, id.stream(), events));
            let runs = world.service(id.service()).ok_or_else(|| Error::no_service(new))?;
            let wanted = service_of(id, &spec);
            let events =
                Service::decide(Some(runs), ServiceCommand::Update(wanted)).map_err(Error::rejected)?;
            changes.push(Change::new(project, id.service().stream(), events));
            Ok(Decision { changes, answer: changed })
        })
        .await
    }

    /// Deletes an agent with its threads.
    pub async fn delete_agent(&self, actor: &Actor, id: ManagedAgentId) -> Result<(), Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let agent = find(world, id)?;
            let gone = ManagedAgent::decide(Some(agent), Command::Delete).map_err(Error::rejected)?;
            let mut changes = vec![
                Change::new(project, id.stream(), gone),
                release(world, project, Kind::ManagedAgent, None, &agent.spec.metadata.name)?,
            ];
            changes.extend(room_gone(world, id.room())?);
            Ok(Decision { changes, answer: () })
        })
        .await
    }

    /// A project's agent by its name or its UUID, or why not.
    pub fn agent_named(
        &self,
        project: ProjectId,
        name_or_id: &str,
    ) -> Result<(ManagedAgentId, ManagedAgent), Error> {
        let world = self.world();
        let found = by_name(&world, project, name_or_id).or_else(|| {
            let id = ManagedAgentId::new(project, uuid::Uuid::parse_str(name_or_id).ok()?);
            Some((id, world.agent(id)?))
        });
        found.map(|(id, agent)| (id, agent.clone())).ok_or_else(|| Error::no_agent(name_or_id))
    }
}

/// A project's agent by its name.
fn by_name<'w>(
    world: &'w World,
    project: ProjectId,
    name: &str,
) -> Option<(ManagedAgentId, &'w ManagedAgent)> {
    let uuid = world.named(project, Kind::ManagedAgent, None, &name.trim().to_lowercase())?;
    let id = ManagedAgentId::new(project, uuid);
    Some((id, world.agent(id)?))
}

fn find(world: &World, id: ManagedAgentId) -> Result<&ManagedAgent, Error> {
    world.agent(id).ok_or_else(|| Error::no_agent(&id.to_string()))
}

/// The room of an agent, as it begins.
pub(super) fn home_of(id: ManagedAgentId, spec: &spec::ManagedAgent) -> Result<room::Created, Error> {
    let name = RoomName::new(format!("agent-{}", id.uuid().simple()))
        .map_err(|error| Error::Invalid { code: "name-invalid", text: error.to_string() })?;
    Ok(room::Created {
        name,
        metadata: Map::new(),
        annotations: BTreeMap::from([(AGENT_ANNOTATION.to_owned(), spec.metadata.name.clone())]),
        enabled: true,
        users: None,
    })
}

/// The beginning of an agent's room and service.
fn home(world: &World, id: ManagedAgentId, spec: &spec::ManagedAgent) -> Result<Vec<Change>, Error> {
    let (project, room) = (id.project(), id.room());
    let created = home_of(id, spec)?;
    let claimed = claim(world, project, Kind::Room, None, created.name.as_str(), id.uuid())?;
    let made = Room::decide(None, room::Command::Create(created)).map_err(Error::rejected)?;
    let runs = Created { room: Some(room), spec: service_of(id, spec) };
    let runs = Service::decide(None, ServiceCommand::Create(runs)).map_err(Error::rejected)?;
    Ok(vec![
        claimed,
        Change::new(project, room.stream(), made),
        claim(world, project, Kind::Service, Some(room), &spec.metadata.name, id.uuid())?,
        Change::new(project, id.service().stream(), runs),
    ])
}

/// Refuses to change the room of a managed agent other than by the agent.
pub(super) fn not_of_agent(world: &World, room: RoomId) -> Result<(), Error> {
    match world.agent_of(room) {
        None => Ok(()),
        Some((_, agent)) => Err(owned(agent)),
    }
}

/// Refuses to change the service of a managed agent other than by the agent.
pub(super) fn not_the_agent(world: &World, service: ServiceId) -> Result<(), Error> {
    not_of_agent(world, RoomId::new(service.project(), service.uuid()))
}

fn owned(agent: &ManagedAgent) -> Error {
    let refused = Refused::OfAgent(agent.spec.metadata.name.clone());
    Error::Rejected { refusal: refused.refusal(), code: refused.code(), text: refused.to_string() }
}

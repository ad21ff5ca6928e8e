//! `kind: ManagedAgent`. Its room and its service are no resources of their own: they come, change and go with it.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::agents::{home_of, service_of};
use crate::app::plan::draft::Draft;
use crate::domain::managed_agent::{Command, ManagedAgent};
use crate::domain::room::{self, Room};
use crate::domain::service::{self, Service};
use crate::domain::{Entity, names};
use crate::id::{ManagedAgentId, ProjectId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind};
use uuid::Uuid;

pub struct Agents;

fn key(agent: &ManagedAgent) -> Key {
    Key::new(Kind::ManagedAgent, None, agent.spec.metadata.name.as_str())
}

impl Resource for Agents {
    fn kind(&self) -> Kind {
        Kind::ManagedAgent
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn canonical(&self, name: &str) -> String {
        name.trim().to_lowercase()
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        world.agents(project).map(|(id, agent)| (id.uuid(), key(agent))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let agent = world.agent(ManagedAgentId::new(project, id))?;
        Some(Found {
            key: key(agent),
            document: document_of(&agent.spec),
            generation: agent.generation,
            created_at: Some(agent.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.agent(ManagedAgentId::new(project, id)).map(|agent| agent.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        ManagedAgentId::new(project, id).stream()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.agents, &new.agents)
    }

    fn contents(&self, world: &World, project: ProjectId, id: Uuid) -> Vec<(Kind, Uuid)> {
        let room = ManagedAgentId::new(project, id).room();
        let tasks = world.tasks(project).filter(|(_, task)| task.room == room);
        let mailboxes = world.mailboxes(project).filter(|(_, mailbox)| mailbox.room == room);
        let tasks = tasks.map(|(id, _)| (Kind::ScheduledTask, id.uuid()));
        tasks.chain(mailboxes.map(|(id, _)| (Kind::Mailbox, id.uuid()))).collect()
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let project = draft.project();
        match change {
            Change::Create { id, key, document } => {
                let id = ManagedAgentId::new(project, id);
                create(draft, id, key, typed(key, document)?)
            }
            Change::Update { id, key, document } => {
                let (id, spec) =
                    (ManagedAgentId::new(project, id), typed::<spec::ManagedAgent>(key, document)?);
                let runs = service::Command::Update(service_of(id, &spec));
                let runs = Service::decide(draft.world().service(id.service()), runs);
                let events = ManagedAgent::decide(draft.world().agent(id), Command::Update(spec));
                draft.push(id.stream(), events.map_err(Error::rejected)?);
                draft.push(id.service().stream(), runs.map_err(Error::rejected)?);
                Ok(())
            }
            Change::Delete { id } => delete(draft, ManagedAgentId::new(project, id)),
        }
    }
}

fn create(
    draft: &mut Draft<'_>,
    id: ManagedAgentId,
    key: &Key,
    spec: spec::ManagedAgent,
) -> Result<(), Error> {
    let (project, room) = (id.project(), id.room());
    let home = home_of(id, &spec)?;
    draft.claim(project, names::Kind::ManagedAgent, None, &key.name, id.uuid())?;
    draft.claim(project, names::Kind::Room, None, home.name.as_str(), id.uuid())?;
    draft.claim(project, names::Kind::Service, Some(room), &key.name, id.uuid())?;
    let runs = service::Created { room: Some(room), spec: service_of(id, &spec) };
    let made = ManagedAgent::decide(None, Command::Create(spec)).map_err(Error::rejected)?;
    draft.push(id.stream(), made);
    let made = Room::decide(None, room::Command::Create(home)).map_err(Error::rejected)?;
    draft.push(room.stream(), made);
    let made = Service::decide(None, service::Command::Create(runs)).map_err(Error::rejected)?;
    draft.push(id.service().stream(), made);
    Ok(())
}

fn delete(draft: &mut Draft<'_>, id: ManagedAgentId) -> Result<(), Error> {
    let (project, world) = (id.project(), draft.world());
    let agent = world.agent(id).ok_or_else(|| Error::no_agent(&id.to_string()))?;
    let name = &agent.spec.metadata.name;
    let gone = ManagedAgent::decide(Some(agent), Command::Delete).map_err(Error::rejected)?;
    draft.release(project, names::Kind::ManagedAgent, None, name)?;
    draft.push(id.stream(), gone);
    if let Some(runs) = world.service(id.service()) {
        let gone = Service::decide(Some(runs), service::Command::Delete).map_err(Error::rejected)?;
        draft.release(project, names::Kind::Service, Some(id.room()), &runs.spec.metadata.name)?;
        draft.push(id.service().stream(), gone);
    }
    if let Some(room) = world.room(id.room()) {
        let gone = Room::decide(Some(room), room::Command::Delete).map_err(Error::rejected)?;
        draft.release(project, names::Kind::Room, None, room.name.as_str())?;
        draft.push(id.room().stream(), gone);
    }
    Ok(())
}

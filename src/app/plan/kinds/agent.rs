//! `kind: ManagedAgent`. Its room and its service are no resources of their own: they come, change and go with it.

use super::{Change, Found, Home, Key, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::agents::{home_of, service_of};
use crate::app::plan::draft::Draft;
use crate::domain::managed_agent::{Command, ManagedAgent};
use crate::domain::names;
use crate::domain::room::{self, Room};
use crate::domain::service::{self, Service};
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
        super::room::inside(world, ManagedAgentId::new(project, id).room()).collect()
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
                let world = draft.world();
                draft.decide(id.stream(), world.agent(id), Command::Update(spec))?;
                draft.decide(id.service().stream(), world.service(id.service()), runs)
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
    draft.decide::<ManagedAgent>(id.stream(), None, Command::Create(spec))?;
    draft.decide::<Room>(room.stream(), None, room::Command::Create(home))?;
    draft.decide::<Service>(id.service().stream(), None, service::Command::Create(runs))
}

fn delete(draft: &mut Draft<'_>, id: ManagedAgentId) -> Result<(), Error> {
    let (project, world) = (id.project(), draft.world());
    let agent = world.agent(id).ok_or_else(|| Error::no_agent(&id.to_string()))?;
    let name = &agent.spec.metadata.name;
    draft.release(project, names::Kind::ManagedAgent, None, name)?;
    draft.decide(id.stream(), Some(agent), Command::Delete)?;
    if let Some(runs) = world.service(id.service()) {
        draft.release(project, names::Kind::Service, Some(id.room()), &runs.spec.metadata.name)?;
        draft.decide(id.service().stream(), Some(runs), service::Command::Delete)?;
    }
    if let Some(room) = world.room(id.room()) {
        draft.release(project, names::Kind::Room, None, room.name.as_str())?;
        draft.decide(id.room().stream(), Some(room), room::Command::Delete)?;
    }
    Ok(())
}

//! `kind: GitSource`. When it goes, what it applied stays, and is held by it no more.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::draft::Draft;
use crate::domain::git_source::{Command, GitSource, Refused, SOURCES_MAX};
use crate::domain::inventory::{Dropped, Inventory};
use crate::domain::{Entity, Event, names};
use crate::id::{GitSourceId, ProjectId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::Kind;
use serde_json::Value;
use uuid::Uuid;

/// Resources in one fact that they are not held any more.
const DROPPED_PER_FACT: usize = 4_000;

pub struct GitSources;

fn key(source: &GitSource) -> Key {
    Key::new(Kind::GitSource, None, source.spec.metadata.name.as_str())
}

impl Resource for GitSources {
    fn kind(&self) -> Kind {
        Kind::GitSource
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        world.git_sources(project).map(|(id, source)| (id.uuid(), key(source))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let source = world.git_source(GitSourceId::new(project, id))?;
        Some(Found {
            key: key(source),
            document: document_of(&source.spec),
            generation: source.generation,
            created_at: Some(source.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.git_source(GitSourceId::new(project, id)).map(|source| source.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        GitSourceId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let others = document.get("depends_on").and_then(Value::as_array).into_iter().flatten();
        let reference = |(at, name): (usize, &Value)| {
            let key = Key::new(Kind::GitSource, None, name.as_str()?);
            Some(Reference { path: format!("depends_on[{at}]"), key })
        };
        others.enumerate().filter_map(reference).collect()
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.git_sources, &new.git_sources)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, world) = (draft.project(), draft.world());
        match change {
            Change::Create { id, key, document } => {
                let there = || world.git_sources(project).count();
                if draft.count(Kind::GitSource, project.uuid(), there) >= SOURCES_MAX {
                    return Err(Error::rejected(Refused::TooMany));
                }
                let made = GitSource::decide(None, Command::Create(typed(key, document)?));
                draft.claim(project, names::Kind::GitSource, None, &key.name, id)?;
                draft.push(GitSourceId::new(project, id).stream(), made.map_err(Error::rejected)?);
            }
            Change::Update { id, key, document } => {
                let id = GitSourceId::new(project, id);
                let old = draft.world().git_source(id);
                let events = GitSource::decide(old, Command::Update(typed(key, document)?));
                draft.push(id.stream(), events.map_err(Error::rejected)?);
            }
            Change::Delete { id } => {
                let id = GitSourceId::new(project, id);
                let old = draft.world().git_source(id);
                let gone = GitSource::decide(old, Command::Delete).map_err(Error::rejected)?;
                let Some(old) = old else { return Ok(()) };
                draft.release(project, names::Kind::GitSource, None, &old.spec.metadata.name)?;
                draft.push(id.stream(), gone);
                let let_go = let_go(draft.world(), project, &old.source());
                draft.push(Inventory::stream(project), let_go);
            }
        }
        Ok(())
    }
}

/// The facts that a source holds nothing any more.
pub(in crate::app) fn let_go(world: &World, project: ProjectId, source: &str) -> Vec<Event> {
    let held = world.inventory(project).into_iter().flat_map(|inventory| inventory.of(source));
    let held: Vec<Uuid> = held.map(|(id, ..)| id).collect();
    let fact = |resources: &[Uuid]| {
        let (source, resources) = (source.to_owned(), resources.to_vec());
        Event::InventoryDropped(Dropped { source, resources })
    };
    held.chunks(DROPPED_PER_FACT).map(fact).collect()
}

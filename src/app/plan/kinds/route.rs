//! `kind: Route`. Its domain is its name, whatever the case, and unique on the whole platform.

use super::{Change, Found, Home, Key, Reference, Resource, differing, document_of, typed};
use crate::app::Error;
use crate::app::plan::Ground;
use crate::app::plan::draft::Draft;
use crate::app::plan::problem::{Code, Problem};
use crate::app::routes::{check_count, check_domain, shown};
use crate::domain::route::{Backend, Command, Route, Wanted, canonical, is_domain};
use crate::domain::{Entity, names, route};
use crate::id::{ProjectId, RouteId, StreamId};
use crate::projection::{ProjectView, World};
use crate::spec::{self, Kind};
use serde_json::Value;
use uuid::Uuid;

pub struct Routes;

fn key(route: &Route) -> Key {
    Key::new(Kind::Route, None, route.domain())
}

/// The names in a document's backend, and the kinds they are of.
fn backends(document: &Value) -> impl Iterator<Item = (&'static str, Kind, &str)> {
    let named = [("backend.room.name", "/backend/room/name", Kind::Room)].into_iter().chain([(
        "backend.agent.name",
        "/backend/agent/name",
        Kind::ManagedAgent,
    )]);
    named.filter_map(|(path, pointer, kind)| Some((path, kind, document.pointer(pointer)?.as_str()?)))
}

impl Resource for Routes {
    fn kind(&self) -> Kind {
        Kind::Route
    }

    fn home(&self) -> Home {
        Home::Project
    }

    fn name_at(&self) -> &'static str {
        "/domain"
    }

    fn canonical(&self, name: &str) -> String {
        canonical(name)
    }

    fn all(&self, world: &World, project: ProjectId) -> Vec<(Uuid, Key)> {
        world.routes(project).map(|(id, route)| (id.uuid(), key(route))).collect()
    }

    fn read(&self, world: &World, project: ProjectId, id: Uuid) -> Option<Found> {
        let route = world.route(RouteId::new(project, id))?;
        Some(Found {
            key: key(route),
            document: document_of(&shown(world, route)),
            generation: route.generation,
            created_at: Some(route.created_at),
        })
    }

    fn generation(&self, world: &World, project: ProjectId, id: Uuid) -> Option<u64> {
        world.route(RouteId::new(project, id)).map(|route| route.generation)
    }

    fn stream(&self, project: ProjectId, id: Uuid) -> StreamId {
        RouteId::new(project, id).stream()
    }

    fn references(&self, document: &Value) -> Vec<Reference> {
        let reference = |(path, kind, name): (&str, Kind, &str)| {
            let name = if kind == Kind::ManagedAgent { name.trim().to_lowercase() } else { name.to_owned() };
            Reference { path: path.to_owned(), key: Key::new(kind, None, name) }
        };
        backends(document).map(reference).collect()
    }

    fn check(&self, ground: &Ground<'_>, key: &Key, _document: &Value, old: Option<Uuid>) -> Vec<Problem> {
        if old.is_some() {
            return vec![];
        }
        let mut problems = vec![];
        let invalid = |text: String| Problem::of(Code::Invalid, None, key, text).at("domain");
        if !is_domain(&key.name) {
            problems.push(invalid(route::Refused::BadDomain(key.name.clone()).to_string()));
        }
        if let Err(error) = check_domain(&key.name, ground.settings) {
            problems.push(invalid(error.to_string()));
        }
        let platform = ProjectId::PLATFORM;
        if ground.world.named(platform, names::Kind::RouteDomain, None, &key.name).is_some() {
            let text = "the domain belongs to another project of this server".to_owned();
            problems.push(invalid(text).hint("choose another"));
        }
        problems
    }

    fn changed(&self, old: &ProjectView, new: &ProjectView) -> Vec<Uuid> {
        differing(&old.routes, &new.routes)
    }

    fn change(&self, draft: &mut Draft<'_>, change: Change<'_>) -> Result<(), Error> {
        let (project, platform, world) = (draft.project(), ProjectId::PLATFORM, draft.world());
        match change {
            Change::Create { id, key, document } => {
                let there = || world.routes(project).count();
                check_count(draft.count(Kind::Route, project.uuid(), there))?;
                let wanted = read(draft, key, document)?;
                draft.claim(platform, names::Kind::RouteDomain, None, &key.name, id)?;
                let made = Route::decide(None, Command::Create(wanted)).map_err(Error::rejected)?;
                draft.push(RouteId::new(project, id).stream(), made);
            }
            Change::Update { id, key, document } => {
                let wanted = read(draft, key, document)?;
                let id = RouteId::new(project, id);
                let old = draft.world().route(id);
                let events = Route::decide(old, Command::Update(wanted)).map_err(Error::rejected)?;
                draft.push(id.stream(), events);
            }
            Change::Delete { id } => {
                let id = RouteId::new(project, id);
                let old = draft.world().route(id).ok_or_else(|| Error::no_route(&id.to_string()))?;
                let gone = Route::decide(Some(old), Command::Delete).map_err(Error::rejected)?;
                draft.release(platform, names::Kind::RouteDomain, None, &old.domain())?;
                draft.push(id.stream(), gone);
            }
        }
        Ok(())
    }
}

fn read(draft: &Draft<'_>, key: &Key, document: &Value) -> Result<Wanted, Error> {
    let spec: spec::Route = typed(key, document)?;
    let backend = match (&spec.backend.room, &spec.backend.agent) {
        (Some(room), _) => Backend::Room(draft.room(&room.name)?),
        (None, Some(agent)) => Backend::Agent(draft.agent(&agent.name.trim().to_lowercase())?),
        (None, None) => return Err(Error::no_room("")),
    };
    Ok(Wanted { spec, backend })
}

//! Routes. A domain is unique on the whole platform.

use super::rooms::{claim, release};
use super::{Actor, App, Change, Decision, Error, Settings};
use crate::domain::Entity;
use crate::domain::names::Kind;
use crate::domain::route::{Backend, Command, Route, Wanted, canonical};
use crate::id::{ManagedAgentId, ProjectId, RouteId, StreamId};
use crate::projection::World;
use crate::spec::{self, BackendRef};

/// Most routes of one project.
pub const ROUTES_MAX: usize = 10_000;

impl App {
    pub async fn create_route(
        &self,
        actor: &Actor,
        project: ProjectId,
        spec: spec::Route,
    ) -> Result<RouteId, Error> {
        let id = RouteId::new(project, self.ids.fresh());
        let domain = canonical(&spec.domain);
        check_domain(&domain, &self.settings)?;
        self.transact(actor, |world| {
            check_count(world.routes(project).count())?;
            let backend = backend(world, project, &spec)?;
            let wanted = Wanted { spec: spec.clone(), backend };
            let made = Route::decide(None, Command::Create(wanted)).map_err(Error::rejected)?;
            let claimed = claim(world, ProjectId::PLATFORM, Kind::RouteDomain, None, &domain, id.uuid())?;
            let stands = Change::stands(project, stream(backend));
            Ok(Decision {
                changes: vec![stands, claimed, Change::new(project, id.stream(), made)],
                answer: id,
            })
        })
        .await
    }

    /// Replaces all but the domain. Says whether anything changed.
    pub async fn update_route(&self, actor: &Actor, id: RouteId, spec: spec::Route) -> Result<bool, Error> {
        let project = id.project();
        self.transact(actor, |world| {
            let old = find(world, id)?;
            let backend = backend(world, project, &spec)?;
            let wanted = Wanted { spec: spec.clone(), backend };
            let events = Route::decide(Some(old), Command::Update(wanted)).map_err(Error::rejected)?;
            let changed = !events.is_empty();
            let stands = Change::stands(project, stream(backend));
            Ok(Decision { changes: vec![stands, Change::new(project, id.stream(), events)], answer: changed })
        })
        .await
    }

    pub async fn delete_route(&self, actor: &Actor, id: RouteId) -> Result<(), Error> {
        self.transact(actor, |world| {
            let old = find(world, id)?;
            let events = Route::decide(Some(old), Command::Delete).map_err(Error::rejected)?;
            let released = release(world, ProjectId::PLATFORM, Kind::RouteDomain, None, &old.domain())?;
            let changes = vec![Change::new(id.project(), id.stream(), events), released];
            Ok(Decision { changes, answer: () })
        })
        .await
    }

    /// A project's route by its domain, or why not.
    pub fn route_named(&self, project: ProjectId, domain: &str) -> Result<(RouteId, Route), Error> {
        let world = self.world();
        let uuid = world.named(ProjectId::PLATFORM, Kind::RouteDomain, None, &canonical(domain));
        let id = uuid.map(|uuid| RouteId::new(project, uuid));
        let found = id.and_then(|id| Some((id, world.route(id)?.clone())));
        found.ok_or_else(|| Error::no_route(domain))
    }
}

/// Refuses what would answer in place of this server itself, and names that are not this server's to give.
pub(super) fn check_domain(domain: &str, settings: &Settings) -> Result<(), Error> {
    if reserved_domain(&settings.public_url).is_some_and(|own| own == domain) {
        let text = format!("`{domain}` is this server's own name; choose another domain for the route");
        return Err(Error::Invalid { code: "route-domain-reserved", text });
    }
    let Some(parent) = &settings.proxy_domain else { return Ok(()) };
    if domain.strip_suffix(parent.as_str()).is_some_and(|name| name.len() > 1 && name.ends_with('.')) {
        return Ok(());
    }
    let text = format!(
        "routes of this server are below `{parent}`, and `{domain}` is not; choose a name such as `NAME.{parent}`"
    );
    Err(Error::Invalid { code: "route-domain-foreign", text })
}

/// The host of this server, where it is a name.
#[must_use]
pub fn reserved_domain(public_url: &str) -> Option<String> {
    let url = url::Url::parse(public_url).ok()?;
    url.domain().map(canonical)
}

/// Whether a project with so many routes may have one more.
pub(super) fn check_count(there: usize) -> Result<(), Error> {
    if there < ROUTES_MAX {
        return Ok(());
    }
    let text = format!("the project has {ROUTES_MAX} routes, and cannot have more; delete some first");
    Err(Error::Invalid { code: "route-limit", text })
}

fn stream(backend: Backend) -> StreamId {
    match backend {
        Backend::Room(room) => room.stream(),
        Backend::Agent(agent) => agent.stream(),
    }
}

/// Whom the names in a route mean.
fn backend(world: &World, project: ProjectId, spec: &spec::Route) -> Result<Backend, Error> {
    if let Some(BackendRef { name }) = &spec.backend.room {
        let found = world.find_room(project, name).map(|(id, _)| Backend::Room(id));
        return found.ok_or_else(|| Error::no_room(name));
    }
    let name = spec.backend.agent.as_ref().map(|agent| agent.name.trim().to_lowercase()).unwrap_or_default();
    let uuid = world.named(project, Kind::ManagedAgent, None, &name);
    let id = uuid.map(|uuid| ManagedAgentId::new(project, uuid)).filter(|id| world.agent(*id).is_some());
    id.map(Backend::Agent).ok_or_else(|| Error::no_agent(&name))
}

/// A route's document with the present names of who is behind it.
#[must_use]
pub fn shown(world: &World, route: &Route) -> spec::Route {
    let name = match route.backend {
        Backend::Room(room) => world.room(room).map(|room| room.name.to_string()),
        Backend::Agent(agent) => world.agent(agent).map(|agent| agent.spec.metadata.name.clone()),
    };
    let named = name.map(|name| BackendRef { name });
    let backend = match (route.backend, named) {
        (_, None) => route.spec.backend.clone(),
        (Backend::Room(_), room) => spec::Backend { room, agent: None },
        (Backend::Agent(_), agent) => spec::Backend { room: None, agent },
    };
    spec::Route { backend, ..route.spec.clone() }
}

fn find(world: &World, id: RouteId) -> Result<&Route, Error> {
    world.route(id).ok_or_else(|| Error::no_route(&id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_name_is_no_routes() {
        assert_eq!(reserved_domain("https://Mesh.Example:8443"), Some("mesh.example".to_owned()));
        assert_eq!(reserved_domain("http://127.0.0.1:8078"), None);
    }
}

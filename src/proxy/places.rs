//! How much is under way for strangers: requests, and bytes of theirs that are held, so that no site takes another's.

use crate::id::{ProjectId, RouteId};
use crate::share;
use std::any::Any;
use std::sync::Arc;

/// Requests under way at once, with their open sockets: of all, of a project, of a route.
pub const REQUESTS_MAX: usize = 4_096;
pub const REQUESTS_PER_PROJECT_MAX: usize = 1_024;
pub const REQUESTS_PER_ROUTE_MAX: usize = 512;
/// Connections that other servers have to ports here: of all, of a project.
pub const PASSAGES_MAX: usize = 4_096;
pub const PASSAGES_PER_PROJECT_MAX: usize = 1_024;
/// Bytes of bodies that are held whole at once: of all, of a project.
pub const HELD_BYTES_MAX: usize = 128 * 1024 * 1024;
pub const HELD_PER_PROJECT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Hands out places.
#[derive(Debug)]
pub struct Places {
    projects: Arc<share::Places<ProjectId>>,
    routes: Arc<share::Places<RouteId>>,
    bytes: Arc<share::Places<ProjectId>>,
    passages: Arc<share::Places<ProjectId>>,
}

/// One request's place, given up when dropped.
#[derive(Debug)]
pub struct Place {
    _of_project: share::Place<ProjectId>,
    _of_route: share::Place<RouteId>,
    /// What else is held as long.
    held: Option<Box<dyn Any + Send + Sync>>,
}

impl Place {
    /// Holds something as long as the place.
    pub fn hold(&mut self, held: Option<Box<dyn Any + Send + Sync>>) {
        self.held = held;
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            projects: share::Places::new(REQUESTS_MAX, REQUESTS_PER_PROJECT_MAX),
            routes: share::Places::new(REQUESTS_MAX, REQUESTS_PER_ROUTE_MAX),
            bytes: share::Places::new(HELD_BYTES_MAX, HELD_PER_PROJECT_BYTES_MAX),
            passages: share::Places::new(PASSAGES_MAX, PASSAGES_PER_PROJECT_MAX),
        }
    }
}

impl Places {
    /// A place for one more request; none where there are too many.
    pub fn take(&self, route: RouteId) -> Option<Place> {
        Some(Place {
            _of_project: self.projects.take(route.project())?,
            _of_route: self.routes.take(route)?,
            held: None,
        })
    }

    /// A place for one more connection of another server.
    pub fn passage(&self, project: ProjectId) -> Option<share::Place<ProjectId>> {
        self.passages.take(project)
    }

    /// A place for a body of so many bytes.
    pub fn bytes(&self, project: ProjectId, bytes: usize) -> Option<share::Place<ProjectId>> {
        self.bytes.take_many(project, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn one_site_leaves_places_to_others() {
        let places = Places::default();
        let route =
            |project, route| RouteId::new(ProjectId::new(Uuid::from_u128(project)), Uuid::from_u128(route));
        let mut held: Vec<Place> =
            (0..REQUESTS_PER_ROUTE_MAX).map(|_| places.take(route(1, 1)).unwrap()).collect();
        assert!(places.take(route(1, 1)).is_none(), "the route is full");
        held.extend((0..REQUESTS_PER_ROUTE_MAX).map(|_| places.take(route(1, 2)).unwrap()));
        assert!(places.take(route(1, 3)).is_none(), "the project is full");
        assert!(places.take(route(2, 4)).is_some(), "another has places");
        drop(held.pop());
        assert!(places.take(route(1, 2)).is_some());
    }
}

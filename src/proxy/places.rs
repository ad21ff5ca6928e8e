//! How many requests are under way: per route, per project, and altogether, so that no site takes another's place.

use crate::id::{ProjectId, RouteId};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests under way at once, with their open sockets: of all, of a project, of a route.
pub const REQUESTS_MAX: usize = 4_096;
pub const REQUESTS_PER_PROJECT_MAX: usize = 1_024;
pub const REQUESTS_PER_ROUTE_MAX: usize = 512;

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    projects: HashMap<ProjectId, usize>,
    routes: HashMap<RouteId, usize>,
}

/// Hands out places.
#[derive(Debug, Default)]
pub struct Places(Mutex<Counts>);

/// One request's place, given up when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    route: RouteId,
    /// What else is held as long.
    held: Option<Box<dyn Any + Send + Sync>>,
}

impl Place {
    /// Holds something as long as the place.
    pub fn hold(&mut self, held: Option<Box<dyn Any + Send + Sync>>) {
        self.held = held;
    }
}

impl Places {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more request; none where there are too many.
    pub fn take(self: &Arc<Self>, route: RouteId) -> Option<Place> {
        let mut counts = self.counts();
        let of_project = counts.projects.get(&route.project()).copied().unwrap_or_default();
        let of_route = counts.routes.get(&route).copied().unwrap_or_default();
        if counts.all >= REQUESTS_MAX
            || of_project >= REQUESTS_PER_PROJECT_MAX
            || of_route >= REQUESTS_PER_ROUTE_MAX
        {
            return None;
        }
        counts.all += 1;
        counts.projects.insert(route.project(), of_project + 1);
        counts.routes.insert(route, of_route + 1);
        Some(Place { places: Arc::clone(self), route, held: None })
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        counts.all -= 1;
        less(&mut counts.projects, &self.route.project());
        less(&mut counts.routes, &self.route);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn one_site_leaves_places_to_others() {
        let places = Arc::new(Places::default());
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
        drop(held);
        let counts = places.counts();
        assert_eq!((counts.all, counts.projects.len(), counts.routes.len()), (0, 0, 0));
    }
}

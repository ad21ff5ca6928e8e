//! Routes.

use super::{ProjectRest, RestError, optional, parse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What answers at a domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Route {
    pub domain: String,
    /// A `Route` document.
    pub spec: Value,
}

impl ProjectRest {
    /// Makes a route of a document.
    pub async fn create_route(&self, spec: &Value) -> Result<(), RestError> {
        self.rest.post(&self.at(&["routes"]), &json!({ "spec": spec })).await.map(drop)
    }

    /// All routes, or those to one room, or those whose domain contains `filter`.
    pub async fn routes(&self, room: Option<&str>, filter: Option<&str>) -> Result<Vec<Route>, RestError> {
        let query: Vec<_> = filter.map(|filter| ("filter", filter.to_owned())).into_iter().collect();
        let Some(room) = room else {
            return self.rest.pages(&self.at(&["routes"]), &query, "routes").await;
        };
        self.rest.offset_pages(&self.at(&["rooms", room, "routes"]), &query, "routes", "count").await
    }

    /// The route of a domain.
    pub async fn route(&self, domain: &str) -> Result<Option<Route>, RestError> {
        let answer = optional(self.rest.get(&self.at(&["routes", domain]), &[]).await)?;
        answer.map(|mut answer| parse("route", answer["route"].take())).transpose()
    }

    /// Replaces a route.
    pub async fn update_route(&self, domain: &str, spec: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["routes", domain]), &json!({ "spec": spec })).await.map(drop)
    }

    pub async fn delete_route(&self, domain: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["routes", domain])).await.map(drop)
    }
}

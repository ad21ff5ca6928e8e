//! Git sources: what is done to one beside reading it as a resource.

use super::{ProjectRest, RestError};
use serde_json::{Value, json};

impl ProjectRest {
    /// Has a source looked at now; the answer has the number of the request.
    pub async fn reconcile_source(&self, name: &str) -> Result<Value, RestError> {
        self.rest.post(&self.v1(&["sources", name, "reconcile"]), &json!({})).await
    }

    /// Suspends a source, or lets it go on.
    pub async fn suspend_source(&self, name: &str, suspend: bool) -> Result<Value, RestError> {
        let verb = if suspend { "suspend" } else { "resume" };
        self.rest.post(&self.v1(&["sources", name, verb]), &json!({})).await
    }

    /// Deletes a source; what it applied stays.
    pub async fn delete_source(&self, name: &str) -> Result<(), RestError> {
        self.rest.delete(&self.v1(&["sources", name])).await.map(drop)
    }
}

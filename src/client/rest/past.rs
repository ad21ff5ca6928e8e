//! Resources of every kind with their status, their past, and what they need.

use super::{FieldChange, Plan, ProjectRest, Refusal, RestError, parse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A resource with its document and its status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resource {
    pub kind: String,
    #[serde(default)]
    pub room: Option<String>,
    pub name: String,
    pub id: String,
    pub generation: u64,
    pub document: Value,
    #[serde(default)]
    pub sources: Value,
    #[serde(default)]
    pub status: Value,
}

/// One resource that is not as a source applied it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drift {
    pub source: String,
    pub kind: String,
    #[serde(default)]
    pub room: Option<String>,
    pub name: String,
    pub id: String,
    /// From what was applied to what is.
    pub changes: Vec<FieldChange>,
    /// Who changed it last.
    pub by: String,
    pub at: String,
    pub position: u64,
}

impl ProjectRest {
    pub(super) fn v1<'a>(&'a self, segments: &[&'a str]) -> Vec<&'a str> {
        [&["v1", "projects", self.id.as_str()], segments].concat()
    }

    /// One resource of a kind, now or at a moment.
    pub async fn resource(
        &self,
        kind: &str,
        name: &str,
        query: &[(&str, String)],
    ) -> Result<Option<Resource>, RestError> {
        super::optional(self.rest.get_as(&self.v1(&["resources", kind, name]), query).await)
    }

    /// Every resource of a kind, now or at a moment.
    pub async fn resources(&self, kind: &str, query: &[(&str, String)]) -> Result<Vec<Resource>, RestError> {
        self.rest.pages(&self.v1(&["resources", kind]), query, "items").await
    }

    /// Deletes a resource with what is in it.
    pub async fn delete_resource(&self, kind: &str, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.v1(&["resources", kind, id])).await.map(drop)
    }

    /// Has controllers leave a resource alone, or work on it again; `force` also against other sources.
    pub async fn pause(
        &self,
        (kind, name): (&str, &str),
        room: Option<&str>,
        (paused, force): (bool, bool),
    ) -> Result<Resource, RestError> {
        let verb = if paused { "pause" } else { "resume" };
        let body = json!({"room": room, "force": force});
        self.rest.post_as(&self.v1(&["resources", kind, name, verb]), &body).await
    }

    /// What became of a resource.
    pub async fn history(
        &self,
        kind: &str,
        name: &str,
        query: &[(&str, String)],
    ) -> Result<Value, RestError> {
        self.rest.get(&self.v1(&["resources", kind, name, "history"]), query).await
    }

    /// What differs between two moments.
    pub async fn differences(&self, from: &str, to: Option<&str>) -> Result<Value, RestError> {
        let mut query = vec![("from", from.to_owned())];
        query.extend(to.map(|to| ("to", to.to_owned())));
        self.rest.get(&self.v1(&["differences"]), &query).await
    }

    /// What sources applied, and somebody else changed since.
    pub async fn drift(&self, source: Option<&str>) -> Result<Vec<Drift>, RestError> {
        let query: Vec<_> = source.map(|source| ("source", source.to_owned())).into_iter().collect();
        let mut answer = self.rest.get(&self.v1(&["drift"]), &query).await?;
        parse("drift", answer["drift"].take())
    }

    /// Every resource as a document.
    pub async fn documents(&self, at: Option<&str>) -> Result<Vec<Value>, RestError> {
        let query: Vec<_> = at.map(|at| ("at", at.to_owned())).into_iter().collect();
        let mut answer = self.rest.get(&self.v1(&["documents"]), &query).await?;
        parse("documents", answer["documents"].take())
    }

    /// Every resource with what it needs.
    pub async fn graph(&self) -> Result<Value, RestError> {
        self.rest.get(&self.v1(&["graph"]), &[]).await
    }

    /// Brings back what a source had applied at a moment.
    pub async fn rollback(&self, to: &str, source: Option<&str>, dry_run: bool) -> Result<Plan, Refusal> {
        let body = json!({"to": to, "source": source, "dry_run": dry_run});
        self.rest.planned(&self.v1(&["rollback"]), &body).await
    }
}

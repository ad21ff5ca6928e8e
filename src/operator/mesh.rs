//! The server as the operator sees it: documents in, states out. A port, so that tests can tell each request.

use crate::client::rest::{
    Bearer, Change, Plan, PlanRequest, ProjectRest, Refusal, Resource, Rest, RestError, Watch,
};
use async_trait::async_trait;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What the operator asks of a server.
#[async_trait]
pub trait Mesh: fmt::Debug + Send + Sync + 'static {
    /// Makes everything as the documents of a source say, all or nothing.
    async fn apply(&self, request: &PlanRequest) -> Result<Plan, Refusal>;

    /// One resource with its status; `None` where there is none.
    async fn resource(
        &self,
        kind: &str,
        name: &str,
        room: Option<&str>,
    ) -> Result<Option<Resource>, RestError>;

    /// The changes of a kind since a position; everything there is first, where no position is named.
    async fn watch(&self, kind: &str, since: Option<u64>) -> Result<Box<dyn Changes>, RestError>;
}

/// Changes as they come.
#[async_trait]
pub trait Changes: Send {
    /// The next; `None` when the server ended the watch.
    async fn next(&mut self) -> Option<Result<Change, RestError>>;
}

/// Where the API key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    Fixed(Bearer),
    /// A file that somebody may replace at any time, such as that of a mounted Secret.
    File(PathBuf),
}

/// A server by its REST interface.
#[derive(Debug)]
pub struct RestMesh {
    url: String,
    project: Option<String>,
    key: KeySource,
    /// The client made with the key that was read last.
    made: Mutex<Option<(String, ProjectRest)>>,
}

/// Longest API key, bytes.
const KEY_BYTES_MAX: usize = 4096;

impl RestMesh {
    /// `url` is the API URL; the project is the key's where none is named.
    #[must_use]
    pub const fn new(url: String, project: Option<String>, key: KeySource) -> Self {
        Self { url, project, key, made: Mutex::new(None) }
    }

    async fn project(&self) -> Result<ProjectRest, RestError> {
        let key = match &self.key {
            KeySource::Fixed(bearer) => bearer.expose().to_owned(),
            KeySource::File(path) => {
                let unread = |reason: String| RestError::Local { path: path.display().to_string(), reason };
                let text =
                    tokio::fs::read_to_string(path).await.map_err(|error| unread(error.to_string()))?;
                let key = text.trim();
                if key.is_empty() || key.len() > KEY_BYTES_MAX {
                    return Err(unread("it holds no API key".to_owned()));
                }
                key.to_owned()
            }
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, project)) = made.as_ref().filter(|(known, _)| *known == key) {
            return Ok(project.clone());
        }
        let of_key = || crate::client::token::project_of_key(&key).map(|id| id.to_string());
        let unknown = || RestError::InvalidUrl {
            url: self.url.clone(),
            reason: "no project is known: the API key names none, and neither does --project-id".to_owned(),
        };
        let id = self.project.clone().or_else(of_key).ok_or_else(unknown)?;
        let project = Rest::new(&self.url, Some(Bearer::new(key.as_str())))?.project(&id);
        *made = Some((key, project.clone()));
        Ok(project)
    }
}

#[async_trait]
impl Mesh for RestMesh {
    async fn apply(&self, request: &PlanRequest) -> Result<Plan, Refusal> {
        self.project().await?.apply(request).await
    }

    async fn resource(
        &self,
        kind: &str,
        name: &str,
        room: Option<&str>,
    ) -> Result<Option<Resource>, RestError> {
        let query: Vec<_> = room.map(|room| ("room", room.to_owned())).into_iter().collect();
        self.project().await?.resource(kind, name, &query).await
    }

    async fn watch(&self, kind: &str, since: Option<u64>) -> Result<Box<dyn Changes>, RestError> {
        Ok(Box::new(self.project().await?.watch(kind, since).await?))
    }
}

#[async_trait]
impl Changes for Watch {
    async fn next(&mut self) -> Option<Result<Change, RestError>> {
        Watch::next(self).await
    }
}

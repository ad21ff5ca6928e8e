//! The files service: what rooms and agents have in storage, over HTTP.

use super::{Config, ProjectRest, Rest, RestError, TRANSFER_IDLE_TIMEOUT};
use crate::domain::access::StoragePath;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;
use std::io;
use url::Url;

/// Entries asked for per page of a folder.
const PAGE_ENTRIES: usize = 1000;
/// Pages read of one folder at most.
const PAGES_MAX: usize = 10_000;
/// Marks a folder in the answer to `HEAD`.
const FOLDER_HEADER: &str = "x-meshagent-is-folder";

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    Room,
    Agent,
}

/// A tree of files: one room's or one agent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileTarget {
    pub project_id: String,
    pub kind: TargetKind,
    pub name: String,
}

impl fmt::Display for FileTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TargetKind::Room => "room",
            TargetKind::Agent => "agent",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// A file or folder within a folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    #[serde(default)]
    pub is_folder: bool,
    #[serde(default)]
    pub size: Option<u64>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// What `HEAD` says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub is_folder: bool,
    pub size: Option<u64>,
    pub content_type: Option<String>,
}

/// The files service of one server.
#[derive(Debug, Clone)]
pub struct Files {
    rest: Rest,
    base: Url,
}

impl ProjectRest {
    /// Finds the files service by `GET /config`; none if the server has no such service.
    pub async fn files(&self) -> Result<Option<Files>, RestError> {
        let config: Config = self.rest.config().await?;
        let Some(base) = config.domains.get("files").cloned().flatten() else { return Ok(None) };
        let full = if base.contains("://") { base } else { format!("https://{base}") };
        let base = Url::parse(&full)
            .map_err(|error| RestError::InvalidUrl { url: full, reason: error.to_string() })?;
        Ok(Some(Files { rest: self.rest.clone(), base }))
    }
}

impl Files {
    fn url(&self, target: &FileTarget, path: &str) -> Result<Url, RestError> {
        // A URL has no place for `.` and `..`: without them it would name another file.
        let path = StoragePath::parse(path).map_err(|error| RestError::BadPath(error.to_string()))?;
        let kind = match target.kind {
            TargetKind::Room => "rooms",
            TargetKind::Agent => "agents",
        };
        let mut url = self.base.clone();
        {
            let mut segments = url.path_segments_mut().map_err(|()| RestError::InvalidUrl {
                url: self.base.to_string(),
                reason: "it cannot have a path".into(),
            })?;
            segments.pop_if_empty().extend([target.project_id.as_str(), kind, target.name.as_str()]);
            // The root of a tree is written with a slash at its end; so is nothing else, and a root splits into one.
            segments.extend(path.as_str().split('/'));
        }
        Ok(url)
    }

    /// What is at a path; none if nothing is.
    pub async fn stat(&self, target: &FileTarget, path: &str) -> Result<Option<Stat>, RestError> {
        let request = self.rest.request(Method::HEAD, self.url(target, path)?);
        let request = request.timeout(super::REQUEST_TIMEOUT);
        let asked = format!("HEAD {path}");
        let Some(response) = super::optional(self.rest.send(request, &asked).await)? else { return Ok(None) };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(Some(Stat {
            is_folder: header(FOLDER_HEADER) == Some("true"),
            size: header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()),
            content_type: header(CONTENT_TYPE.as_str()).map(str::to_owned),
        }))
    }

    /// The entries of a folder (`""` is the root).
    pub async fn list(&self, target: &FileTarget, folder: &str) -> Result<Vec<Entry>, RestError> {
        let asked = format!("GET ?list&prefix={folder}");
        let mut entries = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut url = self.url(target, "")?;
            url.query_pairs_mut()
                .append_pair("list", "")
                .append_pair("prefix", folder)
                .append_pair("limit", &PAGE_ENTRIES.to_string())
                .extend_pairs(token.iter().map(|token| ("continuation_token", token)));
            let request = self.rest.request(Method::GET, url).timeout(super::REQUEST_TIMEOUT);
            let response = self.rest.send(request, &asked).await?;
            let mut page: serde_json::Value =
                response.json().await.map_err(|error| self.rest.broken(&asked, &error))?;
            entries.extend(super::parse::<Vec<Entry>>(&asked, page["entries"].take())?);
            match page["continuation_token"].as_str().map(str::to_owned) {
                None => return Ok(entries),
                next if next == token => return Err(RestError::Endless { asked }),
                next => token = next,
            }
        }
        Err(RestError::Endless { asked })
    }

    /// Downloads a file as a stream of pieces.
    pub async fn get(
        &self,
        target: &FileTarget,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, RestError>> + use<>, RestError> {
        let asked = format!("GET {path}");
        let request = self.rest.request(Method::GET, self.url(target, path)?);
        let response = self.rest.send(request, &asked).await?;
        let rest = self.rest.clone();
        let pieces =
            response.bytes_stream().map(move |piece| piece.map_err(|error| rest.broken(&asked, &error)));
        Ok(idle_bounded(pieces))
    }

    /// Uploads a stream of pieces. Without `overwrite` an existing file is a conflict (409).
    pub async fn put<S>(
        &self,
        target: &FileTarget,
        path: &str,
        overwrite: bool,
        body: S,
    ) -> Result<(), RestError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let mut url = self.url(target, path)?;
        url.query_pairs_mut().append_pair("overwrite", &overwrite.to_string());
        let content_type = mime_guess::from_path(path).first_or_octet_stream();
        let request = self
            .rest
            .request(Method::PUT, url)
            .header(CONTENT_TYPE, content_type.essence_str())
            .body(reqwest::Body::wrap_stream(body));
        self.rest.send(request, &format!("PUT {path}")).await.map(drop)
    }

    /// Removes a file, or with `recursive` a folder and all below it.
    pub async fn delete(&self, target: &FileTarget, path: &str, recursive: bool) -> Result<(), RestError> {
        let mut url = self.url(target, path)?;
        url.query_pairs_mut().append_pair("recursive", &recursive.to_string());
        let request = self.rest.request(Method::DELETE, url).timeout(super::REQUEST_TIMEOUT);
        self.rest.send(request, &format!("DELETE {path}")).await.map(drop)
    }

    /// Makes a folder.
    pub async fn mkdir(&self, target: &FileTarget, path: &str) -> Result<(), RestError> {
        self.action(target, path, "mkdir", &json!({})).await
    }

    /// Copies within the server, also between targets.
    pub async fn copy(
        &self,
        from: (&FileTarget, &str),
        to: (&FileTarget, &str),
        overwrite: bool,
    ) -> Result<(), RestError> {
        let body = json!({"source": {"target": from.0, "path": from.1}, "overwrite": overwrite});
        self.action(to.0, to.1, "copy", &body).await
    }

    async fn action(
        &self,
        target: &FileTarget,
        path: &str,
        action: &str,
        body: &serde_json::Value,
    ) -> Result<(), RestError> {
        let mut url = self.url(target, path)?;
        url.query_pairs_mut().append_pair("action", action);
        let request = self.rest.request(Method::POST, url).timeout(super::REQUEST_TIMEOUT).json(body);
        self.rest.send(request, &format!("POST {path} ({action})")).await.map(drop)
    }

    /// A URL that works without a credential until it expires: `{url, method, headers, expires_at}`.
    pub async fn presign(
        &self,
        target: &FileTarget,
        path: &str,
        method: &str,
        expires_in_s: u64,
    ) -> Result<serde_json::Value, RestError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v1", "presign"]);
        }
        let body = json!({"target": target, "path": path, "method": method, "expires_in": expires_in_s});
        let request = self.rest.request(Method::POST, url).timeout(super::REQUEST_TIMEOUT).json(&body);
        let asked = "POST /v1/presign";
        let response = self.rest.send(request, asked).await?;
        response.json().await.map_err(|error| self.rest.broken(asked, &error))
    }
}

/// Ends a stream with an error when nothing comes for [`TRANSFER_IDLE_TIMEOUT`].
fn idle_bounded(
    pieces: impl Stream<Item = Result<Bytes, RestError>>,
) -> impl Stream<Item = Result<Bytes, RestError>> {
    futures_util::stream::unfold(Some(Box::pin(pieces)), |state| async move {
        let mut pieces = state?;
        match tokio::time::timeout(TRANSFER_IDLE_TIMEOUT, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((piece, Some(pieces))),
            Err(_) => {
                let error = RestError::Timeout { url: "the files service".into(), asked: "download".into() };
                Some((Err(error), None))
            }
        }
    })
}

//! The REST client: one method per route, typed answers, every request bounded in time, every list read page by page.
//! Knows nothing of the command line; takes the server's address and a bearer.

mod access;
mod agents;
mod error;
mod feeds;
mod files;
mod llm;
mod models;
mod past;
mod plan;
mod projects;
mod resources;
mod rooms;
mod routes;
mod secrets;
mod servers;
mod sources;
mod tasks;
mod watch;
mod webhooks;

pub use agents::{AgentConnection, ManagedAgent};
pub use error::RestError;
pub use files::{Entry, FileTarget, Files, Stat, TargetKind};
pub use models::{
    ApiKey, Config, Connection, Mailbox, Project, Room, RoomEvent, RoomStatus, Run, ServiceAccount, Session,
    Task,
};
pub use past::{Drift, Resource};
pub use plan::{FieldChange, Plan, PlanProblem, PlanRequest, Refusal, Step};
pub use resources::{ServiceBody, ServiceScope};
pub use routes::Route;
pub use secrets::{SecretOwner, Secrets};
pub use tasks::TaskFilter;
pub use watch::{Change, Watch};

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use url::Url;

/// Longest wait for the TCP and TLS handshakes.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a whole JSON answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest silence within a file transfer.
pub const TRANSFER_IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Items asked for per page.
pub const PAGE_ITEMS: usize = 100;
/// Most pages read of one listing; more means that the server repeats itself.
pub const PAGES_MAX: usize = 10_000;

/// A bearer text that does not show in logs.
#[derive(Clone)]
pub struct Bearer(String);

impl Bearer {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the header or a signature.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(…)")
    }
}

/// A server's REST interface as one caller sees it.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: Url,
    bearer: Option<Bearer>,
}

impl Rest {
    /// `base` is the API URL, for example `http://127.0.0.1:8078`. Errors if it is not an http(s) URL.
    pub fn new(base: &str, bearer: Option<Bearer>) -> Result<Self, RestError> {
        let invalid = |reason: String| RestError::InvalidUrl { url: base.to_owned(), reason };
        let url = Url::parse(base.trim_end_matches('/'))
            .map_err(|error| invalid(format!("{error}; want http://HOST[:PORT] or https://HOST")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid("want http://HOST[:PORT] or https://HOST".into()));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("meshagent-rust/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { http, base: url, bearer })
    }

    /// The API URL without a trailing `/`.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The bearer this client sends.
    pub fn bearer(&self) -> Option<&Bearer> {
        self.bearer.as_ref()
    }

    fn url(&self, segments: &[&str]) -> Result<Url, RestError> {
        let mut url = self.base.clone();
        {
            let mut path = url.path_segments_mut().map_err(|()| RestError::InvalidUrl {
                url: self.base.to_string(),
                reason: "it cannot have a path".into(),
            })?;
            path.pop_if_empty().extend(segments);
        }
        Ok(url)
    }

    /// A request with the bearer, not yet sent.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer.expose()),
            None => request,
        }
    }

    async fn json(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, RestError> {
        let mut url = self.url(segments)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let asked = format!("{method} {}", url.path());
        let mut request = self.request(method, url).timeout(REQUEST_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.send(request, &asked).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&asked, &error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| RestError::NotJson { asked, reason: error.to_string() })
    }

    /// Sends and turns every status of 400 and more into an error that carries the server's words.
    pub(crate) async fn send(&self, request: RequestBuilder, asked: &str) -> Result<Response, RestError> {
        let response = request.send().await.map_err(|error| self.broken(asked, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(RestError::Status {
            status: status.as_u16(),
            asked: asked.to_owned(),
            message: error::message(status.as_u16(), &body),
        })
    }

    pub(crate) fn broken(&self, asked: &str, error: &reqwest::Error) -> RestError {
        let url = self.base().to_owned();
        if error.is_connect() {
            return RestError::Unreachable { url, reason: error::root_cause(error) };
        }
        if error.is_timeout() {
            return RestError::Timeout { url, asked: asked.to_owned() };
        }
        RestError::Broken { url, asked: asked.to_owned(), reason: error::root_cause(error) }
    }

    /// `GET`, the answer as it is.
    pub async fn get(&self, segments: &[&str], query: &[(&str, String)]) -> Result<Value, RestError> {
        self.json(Method::GET, segments, query, None).await
    }

    /// `GET`, the answer as a `T`.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, RestError> {
        parse(&format!("GET /{}", segments.join("/")), self.get(segments, query).await?)
    }

    pub async fn post(&self, segments: &[&str], body: &Value) -> Result<Value, RestError> {
        self.json(Method::POST, segments, &[], Some(body)).await
    }

    pub async fn post_as<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &Value,
    ) -> Result<T, RestError> {
        parse(&format!("POST /{}", segments.join("/")), self.post(segments, body).await?)
    }

    pub async fn put(&self, segments: &[&str], body: &Value) -> Result<Value, RestError> {
        self.json(Method::PUT, segments, &[], Some(body)).await
    }

    pub async fn patch(&self, segments: &[&str], body: &Value) -> Result<Value, RestError> {
        self.json(Method::PATCH, segments, &[], Some(body)).await
    }

    pub async fn delete(&self, segments: &[&str]) -> Result<Value, RestError> {
        self.json(Method::DELETE, segments, &[], None).await
    }

    /// Reads every page of a listing. `field` names the array in the answers.
    pub async fn pages<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
        field: &str,
    ) -> Result<Vec<T>, RestError> {
        let asked = format!("GET /{}", segments.join("/"));
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.push(("page_size", PAGE_ITEMS.to_string()));
            if let Some(token) = &token {
                query.push(("continuation_token", token.clone()));
            }
            let mut page = self.get(segments, &query).await?;
            items.extend(parse::<Vec<T>>(&asked, page[field].take())?);
            let next = page["continuation_token"].as_str().filter(|next| !next.is_empty());
            match next.map(str::to_owned) {
                None => return Ok(items),
                next if next == token => return Err(RestError::Endless { asked }),
                next => token = next,
            }
        }
        Err(RestError::Endless { asked })
    }

    /// The routes of one project.
    pub fn project(&self, project_id: &str) -> ProjectRest {
        ProjectRest { rest: self.clone(), id: project_id.to_owned() }
    }
}

/// The routes below `/accounts/projects/{project_id}`.
#[derive(Debug, Clone)]
pub struct ProjectRest {
    rest: Rest,
    id: String,
}

impl ProjectRest {
    /// The project's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The server as a whole.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    fn at<'a>(&'a self, segments: &[&'a str]) -> Vec<&'a str> {
        [&["accounts", "projects", self.id.as_str()], segments].concat()
    }
}

/// Reads a value as a `T`; the error names the request whose answer it was.
fn parse<T: DeserializeOwned>(asked: &str, value: Value) -> Result<T, RestError> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| RestError::Unexpected { asked: asked.to_owned(), reason: error.to_string() })
}

/// 404 means "there is none".
fn optional<T>(result: Result<T, RestError>) -> Result<Option<T>, RestError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does this URL stay on this machine? Such requests never go through a proxy.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_the_base_path_and_encode_each_segment() {
        let rest = Rest::new("http://host:1/api/", None).unwrap();
        assert_eq!(rest.base(), "http://host:1/api");
        let url = rest.url(&["rooms", "a/b c", "me@mail"]).unwrap();
        assert_eq!(url.as_str(), "http://host:1/api/rooms/a%2Fb%20c/me@mail");
        for bad in ["ftp://host", "host:80", "", "http://"] {
            assert!(matches!(Rest::new(bad, None), Err(RestError::InvalidUrl { .. })), "{bad}");
        }
    }

    #[test]
    fn a_bearer_does_not_show() {
        let rest = Rest::new("http://host", Some(Bearer::new("ma-secret"))).unwrap();
        assert!(!format!("{rest:?}").contains("ma-secret"));
    }
}

//! Connections to providers: kept open, with the key put in at the last moment.
//!
//! Addresses that projects set go through [`crate::net::guard`]; the operator's own do not. Redirects are not followed.

use super::headers::credential;
use super::{Operation, Provider};
use crate::net::guard::{self, Allowed, CONNECT_WAIT, Refused};
use crate::net::socket;
use crate::vault::Secret;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response as SocketAnswer;
use url::Url;
use uuid::Uuid;

/// How long a provider may take to begin its answer.
const ANSWER_WAIT: Duration = Duration::from_mins(15);
/// Longest silence within an answer. Event streams send comments more often.
const SILENCE_MAX: Duration = Duration::from_mins(10);
/// How long the addresses of a host that a project named are believed.
const LOOKED_UP_FOR: Duration = Duration::from_mins(5);
/// Connections to the addresses of projects that are kept; the oldest goes.
const TENANTS_MAX: usize = 256;

/// A provider's address and key.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// As SDKs take it; `None`: the provider's own.
    pub base_url: Option<Url>,
    pub api_key: Option<Secret>,
}

/// Why there was no answer. Names the host, never more of the address.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the key of {0} is no line of text; set it anew")]
    Key(Provider),
    #[error("`{host}` could not be asked: {why}; try again, and check the provider's address")]
    Unreachable { host: String, why: String },
    #[error("`{host}` did not begin to answer in time; try again")]
    Slow { host: String },
}

/// One provider, ready to be asked.
pub struct Upstream {
    base: Url,
    credential: Option<(HeaderName, HeaderValue)>,
    client: Client,
    /// What WebSockets may connect to beyond public addresses.
    allowed: Allowed,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("host", &self.host()).finish_non_exhaustive()
    }
}

/// What is asked of a provider.
#[derive(Debug)]
pub struct Ask<'a> {
    pub operation: &'a Operation,
    pub method: Method,
    pub query: Option<&'a str>,
    /// Already without what must not pass.
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Upstream {
    fn new(
        provider: Provider,
        endpoint: &Endpoint,
        builder: reqwest::ClientBuilder,
        allowed: Allowed,
    ) -> Result<Self, Failure> {
        let base = base(provider, endpoint)?;
        let credential = match &endpoint.api_key {
            Some(key) => Some(credential(provider, key).ok_or(Failure::Key(provider))?),
            None => None,
        };
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WAIT)
            .read_timeout(SILENCE_MAX)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Refused::Client(error.without_url().to_string()))?;
        Ok(Self { base, credential, client, allowed })
    }

    /// For texts.
    #[must_use]
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    fn url(&self, operation: &Operation, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), operation.path);
        url.set_path(&path);
        url.set_query(query);
        url
    }

    /// Asks, and answers as soon as the provider begins to.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Response, Failure> {
        let mut headers = ask.headers;
        if let Some((name, value)) = &self.credential {
            headers.insert(name.clone(), value.clone());
        }
        let url = self.url(ask.operation, ask.query);
        let has_body = !ask.body.is_empty() || ask.method == Method::POST || ask.method == Method::PUT;
        let mut request = self.client.request(ask.method, url).headers(headers);
        if has_body {
            request = request.body(ask.body);
        }
        let host = || self.host().to_owned();
        let sent = tokio::time::timeout(ANSWER_WAIT, request.send()).await;
        sent.map_err(|_| Failure::Slow { host: host() })?
            .map_err(|error| Failure::Unreachable { host: host(), why: root_cause(error) })
    }

    /// Dials a WebSocket.
    pub async fn dial(
        &self,
        operation: &Operation,
        query: Option<&str>,
        headers: HeaderMap,
    ) -> Result<(socket::Upstream, SocketAnswer), Failure> {
        let mut url = self.url(operation, query);
        let scheme = if matches!(url.scheme(), "https" | "wss") { "wss" } else { "ws" };
        let _ = url.set_scheme(scheme);
        let host = || self.host().to_owned();
        let bad = |error: tokio_tungstenite::tungstenite::Error| Failure::Unreachable {
            host: host(),
            why: error.to_string(),
        };
        let target = guard::check_url(url.clone(), &self.allowed).await?;
        let mut request = url.as_str().into_client_request().map_err(bad)?;
        for (name, value) in &headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        if let Some((name, value)) = &self.credential {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let dialled = socket::dial(&target, request).await;
        dialled.map_err(|why| Failure::Unreachable { host: host(), why })
    }
}

/// Without a slash at its end, and for Anthropic without the version, which its paths have.
fn base(provider: Provider, endpoint: &Endpoint) -> Result<Url, Refused> {
    let mut url = match endpoint.base_url.clone() {
        Some(url) => url,
        None => Url::parse(provider.address()).map_err(|error| Refused::Invalid(error.to_string()))?,
    };
    let mut path = url.path().trim_end_matches('/').to_owned();
    if provider == Provider::Anthropic
        && let Some(without) = path.strip_suffix("/v1")
    {
        path.truncate(without.len());
    }
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn root_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// All providers: the operator's, and those of projects as they are asked.
#[derive(Debug)]
pub struct Upstreams {
    operator: HashMap<Provider, Arc<Upstream>>,
    /// By the revision of the project's settings.
    tenants: Mutex<HashMap<Uuid, (Instant, Arc<Upstream>)>>,
    allowed: Allowed,
}

impl Upstreams {
    /// `operator`: the server's own; `allowed`: hosts beyond public addresses that projects may name.
    pub fn new(
        operator: impl IntoIterator<Item = (Provider, Endpoint)>,
        allowed: Allowed,
    ) -> Result<Self, Failure> {
        let ready = |(provider, endpoint): (Provider, Endpoint)| {
            let host = base(provider, &endpoint)?.host_str().unwrap_or_default().to_owned();
            let mut builder = Client::builder();
            if is_loopback(&host) {
                builder = builder.no_proxy();
            }
            let upstream = Upstream::new(provider, &endpoint, builder, Allowed::new([host]))?;
            Ok((provider, Arc::new(upstream)))
        };
        let operator = operator.into_iter().map(ready).collect::<Result<_, Failure>>()?;
        Ok(Self { operator, tenants: Mutex::default(), allowed })
    }

    /// The operator's provider, where there is one.
    #[must_use]
    pub fn operator(&self, provider: Provider) -> Option<Arc<Upstream>> {
        self.operator.get(&provider).cloned()
    }

    /// A project's provider that was asked before and not long ago.
    #[must_use]
    pub fn known(&self, revision: Uuid) -> Option<Arc<Upstream>> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, upstream) = tenants.get(&revision)?;
        (since.elapsed() < LOOKED_UP_FOR).then(|| Arc::clone(upstream))
    }

    /// A project's provider, by the revision of its settings.
    pub async fn tenant(
        &self,
        revision: Uuid,
        provider: Provider,
        endpoint: &Endpoint,
    ) -> Result<Arc<Upstream>, Failure> {
        let target = guard::check_url(base(provider, endpoint)?, &self.allowed).await?;
        let upstream = Upstream::new(provider, endpoint, target.client()?, self.allowed.clone())?;
        let upstream = Arc::new(upstream);
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX
            && let Some(oldest) = tenants.iter().min_by_key(|(_, (since, _))| *since).map(|(id, _)| *id)
        {
            tenants.remove(&oldest);
        }
        tenants.insert(revision, (Instant::now(), Arc::clone(&upstream)));
        Ok(upstream)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(provider: Provider, base_url: Option<&str>, path: &str) -> String {
        let base_url = base_url.map(|text| Url::parse(text).unwrap());
        let endpoint = Endpoint { base_url, api_key: Some(Secret::from("sk-needle".to_owned())) };
        let upstream = Upstream::new(provider, &endpoint, Client::builder(), Allowed::default()).unwrap();
        assert!(!format!("{upstream:?}").contains("needle"));
        upstream.url(&Operation::of(provider, path).unwrap(), Some("a=1")).to_string()
    }

    #[test]
    fn addresses_are_put_together_as_the_sdks_do() {
        assert_eq!(url(Provider::OpenAi, None, "responses"), "https://api.openai.com/v1/responses?a=1");
        let own = Some("http://127.0.0.1:11434/v1/");
        assert_eq!(url(Provider::OpenAi, own, "models"), "http://127.0.0.1:11434/v1/models?a=1");
        assert_eq!(
            url(Provider::Anthropic, None, "v1/messages"),
            "https://api.anthropic.com/v1/messages?a=1"
        );
        for base in ["http://h/a", "http://h/a/", "http://h/a/v1", "http://h/a/v1/?q#f"] {
            assert_eq!(url(Provider::Anthropic, Some(base), "v1/messages"), "http://h/a/v1/messages?a=1");
        }
        assert_eq!(url(Provider::Grok, None, "responses"), "https://api.x.ai/v1/responses?a=1");
    }

    #[tokio::test]
    async fn addresses_of_projects_are_guarded_and_the_operators_are_not() {
        let inside = Endpoint { base_url: Some(Url::parse("http://127.0.0.1:9/v1").unwrap()), api_key: None };
        let upstreams = Upstreams::new([(Provider::OpenAi, inside.clone())], Allowed::default()).unwrap();
        assert!(upstreams.operator(Provider::OpenAi).is_some());
        assert!(upstreams.operator(Provider::Grok).is_none());
        let refused = upstreams.tenant(Uuid::nil(), Provider::OpenAi, &inside).await.unwrap_err();
        assert!(matches!(refused, Failure::Refused(Refused::NotPublic(_))), "{refused}");
        assert!(upstreams.known(Uuid::nil()).is_none());
    }
}

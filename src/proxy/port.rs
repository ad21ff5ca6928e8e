//! Requests for a port of a service in the route's room: who may ask, and whether the service or a queue gets them.

use super::access::{Denied, Visitor, visitor};
use super::forward::{Failed, Outgoing, pass};
use super::headers::{API_SCOPE, USER, onward};
use super::page::Problem;
use super::passage::{PortOf, Stream};
use super::path::{Asked, behind};
use super::places::Place;
use super::signature::{Signed, Signer, Verdict, verify};
use super::site::Site;
use super::target::{Found, find};
use super::{Reached, Shared, content, queue, sign_in};
use crate::app::secrets::use_of::connecting_for;
use crate::id::ProjectId;
use crate::net::hop::asks_for_socket;
use crate::share;
use crate::spec::{RoutePath, TargetPort};
use crate::vault::Secret;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest body that is read whole: one that is signed, or that goes to a queue. Bytes.
pub const WHOLE_BYTES_MAX: usize = 1024 * 1024;
/// How long such a body may take to arrive.
const WHOLE_WAIT: Duration = Duration::from_secs(30);
/// How long a request waits for a service that starts.
const START_WAIT: Duration = Duration::from_secs(30);
/// Pause between two looks at a service that starts.
const START_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for one connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Annotations of ports and endpoints.
const QUEUE: &str = "meshagent.request.queue";
const METHOD: &str = "meshagent.request.validation.method";
const SECRET: &str = "meshagent.request.validation.secret";
const CHALLENGE_SECRET: &str = "meshagent.request.validation.challenge_secret";

/// Who may ask.
enum Gate {
    Everybody,
    /// Whoever has a role in the room, by a token or a sign-in.
    Visitors,
    /// Whoever signs, with which secrets.
    Signed(Signer, String, Option<String>),
}

/// The request, and the path of the route that it is for.
pub struct Asking<'a> {
    pub path: &'a RoutePath,
    pub target: &'a TargetPort,
    pub asked: &'a Asked,
    /// Segments that the path of the route takes.
    pub rest: usize,
    pub place: Place,
}

/// Answers a request for a port.
pub async fn answer(
    shared: &Shared,
    site: &Site<'_>,
    asking: Asking<'_>,
    request: Request,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let result = serve(shared, site, asking, &mut parts, body).await;
    match result {
        Ok(response) => response,
        Err(Refusal::Denied(denied)) => sign_in::refused(site, &parts, denied),
        Err(Refusal::Down(page, problem)) => match content::unavailable(shared, site, &page).await {
            Some(response) => response,
            None => problem.answer(&parts.headers),
        },
        Err(Refusal::Problem(problem)) => problem.answer(&parts.headers),
    }
}

enum Refusal {
    Denied(Denied),
    Problem(Problem),
    /// The service is down, and the route has a page for that.
    Down(String, Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

async fn serve(
    shared: &Shared,
    site: &Site<'_>,
    asking: Asking<'_>,
    parts: &mut Parts,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let Asking { path, target, asked, rest, mut place } = asking;
    let down = |problem: Problem| match &path.unavailable {
        Some(page) => Refusal::Down(page.clone(), problem),
        None => Refusal::Problem(problem),
    };
    let inner = asked.segments.get(rest..).unwrap_or_default();
    let seen = if path.strip_prefix { inner } else { asked.segments.as_slice() };
    let found = find(site, target, seen);
    let found =
        found.ok_or_else(|| down(Problem::unavailable("no service of this site publishes this port")))?;
    let queue = found.note(QUEUE).map(str::to_owned);
    let gate = gate(&found)?;
    let (mut by, mut held) = (None, None);
    let body = match &gate {
        Gate::Everybody => body,
        Gate::Visitors => {
            by = Some(visitor(shared, site, parts).await.map_err(Refusal::Denied)?);
            body
        }
        Gate::Signed(signer, secret, challenge) => {
            signer.expect(&parts.method, &parts.headers)?;
            let (whole, bytes) = whole(shared, site, &parts.headers, body, WHOLE_BYTES_MAX).await?;
            held = Some(bytes);
            let secrets = (secret.as_str(), challenge.as_deref());
            match signed(shared, site, &found, (*signer, secrets), parts, &whole).await? {
                Verdict::Good => Body::from(whole),
                Verdict::Asked(text) => return Ok(text_answer(text)),
            }
        }
    };
    if let Some(name) = queue {
        drop(held);
        let (whole, _bytes) = whole(shared, site, &parts.headers, body, WHOLE_BYTES_MAX).await?;
        return Ok(queue::put(shared, site, &name, by.as_ref(), parts, &whole).await?);
    }
    let stream = connect(shared, site, &found).await.map_err(down)?;
    // Who looks at a site is in its room, as long as the answer lasts.
    place.hold(shared.host.busy(site.room));
    let target = if path.strip_prefix { behind(parts.uri.path(), rest) } else { parts.uri.path().to_owned() };
    let outgoing = outgoing(site, parts, by.as_ref(), target, (stream, body));
    match pass(outgoing, place, shared.stop.clone()).await {
        Ok(response) => Ok(response),
        Err(Failed::TooLarge) => Err(too_large(Failed::TooLarge.to_string()).into()),
        Err(Failed::TooLate) => {
            let text = Failed::TooLate.to_string();
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "upstream-unreachable", text).into())
        }
        Err(error @ Failed::Broken(_)) => {
            tracing::debug!(%error, domain = site.domain, "a service broke off");
            let text = "the service broke off before it answered";
            Err(down(Problem::new(StatusCode::BAD_GATEWAY, "upstream-unreachable", text)))
        }
    }
}

/// Reads who may ask out of the port. What cannot be read lets nobody in.
fn gate(found: &Found<'_>) -> Result<Gate, Problem> {
    let wrong = |text: &str| {
        tracing::warn!(service = %found.service, "{text}");
        Problem::unavailable("this address is not set up right; those who run the site see why in its log")
    };
    let method = found.note(METHOD).map(|method| method.trim().to_ascii_lowercase());
    let secret = found.note(SECRET).map(str::to_owned);
    match (method.as_deref(), secret) {
        (None, _) if found.port.public == Some(true) => Ok(Gate::Everybody),
        (None | Some("cookie"), _) | (Some("bearer" | "jwt"), None) => Ok(Gate::Visitors),
        (Some(method), secret) => {
            let signer = Signer::parse(method);
            let signer = signer.ok_or_else(|| wrong("a port has a validation method that there is not"))?;
            let secret = secret.ok_or_else(|| wrong("a port validates requests, and names no secret"))?;
            Ok(Gate::Signed(signer, secret, found.note(CHALLENGE_SECRET).map(str::to_owned)))
        }
    }
}

async fn signed(
    shared: &Shared,
    site: &Site<'_>,
    found: &Found<'_>,
    (signer, (secret, challenge)): (Signer, (&str, Option<&str>)),
    parts: &Parts,
    body: &Bytes,
) -> Result<Verdict, Problem> {
    let secret = known(shared, site, found, secret).await?;
    let challenge = match challenge {
        Some(challenge) => Some(known(shared, site, found, challenge).await?),
        None => None,
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Signed {
        method: &parts.method,
        headers: &parts.headers,
        address: &format!("{}{target}", site.origin.host),
        query: parts.uri.query().unwrap_or_default(),
        body,
        now: shared.app.clock.now(),
    };
    verify(signer, &secret, challenge.as_ref(), &request)
}

/// The value of a secret that the service's account may use. An empty one is none.
async fn known(shared: &Shared, site: &Site<'_>, found: &Found<'_>, id: &str) -> Result<Secret, Problem> {
    let acting = connecting_for(site.world, found.service);
    let used = match acting {
        Ok(acting) => shared.app.proxied_secret(&shared.outward, acting, id, None).await,
        Err(error) => Err(error),
    };
    let value = used.map_err(|error| {
        tracing::warn!(%error, service = %found.service, "requests to a port cannot be validated");
        Problem::unavailable("requests cannot be validated now; those who run the site see why in its log")
    })?;
    let text = value.value.expose().trim_ascii();
    if text.is_empty() {
        return Err(Problem::unavailable("requests cannot be validated: the secret is empty"));
    }
    Ok(Secret::new(text.to_vec()))
}

/// A whole body of so many bytes at most, that arrives in time, and the place of its bytes: whoever sends one that he
/// does not finish holds that much, and no more.
pub(super) async fn whole(
    shared: &Shared,
    site: &Site<'_>,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<(Bytes, share::Place<ProjectId>), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > bytes_max) {
        return Err(too_large(format!("the body is larger than {bytes_max} bytes")));
    }
    let place = shared.places.bytes(site.room.project(), length.unwrap_or(bytes_max)).ok_or_else(|| {
        let text = "too much is being sent to this site just now; try again in a moment";
        Problem { retry_after: Some(1), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", text) }
    })?;
    let read = tokio::time::timeout(WHOLE_WAIT, axum::body::to_bytes(body, bytes_max)).await;
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time");
    let read = read.map_err(|_| late())?;
    let read =
        read.map_err(|_| too_large(format!("the body is broken, or larger than {bytes_max} bytes")))?;
    Ok((read, place))
}

fn too_large(text: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text)
}

fn text_answer(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The request as the service gets it; `path` as it is to see it.
fn outgoing(
    site: &Site<'_>,
    parts: &mut Parts,
    by: Option<&Visitor>,
    path: String,
    (stream, body): (Box<dyn Stream>, Body),
) -> Outgoing {
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let is_socket = asks_for_socket(&parts.headers);
    Outgoing {
        stream,
        method: parts.method.clone(),
        target: path + &query,
        headers: sent(site, parts, by),
        body,
        upgrade: is_socket.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten(),
    }
}

/// The headers for the service, with who asks.
fn sent(site: &Site<'_>, parts: &Parts, by: Option<&Visitor>) -> HeaderMap {
    let keep_authorization = by.is_none_or(|visitor| !visitor.by_header);
    let mut headers = onward(&parts.headers, &site.origin, keep_authorization);
    let Some(visitor) = by else { return headers };
    if let Some(value) = named(&visitor.name) {
        headers.insert(USER, value);
    }
    if let Some(value) = visitor.api.as_deref().and_then(|api| HeaderValue::from_str(api).ok()) {
        headers.insert(API_SCOPE, value);
    }
    headers
}

/// A visitor's name as a header. One that no header can carry would make everybody nobody: it is encoded, and so is one that
/// looks as if it were, or two people would be one.
fn named(name: &str) -> Option<HeaderValue> {
    let plain = HeaderValue::from_str(name).ok().filter(|_| name.is_ascii() && !name.contains('%'));
    let encoded = || url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>();
    plain.or_else(|| HeaderValue::from_str(&encoded()).ok())
}

/// A connection to the service, by way of another server where the room runs there.
async fn connect(shared: &Shared, site: &Site<'_>, found: &Found<'_>) -> Result<Box<dyn Stream>, Problem> {
    let port = PortOf { room: site.room, service: found.service, index: found.index };
    match reach(shared, port).await? {
        Way::Here(stream) => Ok(Box::new(stream)),
        Way::By(server) => {
            let now = shared.app.clock.now().timestamp();
            Ok(Box::new(shared.passages.open(&server, port, now).await?))
        }
    }
}

/// How a port is reached.
pub(super) enum Way {
    Here(TcpStream),
    /// By the server at this URL.
    By(String),
}

impl Way {
    /// On this server, or not at all: a request is passed on once.
    pub fn here(self) -> Result<TcpStream, Problem> {
        match self {
            Self::Here(stream) => Ok(stream),
            Self::By(_) => Err(Problem::unavailable("the room has just moved to another server; try again")),
        }
    }
}

/// Opens the room where it does not run, and where that is here waits for the service to come up, and connects.
pub(super) async fn reach(shared: &Shared, port: PortOf) -> Result<Way, Problem> {
    let PortOf { room, service, index } = port;
    let deadline = Instant::now() + START_WAIT;
    let hosted = shared.host.open(room).await.map_err(|error| {
        tracing::warn!(%error, %room, "the room of a site does not start");
        Problem::unavailable("the site does not start now; try again")
    })?;
    if let Some(server) = hosted.elsewhere {
        return Ok(Way::By(server));
    }
    let mut turn = None;
    loop {
        let why = match shared.ports.at(room, service, index).await {
            Reached::Never(why) => return Err(Problem::unavailable(why)),
            Reached::NotYet(why) => why,
            Reached::At(at) => match open(at).await {
                // Somebody else may have begun to listen there since; who took the connection gets nothing then.
                Ok(stream) if shared.ports.is_own(room, service, at).await => return Ok(Way::Here(stream)),
                Ok(_) => "what listens there is not the service's own process".to_owned(),
                Err(why) => why,
            },
        };
        if Instant::now() >= deadline {
            tracing::debug!(why, %room, "a service did not come up for a request");
            return Err(Problem::unavailable("the service behind this address does not answer; try again"));
        }
        // One of those who wait for it looks at a time.
        match turn {
            None => turn = shared.starts.take((service, index)).await,
            Some(_) => tokio::time::sleep(START_PAUSE).await,
        }
    }
}

async fn open(at: SocketAddr) -> Result<TcpStream, String> {
    let stream = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(at)).await;
    let stream = stream.map_err(|_| "it takes too long".to_owned())?.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_one_to_a_service() {
        let told = |name: &str| named(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!((told("ann b").as_str(), told("a+b").as_str()), ("ann b", "a+b"));
        assert_eq!((told("\u{fc}").as_str(), told("%C3%BC").as_str()), ("%C3%BC", "%25C3%25BC"));
        assert_eq!(told("a\n"), "a%0A");
    }
}

//! Ports of services that run on another server: that server passes the bytes through. Who may ask was decided here; the other
//! server hears from this one, by a ticket that both can sign, for which port.

use super::Shared;
use super::page::Problem;
use super::port::reach;
use crate::id::{ProjectId, RoomId, ServiceId};
use crate::vault::Secret;
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

/// Where a server is asked for a port of a service that runs on it.
const PATH: &str = "/between-servers/ports/{project}/{room}/{service}/{index}";
/// What the connection becomes.
const PROTOCOL: &str = "meshagent-port";
/// How long a ticket is good: clocks of servers differ.
const TICKET_SECONDS: i64 = 60;
/// How long the other server may take to connect: longer than it waits for a service that starts.
const ANSWER_WAIT: Duration = Duration::from_secs(40);
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A connection to a service, wherever it runs.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A port among those of a service, in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortOf {
    pub room: RoomId,
    pub service: ServiceId,
    pub index: usize,
}

/// Makes and checks tickets, and asks other servers.
pub(super) struct Passages {
    key: hmac::Key,
    /// None where the machine has no TLS roots; nothing is passed on then.
    http: Option<reqwest::Client>,
}

impl Passages {
    /// `secret` is what all servers on the same database share.
    pub fn new(secret: &Secret) -> Self {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), b"between-servers");
        let builder = reqwest::Client::builder().http1_only().no_proxy().connect_timeout(CONNECT_WAIT);
        let http = builder.redirect(reqwest::redirect::Policy::none()).build();
        let http =
            http.inspect_err(|error| tracing::warn!(%error, "other servers cannot be asked for ports"));
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), http: http.ok() }
    }

    fn ticket(&self, port: PortOf, now: i64) -> String {
        let expires = now + TICKET_SECONDS;
        let tag = hmac::sign(&self.key, signed(port, expires).as_bytes());
        format!("{expires}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    fn is_good(&self, ticket: &str, port: PortOf, now: i64) -> bool {
        let Some((expires, tag)) = ticket.split_once('.') else { return false };
        let (Ok(expires), Ok(tag)) = (expires.parse::<i64>(), URL_SAFE_NO_PAD.decode(tag)) else {
            return false;
        };
        hmac::verify(&self.key, signed(port, expires).as_bytes(), &tag).is_ok()
            && (now..=now + 2 * TICKET_SECONDS).contains(&expires)
    }

    /// Connects to a port by way of the server at this URL.
    pub async fn open(&self, server: &str, port: PortOf, now: i64) -> Result<impl Stream + use<>, Problem> {
        let away = |why: &str| {
            tracing::warn!(why, server, "a server did not pass a request for a route on");
            Problem::unavailable("the site runs on another server, which does not answer just now; try again")
        };
        let http = self.http.as_ref().ok_or_else(|| away("there is no HTTP client"))?;
        let PortOf { room, service, index } = port;
        let url = format!("{server}/between-servers/ports/{}/{room}/{service}/{index}", room.project());
        let asked = http
            .get(url)
            .bearer_auth(self.ticket(port, now))
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, PROTOCOL);
        let answer =
            tokio::time::timeout(ANSWER_WAIT, asked.send()).await.map_err(|_| away("it takes too long"))?;
        let answer = answer.map_err(|error| away(&error.without_url().to_string()))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let why = format!("it answers {}", answer.status());
            return Err(away(&why));
        }
        answer.upgrade().await.map_err(|error| away(&error.without_url().to_string()))
    }
}

/// Begins unlike whatever else is signed.
fn signed(port: PortOf, expires: i64) -> String {
    let PortOf { room, service, index } = port;
    format!("port\n{}\n{room}\n{service}\n{index}\n{expires}", room.project())
}

/// What other servers are answered.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route(PATH, get(pass)).with_state(shared)
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    Path((project, room, service, index)): Path<(Uuid, Uuid, Uuid, usize)>,
    mut request: Request,
) -> Response<Body> {
    let project = ProjectId::new(project);
    let port = PortOf { room: RoomId::new(project, room), service: ServiceId::new(project, service), index };
    match begin(&shared, port, &mut request).await {
        Ok(response) => response,
        Err(problem) => problem.answer(&HeaderMap::new()),
    }
}

async fn begin(shared: &Arc<Shared>, port: PortOf, request: &mut Request) -> Result<Response<Body>, Problem> {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let ticket = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !shared.passages.is_good(ticket, port, shared.app.clock.now().timestamp()) {
        let text = "this is for other servers on the same database";
        return Err(Problem::new(StatusCode::FORBIDDEN, "permission-denied", text));
    }
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade =
        upgrade.ok_or_else(|| Problem::new(StatusCode::UPGRADE_REQUIRED, "bad-request", PROTOCOL))?;
    let busy = || Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too many requests are passed on");
    let place = shared.places.passage(port.room.project()).ok_or_else(busy)?;
    let service = reach(shared, port).await?.here()?;
    let held = shared.host.busy(port.room);
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        let both = async {
            if let Ok(server) = upgrade.await {
                super::forward::relay(TokioIo::new(server), service).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = both => {}
        }
        drop((place, held));
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, axum::http::HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, axum::http::HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(index: usize) -> PortOf {
        let project = ProjectId::new(Uuid::from_u128(1));
        let (room, service) =
            (RoomId::new(project, Uuid::from_u128(2)), ServiceId::new(project, Uuid::from_u128(3)));
        PortOf { room, service, index }
    }

    #[test]
    fn a_ticket_is_for_one_port_one_minute_and_one_installation() {
        let passages = Passages::new(&Secret::new(b"0123456789abcdef".to_vec()));
        let ticket = passages.ticket(port(0), 1_000);
        assert!(passages.is_good(&ticket, port(0), 1_000));
        assert!(passages.is_good(&ticket, port(0), 1_059));
        assert!(!passages.is_good(&ticket, port(0), 1_061), "it is over");
        assert!(!passages.is_good(&ticket, port(1), 1_000), "another port");
        let other = Passages::new(&Secret::new(b"fedcba9876543210".to_vec()));
        assert!(!other.is_good(&ticket, port(0), 1_000), "another installation");
        let far = passages.ticket(port(0), 100_000);
        assert!(!passages.is_good(&far, port(0), 1_000), "made to last");
        for broken in ["", ".", "1060.", "1060.x", &ticket[1..], "x.y"] {
            assert!(!passages.is_good(broken, port(0), 1_000), "{broken}");
        }
    }
}

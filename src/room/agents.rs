//! The WebSocket at `/agents/{project}/{agent}/messages`: conversations with a managed agent. The agent's process is
//! dialled at its own socket, with a token that says who talks; then messages pass both ways unread.
//!
//! Whoever talks is in the agent's room for as long: it keeps the room, and the agent with it, alive.

use super::forward::{Upstream, asking};
use super::hub::{Hub, JoinError};
use super::outbox::{Batch, Outbox};
use super::session::{LiveSession, Peer};
use super::socket::{TOKEN_BYTES_MAX, refuse};
use super::world::{Admission, Refusal};
use crate::id::{ManagedAgentId, ProjectId};
use crate::share::{Place, Places};
use async_trait::async_trait;
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self as ws, Bytes};

/// Conversations of this server at a time.
pub const CONVERSATIONS_MAX: usize = 4_096;
/// Of them, those of one project.
pub const CONVERSATIONS_PER_PROJECT_MAX: usize = 1_024;
/// Largest message either way, bytes; agents read less and say so.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an agent may take to start and listen.
pub const START_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks at an agent that is starting: a process tells nobody that it listens.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Silence after which a caller is asked whether it is there; after twice that it is cut off.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long a side may take to take one message.
const SEND_MAX: Duration = Duration::from_secs(30);
/// The protocol that is spoken.
const PROTOCOL: &str = "meshagent-msgpack";
/// How sub-protocols begin that carry a token.
const TOKEN_PROTOCOLS: [&str; 3] = ["meshagent-agent.", "meshagent-token.", "bearer."];

/// Somebody who may talk to an agent.
#[derive(Debug, Clone)]
pub struct Caller {
    pub agent: ManagedAgentId,
    /// As whom they are in the agent's room meanwhile: they may do nothing there.
    pub admission: Admission,
}

/// What the edge needs of the rest of the server. The composition root implements it.
#[async_trait]
pub trait Agents: Send + Sync + 'static {
    /// Verifies a token for this agent of this project.
    async fn admit(&self, project: &str, agent: &str, token: &str) -> Result<Caller, Refusal>;
    /// Where the agent's process listens; `None` while it is starting, an error when it cannot start.
    async fn address(&self, agent: ManagedAgentId) -> Result<Option<SocketAddr>, String>;
    /// What its socket takes for `name`. Secret.
    async fn token(&self, agent: ManagedAgentId, name: &str) -> Result<String, String>;
}

/// What the endpoint works with.
#[derive(Clone)]
pub struct AgentEdge {
    pub hub: Arc<Hub>,
    pub agents: Arc<dyn Agents>,
}

impl fmt::Debug for AgentEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEdge").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Shared {
    edge: AgentEdge,
    places: Arc<Places<ProjectId>>,
}

/// The endpoint. A client whose base URL ends with `/` asks for `//agents/…`.
pub fn router(edge: AgentEdge) -> Router {
    let shared = Shared { edge, places: Places::new(CONVERSATIONS_MAX, CONVERSATIONS_PER_PROJECT_MAX) };
    let paths = ["/agents/{project}/{agent}/messages", "//agents/{project}/{agent}/messages"];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(enter))).with_state(shared)
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    token: Option<String>,
}

async fn enter(
    State(shared): State<Shared>,
    Path((project, agent)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let edge = &shared.edge;
    let (mut parts, _) = request.into_parts();
    let Some(token) = credential(&parts.headers, asked.token) else {
        let text = format!(
            "no participant token for agent `{agent}`: send `Authorization: Bearer <token>` with the one that \
             `connect` gives"
        );
        return refuse(&Refusal::Forbidden(text));
    };
    let caller = match edge.agents.admit(&project, &agent, &token).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal),
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Some(place) = shared.places.take(caller.agent.project()) else {
        let text = format!(
            "{CONVERSATIONS_PER_PROJECT_MAX} conversations of this project or {CONVERSATIONS_MAX} of all run on this \
             server; try again later"
        );
        return refuse(&Refusal::NotReady(text));
    };
    let reached = match edge.hub.join(&caller.admission).await {
        Ok((session, peer)) => {
            let presence = Presence { hub: Arc::clone(&edge.hub), session, peer };
            here(edge, &caller).await.map(|upstream| (upstream, Some(presence)))
        }
        Err(JoinError::Elsewhere { url }) => {
            let base = url.split_once("/rooms/").map_or(url.as_str(), |(base, _)| base);
            let url = format!("{base}/agents/{project}/{agent}/messages");
            dial(&url, &token).await.map(|upstream| (upstream, None))
        }
        Err(JoinError::Refused(refusal)) => return refuse(&refusal),
        Err(error) => Err(error.to_string()),
    };
    let (upstream, presence) = match reached {
        Ok(reached) => reached,
        Err(why) => return refuse(&Refusal::NotReady(format!("agent `{agent}` does not answer: {why}"))),
    };
    tracing::info!(target: "meshagent::audit", agent, name = %caller.admission.name, "conversation");
    upgrade
        .protocols(std::iter::once(PROTOCOL.to_owned()).chain(echoed(&parts.headers)))
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| converse(socket, upstream, presence, place))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).map(str::trim)
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

/// Requested sub-protocols that a client wants repeated.
fn echoed(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let wanted = |text: &&str| TOKEN_PROTOCOLS.iter().any(|prefix| strip(text, prefix).is_some());
    protocols(headers).filter(wanted).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// The token: in the header, the query, or a sub-protocol.
fn credential(headers: &HeaderMap, query: Option<String>) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|text| strip(text.trim(), "bearer ")).map(|token| token.trim().to_owned());
    let carried = || {
        protocols(headers)
            .find_map(|text| TOKEN_PROTOCOLS.iter().find_map(|prefix| strip(text, prefix)))
            .map(str::to_owned)
    };
    let usable = |token: &String| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    bearer.filter(usable).or_else(|| query.filter(usable)).or_else(|| carried().filter(usable))
}

/// The agent's own socket on this host, when its process listens.
async fn here(edge: &AgentEdge, caller: &Caller) -> Result<Upstream, String> {
    let token = edge.agents.token(caller.agent, &caller.admission.name).await?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = "its process is not there yet".to_owned();
    let started = async {
        loop {
            looks.tick().await;
            let Some(at) = edge.agents.address(caller.agent).await? else { continue };
            match dial(&format!("ws://{at}/messages"), &token).await {
                Ok(upstream) => return Ok(upstream),
                Err(why) => last = why,
            }
        }
    };
    match tokio::time::timeout(START_MAX, started).await {
        Ok(done) => done,
        Err(_) => Err(format!("it did not start within {} s: {last}", START_MAX.as_secs())),
    }
}

async fn dial(url: &str, token: &str) -> Result<Upstream, String> {
    let mut request = asking(url, token)?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let connected =
        tokio::time::timeout(CONNECT_MAX, connect_async_with_config(request, Some(config), true)).await;
    match connected {
        Ok(Ok((upstream, _))) => Ok(upstream),
        Ok(Err(ws::Error::Http(answer))) => Err(format!("it answered HTTP {}", answer.status().as_u16())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it did not take the connection in time".to_owned()),
    }
}

/// Takes the caller out of the agent's room when the conversation is over, however it ends.
struct Presence {
    hub: Arc<Hub>,
    session: Arc<LiveSession>,
    peer: Arc<Peer>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.hub.leave(&self.session, &self.peer);
    }
}

async fn converse(
    socket: WebSocket,
    upstream: Upstream,
    presence: Option<Presence>,
    _place: Place<ProjectId>,
) {
    let (mut to_caller, mut from_caller) = socket.split();
    let (mut to_agent, mut from_agent) = upstream.split();
    let over = async {
        match &presence {
            Some(presence) => session_over(&presence.peer.outbox).await,
            None => std::future::pending().await,
        }
    };
    let frame = tokio::select! {
        frame = onward(&mut from_caller, &mut to_agent) => frame,
        frame = back(&mut from_agent, &mut to_caller) => frame,
        frame = over => frame,
    };
    drop(presence);
    let _ = tokio::time::timeout(SEND_MAX, to_agent.close()).await;
    let _ = tokio::time::timeout(SEND_MAX, to_caller.send(Message::Close(frame))).await;
}

/// What the caller says; ends when the caller does, or is silent for too long.
async fn onward<R, W>(from: &mut R, to: &mut W) -> Option<CloseFrame>
where
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
    W: Sink<ws::Message, Error = ws::Error> + Unpin,
{
    loop {
        let message = match tokio::time::timeout(2 * PING_EVERY, from.next()).await {
            Ok(Some(Ok(Message::Binary(data)))) => ws::Message::Binary(data),
            Ok(Some(Ok(Message::Text(text)))) => ws::Message::text(text.as_str()),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return None,
            Err(_) => return frame(close_code::AWAY, "no answer"),
        };
        if !matches!(tokio::time::timeout(SEND_MAX, to.send(message)).await, Ok(Ok(()))) {
            return frame(close_code::AWAY, "the agent has stopped; connect again");
        }
    }
}

/// What the agent says, with pings in its silence; ends when the agent does.
async fn back<R, W>(from: &mut R, to: &mut W) -> Option<CloseFrame>
where
    R: Stream<Item = Result<ws::Message, ws::Error>> + Unpin,
    W: Sink<Message, Error = axum::Error> + Unpin,
{
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.reset();
    loop {
        let message = tokio::select! {
            _ = pings.tick() => Message::Ping(Bytes::new()),
            message = from.next() => match message {
                Some(Ok(ws::Message::Binary(data))) => Message::Binary(data),
                Some(Ok(ws::Message::Text(text))) => Message::text(text.as_str()),
                Some(Ok(ws::Message::Close(Some(close)))) => return frame(close.code.into(), &close.reason),
                Some(Ok(ws::Message::Ping(_) | ws::Message::Pong(_) | ws::Message::Frame(_))) => continue,
                Some(Ok(ws::Message::Close(None)) | Err(_)) | None => {
                    return frame(close_code::AWAY, "the agent has stopped; connect again");
                }
            },
        };
        if !matches!(tokio::time::timeout(SEND_MAX, to.send(message)).await, Ok(Ok(()))) {
            return None;
        }
    }
}

/// Reads what the room tells everybody who is in it, until the session ends.
async fn session_over(outbox: &Outbox) -> Option<CloseFrame> {
    loop {
        match outbox.next().await {
            Batch::Messages(messages) => {
                outbox.written(messages.iter().map(super::outbox::Item::bytes).sum());
            }
            Batch::Ping => {}
            Batch::Close { reason, .. } => return frame(close_code::AWAY, &reason),
            Batch::Drop(why) => return frame(close_code::AWAY, why),
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the other ends have none")]
fn frame(code: u16, reason: &str) -> Option<CloseFrame> {
    Some(CloseFrame { code, reason: reason.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn tokens_are_taken_from_header_query_and_protocol() {
        let token = |headers: &HeaderMap, query: Option<&str>| credential(headers, query.map(str::to_owned));
        assert_eq!(token(&with("authorization", "bearer abc"), Some("q")).as_deref(), Some("abc"));
        assert_eq!(token(&HeaderMap::new(), Some("q")).as_deref(), Some("q"));
        let asked = with("sec-websocket-protocol", "meshagent-msgpack, meshagent-token.t");
        assert_eq!(token(&asked, None).as_deref(), Some("t"));
        assert_eq!(echoed(&asked).collect::<Vec<_>>(), ["meshagent-token.t"]);
        assert_eq!(token(&with("authorization", "Basic abc"), None), None);
        assert_eq!(token(&HeaderMap::new(), Some(&"x".repeat(TOKEN_BYTES_MAX + 1))), None);
    }
}

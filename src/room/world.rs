//! What the room edge needs from the rest of the server, as traits. The composition root implements them.

use super::limits::Limits;
use crate::id::{RoomId, ServiceId, SessionId};
use crate::net::guard::Allowed;
use crate::spec::ApiScope;
use crate::vault::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A participant that may enter, as its token and the room's state say.
#[derive(Debug, Clone)]
pub struct Admission {
    pub room: RoomRef,
    /// Name the token was made for; other participants see it as the attribute `name`.
    pub name: String,
    /// `user`, `agent`, `tool`, …
    pub role: String,
    /// What the participant may do.
    pub api: Arc<ApiScope>,
    /// The service that started this participant, for one the server's own controllers started. Such a
    /// participant does not keep a session alive.
    pub service: Option<ServiceId>,
}

/// A room as the edge addresses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRef {
    pub id: RoomId,
    pub name: String,
    /// Where clients reach the room's socket, `http(s)://…/rooms/{name}` or `ws(s)://…`.
    pub url: String,
    pub limits: Limits,
}

/// Why a connection is refused before its upgrade. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 403: no token, or one that is broken, expired, signed by somebody else or meant for another room.
    #[error("{0}")]
    Forbidden(String),
    /// 404
    #[error("{0}")]
    NoRoom(String),
    /// 423
    #[error("{0}")]
    Disabled(String),
    /// 503: the server or the session is starting or stopping; the clients come back by themselves.
    #[error("{0}")]
    NotReady(String),
}

/// Decides who may enter which room.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Verifies `token` (HS256 by an API key of its project, not expired, room grant equal to `room`) and looks the
    /// room up, creating it where the server is set so.
    async fn admit(&self, room: &str, token: &str) -> Result<Admission, Refusal>;

    /// The same for the room that the token itself names.
    async fn admit_bearer(&self, _token: &str) -> Result<Admission, Refusal> {
        Err(Refusal::Forbidden("this server reads no room from a token; name the room".to_owned()))
    }
}

/// A session that this server now hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedSession {
    pub id: SessionId,
    /// Grows with every change of host; a host with an older one must not write.
    pub epoch: u64,
}

/// Who runs a room's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Here(OpenedSession),
    /// Another server; its clients are forwarded to `url` (`ws(s)://…/rooms/{name}`).
    Elsewhere {
        url: String,
    },
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Idle,
    /// Somebody asked for it, or the room was deleted or disabled.
    Stopped,
    /// Somebody asked for it at once: its sockets are dropped.
    Killed,
    /// This server lost the lease on the session.
    LeaseLost,
}

impl EndReason {
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Idle => "the session ended because it was idle",
            Self::Stopped => "the session was ended",
            Self::Killed => "the session was killed",
            Self::LeaseLost => "the session moved to another server",
        }
    }
}

/// A change among a session's participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Joined,
    Left,
}

/// Records sessions: the facts about them live in the log.
#[async_trait]
pub trait SessionKeeper: Send + Sync + 'static {
    /// Called once when a room is first needed; takes the lease and records the session.
    async fn open(&self, room: &RoomRef) -> Result<Host, Refusal>;
    /// A participant came or went. Must not block.
    fn touched(&self, room: RoomId, session: SessionId, participant: &str, presence: Presence);
    /// The live session is gone from this server; its sockets are closed.
    async fn ended(&self, room: RoomId, session: SessionId, reason: EndReason);
}

/// Keeps the log lines of sessions beyond their end.
pub trait LineSink: Send + Sync + 'static {
    /// Takes one line. Must not block.
    fn line(&self, session: SessionId, kind: &str, data: &Map<String, Value>);
}

/// One tool call, done.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpan {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// The span it was called in; `None` begins a trace.
    pub parent: Option<[u8; 8]>,
    /// `TOOLKIT.TOOL`.
    pub name: String,
    pub started: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    /// Why it failed; `None` when it did not.
    pub error: Option<String>,
    pub attributes: Map<String, Value>,
}

/// Keeps the tool calls of sessions.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes one call. Must not block.
    fn span(&self, session: SessionId, span: &ToolSpan);
}

/// What the `services` toolkit and the room's controllers know of services.
#[async_trait]
pub trait Services: Send + Sync + 'static {
    /// `ServiceSpec` documents and `ServiceRuntimeState` objects (room protocol §3.12) of the room.
    async fn list(&self, room: RoomId) -> Result<Vec<(Value, Value)>, ServiceError>;
    /// Asks for a restart; the controllers do it.
    async fn restart(&self, room: RoomId, service_id: &str, by: &str) -> Result<(), ServiceError>;
}

/// Why a service request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("service `{0}` does not exist in this room; `services.list` shows those that do")]
    NotFound(String),
    #[error("service `{service}` cannot be restarted: {why}")]
    RestartNotAllowed { service: String, why: String },
    #[error("{0}")]
    Failed(String),
}

/// Makes URLs by which somebody without a token may read one file for a while.
pub trait FileLinks: Send + Sync + 'static {
    /// A signed URL that expires. `download`: the answer carries `Content-Disposition: attachment`.
    fn url(&self, room: &RoomRef, path: &str, download: bool) -> Result<String, String>;
}

/// What `room.call` needs: credentials for the agent that is called.
#[async_trait]
pub trait Callouts: Send + Sync + 'static {
    /// A participant token for `name` in the room. `api` as the caller asked, `None` for the default.
    async fn mint(
        &self,
        room: &RoomRef,
        name: &str,
        api: Option<&Map<String, Value>>,
    ) -> Result<String, String>;
    /// The secret that signs calls to webhooks.
    async fn webhook_secret(&self, room: &RoomRef) -> Result<Vec<u8>, String>;
    /// Hosts, beyond public addresses, that calls may go to, set by the operator.
    fn allowed_hosts(&self) -> &Allowed;
}

/// Where a call is, and the right to join it.
#[derive(Clone)]
pub struct CallAccess {
    /// Of the LiveKit server, `ws(s)://…`.
    pub url: String,
    /// A LiveKit access token: a secret.
    pub token: String,
}

impl std::fmt::Debug for CallAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallAccess").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Voice and video of rooms, on a LiveKit server.
pub trait Calls: Send + Sync + 'static {
    /// Access for the participant called `name`, to the room's call or to that of one of its breakout rooms.
    fn join(&self, room: &RoomRef, name: &str, breakout_room: Option<&str>) -> Result<CallAccess, String>;
}

/// Secrets that participants keep in a room. Records are opaque; they are sealed where they rest.
#[async_trait]
pub trait RoomSecrets: Send + Sync + 'static {
    /// Every record of the room.
    async fn all(&self, room: RoomId) -> Result<Vec<Secret>, String>;
    /// Keeps or replaces a record. Refuses a new one beyond `most`.
    async fn put(&self, room: RoomId, key: &str, record: Secret, most: usize) -> Result<(), String>;
    async fn delete(&self, room: RoomId, key: &str) -> Result<(), String>;
}

/// An OAuth client of a participant's.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    pub id: String,
    pub secret: Option<Secret>,
    /// `https://…`
    pub token_endpoint: String,
}

/// What a token endpoint gave.
#[derive(Debug)]
pub struct GivenTokens {
    pub access_token: Secret,
    pub refresh_token: Option<Secret>,
}

/// Asks token endpoints (RFC 6749).
#[async_trait]
pub trait Consent: Send + Sync + 'static {
    /// Tokens for a code; `verifier` is PKCE's.
    async fn exchange(
        &self,
        client: &OAuthClient,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
    ) -> Result<GivenTokens, String>;
    async fn refresh(&self, client: &OAuthClient, refresh_token: &Secret) -> Result<GivenTokens, String>;
}

/// What a container of a room needs from the rest of the server.
#[async_trait]
pub trait ContainerDoors: Send + Sync + 'static {
    /// The variables of the template `agent`: addresses of the room, and a fresh participant token for `name` in role
    /// `agent` that may do what `api` says.
    async fn agent_environment(
        &self,
        room: &RoomRef,
        session: SessionId,
        name: &str,
        api: &ApiScope,
    ) -> Result<Vec<(String, Secret)>, String>;
    /// Starts the container of a service of the room, with these variables besides its own; its id.
    async fn run_service(
        &self,
        room: &RoomRef,
        service_id: &str,
        env: Vec<(String, String)>,
    ) -> Result<String, ServiceError>;
    /// The files of a configuration mount: names and texts.
    fn configuration(&self, room: &RoomRef) -> Vec<(&'static str, String)>;
    /// Whether a process of a service of the room listens on this port of this host, by the id that `services.list`
    /// shows as `container_id`.
    fn is_process_port(&self, room: RoomId, id: &str, port: u16) -> bool;
}

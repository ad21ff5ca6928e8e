//! Toolkits of model context protocol servers: for each server a room is to offer, a connection, kept up with growing
//! waits, and a participant of the server's own that hosts its tools. Grants and audit are those of every hosted toolkit.
//!
//! Knows the room and the protocol's client. Which servers there are to be it is told ([`ToolServers::offer`]).

mod calls;
mod connect;
mod credential;
mod listing;

use super::hub::Hub;
use super::lock;
use super::session::LiveSession;
use crate::app::tools::{Place, ToolServer, ToolServerState};
use crate::clock::IdSource;
use crate::id::{RoomId, SessionId};
use crate::net::guard::Allowed;
use crate::vault::Secret;
use async_trait::async_trait;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// First wait before a server is tried again; doubled with every failure in a row.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait.
const WAIT_MAX: Duration = Duration::from_mins(2);
/// Most servers of one room; more are not connected to.
pub const SERVERS_MAX: usize = 64;

/// What goes into `Authorization`: a whole value, or a bearer token by itself.
#[derive(Debug)]
pub struct Credential {
    pub value: Secret,
    /// How long it is good for; `None`: until it is replaced.
    pub valid_for: Option<Duration>,
}

/// Credentials for servers.
#[async_trait]
pub trait ToolSecrets: Send + Sync + 'static {
    /// What goes into `Authorization` of requests to a server: of its secret, else a token of its own client.
    async fn credential(&self, server: &ToolServer) -> Result<Credential, String>;
    /// Where requests may go.
    fn allowed_hosts(&self) -> &Allowed;
}

struct Running {
    server: ToolServer,
    session: SessionId,
    state: Arc<Mutex<ToolServerState>>,
    stop: CancellationToken,
}

/// The servers of all rooms that are live here.
pub struct ToolServers {
    hub: Arc<Hub>,
    secrets: Arc<dyn ToolSecrets>,
    ids: Arc<dyn IdSource>,
    running: Mutex<HashMap<(RoomId, Place), Running>>,
}

impl fmt::Debug for ToolServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolServers").field("running", &lock(&self.running).len()).finish_non_exhaustive()
    }
}

impl ToolServers {
    pub fn new(hub: Arc<Hub>, secrets: Arc<dyn ToolSecrets>, ids: Arc<dyn IdSource>) -> Self {
        Self { hub, secrets, ids, running: Mutex::default() }
    }

    /// Says which servers a room's live session is to offer, all of them. What changed is connected to anew, what is
    /// no longer among them is let go. Does not block.
    pub fn offer(&self, room: RoomId, wanted: Vec<ToolServer>) {
        let live = self.hub.live(room);
        let mut running = lock(&self.running);
        running.retain(|(of, place), run| {
            let wanted = || wanted.iter().any(|server| server.place == *place && *server == run.server);
            let lives = self.hub.live(*of).is_some_and(|session| session.opened.id == run.session);
            let stays = lives && (*of != room || wanted());
            if !stays {
                run.stop.cancel();
            }
            stays
        });
        let Some(session) = live else { return };
        for server in wanted.into_iter().take(SERVERS_MAX) {
            running.entry((room, server.place)).or_insert_with(|| self.begin(&session, server));
        }
    }

    /// How a server of a room is; `None` where it is not connected to.
    #[must_use]
    pub fn state(&self, room: RoomId, place: Place) -> Option<ToolServerState> {
        lock(&self.running).get(&(room, place)).map(|run| lock(&run.state).clone())
    }

    fn begin(&self, session: &Arc<LiveSession>, server: ToolServer) -> Running {
        let state = Arc::new(Mutex::new(ToolServerState::Connecting));
        let stop = CancellationToken::new();
        let worker = Worker {
            secrets: Arc::clone(&self.secrets),
            ids: Arc::clone(&self.ids),
            session: Arc::clone(session),
            server: server.clone(),
            state: Arc::clone(&state),
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = worker.keep_up() => {}
                () = stopped.cancelled() => {}
            }
        });
        Running { server, session: session.opened.id, state, stop }
    }
}

/// One server in one session.
pub(super) struct Worker {
    secrets: Arc<dyn ToolSecrets>,
    ids: Arc<dyn IdSource>,
    session: Arc<LiveSession>,
    server: ToolServer,
    state: Arc<Mutex<ToolServerState>>,
}

impl Worker {
    fn set(&self, state: ToolServerState) {
        *lock(&self.state) = state;
    }

    /// Connects, and again when the connection is lost, until the session is over.
    async fn keep_up(&self) {
        let mut wait = WAIT_FIRST;
        while !self.session.has_ended() {
            let ended = self.once().await;
            if matches!(*lock(&self.state), ToolServerState::Ready(_)) {
                wait = WAIT_FIRST;
            }
            let Err(why) = ended else { return };
            let (room, label) = (&self.session.room.name, &self.server.label);
            tracing::warn!(
                room,
                toolkit = label,
                why,
                ?wait,
                "a tool server is not there; it is tried again"
            );
            let line = serde_json::json!({
                "service_id": self.server.place.0.to_string(), "toolkit": label, "message": why,
            });
            if let serde_json::Value::Object(line) = line {
                self.session.logs.add("service.tools.failed", line);
            }
            self.set(ToolServerState::Failed(why));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}

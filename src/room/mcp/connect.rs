//! One connection: shakes hands, lists the tools, hosts them until the server or the session is gone.

use super::calls::Calls;
use super::credential::Renewing;
use super::{Worker, listing};
use crate::app::tools::ToolServerState;
use crate::net::guard::{self, Target};
use crate::room::outbox::{Batch, Item};
use crate::room::session::{Peer, Registration};
use crate::room::world::Admission;
use crate::spec::ApiScope;
use axum::http::{HeaderName, HeaderValue};
use rmcp::handler::client::ClientHandler;
use rmcp::model::{ClientConfig, Implementation, PaginatedRequestParams, Tool};
use rmcp::service::{NotificationContext, RoleClient, RunningService, ServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use url::Url;

/// How long the handshake and a look at the tools may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How often the tools are looked at again; it shows too whether the server is still there.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Most tools of one server.
pub const TOOLS_MAX: usize = 512;
/// Most pages of tools that are read.
const PAGES_MAX: usize = 64;
/// Role of the participant that hosts the tools.
const ROLE: &str = "tool";

/// The protocol's client: it only wants to know when the tools change.
struct Handler {
    changed: Arc<Notify>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        info.client_info = Implementation::new("meshagent", env!("CARGO_PKG_VERSION"));
        info
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

type Client = RunningService<RoleClient, Handler>;

impl Worker {
    /// Until the session ends (`Ok`), or the server is lost or never there (`Err`, why).
    pub(super) async fn once(&self) -> Result<(), String> {
        self.set(ToolServerState::Connecting);
        let changed = Arc::new(Notify::new());
        let client = self.connect(Arc::clone(&changed)).await?;
        let tools = tools(&client).await?;
        let admission = Admission {
            room: self.session.room.clone(),
            name: self.server.label.clone(),
            role: ROLE.to_owned(),
            api: Arc::new(ApiScope::default()),
            service: Some(self.server.place.0),
        };
        // The session that the server was offered to, never a new one.
        let Ok(peer) = self.session.join(self.ids.fresh().to_string(), &admission) else { return Ok(()) };
        let present = Present { worker: self, peer: &peer };
        self.register(&peer, &tools)?;
        let served = self.serve(&client, &peer, &changed).await;
        drop(present);
        drop(client);
        served
    }

    async fn connect(&self, changed: Arc<Notify>) -> Result<Client, String> {
        let target = self.target().await?;
        let mut config = StreamableHttpClientTransportConfig::with_uri(target.url.as_str());
        for (name, value) in &self.server.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
            let (name, value) = header.ok_or_else(|| format!("`{name}` is no header that can be sent"))?;
            config.custom_headers.insert(name, value);
        }
        let http = target.client().map_err(|error| error.to_string())?;
        let http = http.build().map_err(|error| error.without_url().to_string())?;
        let http = Renewing::new(http, Arc::clone(&self.secrets), self.server.clone());
        http.header().await?;
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let shaken = Handler { changed }.serve(transport);
        match tokio::time::timeout(ANSWER_WAIT, shaken).await {
            Ok(done) => done.map_err(|error| format!("`{}` is no tool server: {error}", target.host())),
            Err(_) => Err(format!("`{}` did not answer in {} s", target.host(), ANSWER_WAIT.as_secs())),
        }
    }

    async fn target(&self) -> Result<Target, String> {
        if !self.server.here {
            let checked = guard::check(&self.server.url, self.secrets.allowed_hosts()).await;
            return checked.map_err(|error| error.to_string());
        }
        let url = Url::parse(&self.server.url).map_err(|error| error.to_string())?;
        // The platform wrote it: an address, not a name.
        let addresses = url.socket_addrs(|| None).map_err(|error| error.to_string())?;
        Ok(Target { url, addresses })
    }

    /// Offers the tools that the spec lets through, in the place of those offered before.
    fn register(&self, peer: &Arc<Peer>, tools: &[Tool]) -> Result<(), String> {
        let listing = listing::of(&self.server, &peer.id, tools);
        let count =
            listing.get("tools").and_then(serde_json::Value::as_object).map_or(0, serde_json::Map::len);
        let registration = Registration {
            id: peer.id.clone(),
            name: self.server.label.clone(),
            public: true,
            listing,
            host: Arc::clone(peer),
        };
        self.session.register(registration).map_err(|error| error.to_string())?;
        self.set(ToolServerState::Ready(count));
        let (room, toolkit) = (&self.session.room.name, &self.server.label);
        tracing::info!(room, toolkit, count, "the tools of a tool server are in the room");
        Ok(())
    }

    async fn serve(&self, client: &Client, peer: &Arc<Peer>, changed: &Notify) -> Result<(), String> {
        let mut calls = Calls::new(client.peer().clone(), Arc::clone(peer), &self.server.label);
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        looks.reset();
        loop {
            tokio::select! {
                batch = peer.outbox.next() => match batch {
                    Batch::Messages(messages) => {
                        for item in messages {
                            peer.outbox.written(item.bytes());
                            // Calls are for this participant alone; what is for many is none.
                            if let Item::Own(message) = &item {
                                calls.take(message);
                            }
                        }
                    }
                    Batch::Ping => {}
                    Batch::Close { .. } | Batch::Drop(_) => return Ok(()),
                },
                lost = calls.next() => if let Some(why) = lost { return Err(why) },
                () = changed.notified() => self.register(peer, &tools(client).await?)?,
                _ = looks.tick() => {
                    if client.is_closed() {
                        return Err("the tool server closed the connection".to_owned());
                    }
                    self.register(peer, &tools(client).await?)?;
                }
            }
        }
    }
}

/// Takes the participant out again, however the connection ends.
struct Present<'a> {
    worker: &'a Worker,
    peer: &'a Arc<Peer>,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        crate::room::hosted::host_lost(self.peer);
        self.worker.session.leave(&self.peer.id);
    }
}

/// All tools of a server, page by page, within bounds.
async fn tools(client: &Client) -> Result<Vec<Tool>, String> {
    let all = async {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let mut page = PaginatedRequestParams::default();
            page.cursor = cursor;
            let answer = client.list_tools(Some(page)).await;
            let answer = answer.map_err(|error| format!("the tools cannot be listed: {error}"))?;
            tools.extend(answer.tools);
            cursor = answer.next_cursor;
            if cursor.is_none() || tools.len() > TOOLS_MAX {
                break;
            }
        }
        tools.truncate(TOOLS_MAX);
        Ok(tools)
    };
    let waited = tokio::time::timeout(ANSWER_WAIT, all).await;
    waited.unwrap_or_else(|_| Err(format!("the tools were not listed within {} s", ANSWER_WAIT.as_secs())))
}

//! The rooms that run here, as the REST edge and the controllers see them.

use super::doors::Doors;
use super::gate::{self, room_ref};
use crate::app::host::{Dial, Hosted, RoomHost, Usage};
use crate::app::servers::Servers;
use crate::app::tools::{Place, ToolServer, ToolServerState};
use crate::app::{App, Error};
use crate::clock::IdSource;
use crate::domain::session::Reason;
use crate::id::{RoomId, SessionId};
use crate::room::mcp::{ToolSecrets, ToolServers};
use crate::room::toolkits::storage::FileEvent;
use crate::room::world::{Admission, EndReason, Refusal};
use crate::room::{Hub, JoinError, Limits, dialled};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a room may take to start on another server.
const ELSEWHERE_WAIT: Duration = Duration::from_secs(5);

/// The hub behind the application's port.
#[derive(Debug)]
pub(super) struct HubHost {
    pub app: Arc<App>,
    pub hub: Arc<Hub>,
    pub tools: Arc<ToolServers>,
    pub limits: Limits,
    pub doors: Arc<Doors>,
    pub servers: Arc<Servers>,
}

/// The rooms of this server, with the tool servers they offer.
pub(super) fn host(
    app: &Arc<App>,
    hub: &Arc<Hub>,
    doors: &Arc<Doors>,
    ids: &Arc<dyn IdSource>,
    (limits, servers): (Limits, &Arc<Servers>),
) -> Arc<dyn RoomHost> {
    let secrets = Arc::clone(doors) as Arc<dyn ToolSecrets>;
    let tools = Arc::new(ToolServers::new(Arc::clone(hub), secrets, Arc::clone(ids)));
    let (app, hub) = (Arc::clone(app), Arc::clone(hub));
    Arc::new(HubHost { app, hub, tools, limits, doors: Arc::clone(doors), servers: Arc::clone(servers) })
}

#[async_trait]
impl RoomHost for HubHost {
    async fn open(&self, room: RoomId) -> Result<Hosted, Error> {
        let name = {
            let world = self.app.world();
            let state = world.room(room).ok_or_else(|| Error::no_room(&room.to_string()))?;
            state.name.to_string()
        };
        match self.hub.ensure(&room_ref(&self.app, self.limits, room, &name)).await {
            Ok(session) => {
                let url = self.app.settings.public_url.clone();
                Ok(Hosted { session: session.opened.id, url, elsewhere: None })
            }
            Err(JoinError::Elsewhere { url }) => self.elsewhere(room, &url).await,
            Err(JoinError::Refused(Refusal::NotReady(text))) => Err(Error::Busy(text)),
            Err(error) => Err(Error::Forbidden(error.to_string())),
        }
    }

    fn roles(&self, room: RoomId) -> BTreeMap<String, u64> {
        let mut roles = BTreeMap::new();
        for present in self.hub.roster(room) {
            *roles.entry(present.role).or_insert(0) += 1;
        }
        roles
    }

    fn idle_since(&self, room: RoomId) -> Option<DateTime<Utc>> {
        self.hub.idle_since(room)
    }

    fn busy(&self, room: RoomId) -> Option<Box<dyn Any + Send + Sync>> {
        self.hub.busy(room).map(|work| Box::new(work) as Box<dyn Any + Send + Sync>)
    }

    fn takes_rooms(&self) -> bool {
        !self.servers.is_draining()
    }

    fn live(&self) -> Vec<(RoomId, SessionId)> {
        self.hub.sessions()
    }

    async fn end(&self, room: RoomId, session: SessionId, reason: Reason) {
        let why = match reason {
            Reason::Idle => EndReason::Idle,
            Reason::Terminated | Reason::RoomGone => EndReason::Stopped,
            Reason::Killed => EndReason::Killed,
            Reason::HostGone => EndReason::LeaseLost,
        };
        self.hub.end(room, session, why).await;
    }

    fn offer_tools(&self, room: RoomId, servers: Vec<ToolServer>) {
        self.tools.offer(room, servers);
    }

    fn tool_server(&self, room: RoomId, place: Place) -> Option<ToolServerState> {
        self.tools.state(room, place)
    }

    async fn dial(&self, dial: Dial) -> Result<JoinHandle<()>, String> {
        let name = self.app.world().room(dial.room).map(|room| room.name.to_string());
        let (Some(name), Some(bus)) = (name, self.doors.bus.get()) else {
            return Err("the room is gone".to_owned());
        };
        let admission = Admission {
            room: room_ref(&self.app, self.limits, dial.room, &name),
            name: dial.name,
            role: "agent".to_owned(),
            api: Arc::new(dial.api),
            service: Some(dial.service),
        };
        let call = dialled::Dial {
            url: dial.url,
            event: &dial.event,
            secret: dial.secret.expose(),
            allowed: &dial.allowed,
            admission: &admission,
            session: dial.session,
        };
        dialled::dial(bus, call).await.map_err(|error| error.to_string())
    }

    fn file_changed(&self, room: RoomId, path: &str, deleted: bool, by: &str) {
        let (path, by) = (path.to_owned(), by.to_owned());
        let event = if deleted { FileEvent::Deleted { path, by } } else { FileEvent::Updated { path, by } };
        self.hub.file_event(room, &event);
    }

    fn usage(&self, room: RoomId) -> Usage {
        let limits = gate::limits(&self.app, self.limits, room);
        let used = self.hub.usage(room).unwrap_or_default();
        Usage { limits: json!(limits), participants: used.0, cut_off: used.1 }
    }

    fn log_line(&self, room: RoomId, kind: &str, data: Value) {
        if let Value::Object(data) = data {
            self.hub.log_line(room, kind, data);
        }
    }
}

impl HubHost {
    /// The session as the log knows it; its host recorded it before it took anybody in.
    async fn elsewhere(&self, room: RoomId, url: &str) -> Result<Hosted, Error> {
        let mut changes = self.app.projection.changes();
        self.app.projection.catch_up().await?;
        let active = || self.app.world().active_session(room).map(|(id, _)| id);
        let started = async {
            loop {
                if let Some(session) = active() {
                    return Some(session);
                }
                changes.changed().await.ok()?;
            }
        };
        let session = tokio::time::timeout(ELSEWHERE_WAIT, started).await.unwrap_or_default();
        let session =
            session.ok_or_else(|| Error::Busy("a room that is just starting elsewhere".to_owned()))?;
        let settings = &self.app.settings;
        let server = url.split("/rooms/").next().unwrap_or(url).replacen("ws", "http", 1);
        let url = if settings.server_url == settings.public_url {
            server.clone()
        } else {
            // Only servers reach each other there; clients are passed on.
            settings.public_url.clone()
        };
        Ok(Hosted { session, url, elsewhere: Some(server) })
    }
}

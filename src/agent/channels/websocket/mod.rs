//! Channel `websocket:PORT`: conversations over sockets of the agent's own (process agents §3.3). Knows no room messaging.

mod auth;

use crate::agent::channel::{Agent, Channel, OUTBOX_MAX, Outgoing};
use crate::agent::config::WebSocketConfig;
use crate::agent::message::live;
use crate::agent::pack::{MESSAGE_BYTES_MAX, pack, unpack};
use crate::client::room::RoomError;
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket as Socket, close_code};
use axum::extract::{RawQuery, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Where it listens unless told.
const HOST: &str = "127.0.0.1";
/// The protocol that is spoken.
const PROTOCOL: &str = "meshagent-msgpack";
/// Connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// Silence after which a connection is asked whether it is there; after twice that it is cut off.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long a connection may take to take one message.
const SEND_MAX: Duration = Duration::from_secs(30);

/// The channel.
#[derive(Debug)]
pub struct WebSocket {
    host: Option<String>,
    port: u16,
    config: WebSocketConfig,
    listener: Mutex<Option<TcpListener>>,
}

impl WebSocket {
    #[must_use]
    pub fn new(host: Option<String>, port: u16, config: WebSocketConfig) -> Self {
        Self { host, port, config, listener: Mutex::default() }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host.as_deref().unwrap_or(HOST), self.port)
    }
}

#[async_trait::async_trait]
impl Channel for WebSocket {
    fn name(&self) -> String {
        match &self.host {
            None => format!("websocket:{}", self.port),
            Some(host) => format!("websocket://{host}:{}", self.port),
        }
    }

    fn is_threaded(&self) -> bool {
        true
    }

    async fn open(&self, _: &Agent) -> Result<(), RoomError> {
        let address = self.address();
        let failed = |text: String| RoomError::Failed { request: "listen".into(), text, code: None };
        let listener = TcpListener::bind(&address).await;
        let listener =
            listener.map_err(|error| failed(format!("{address} cannot be listened on: {error}")))?;
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
        Ok(())
    }

    async fn serve(self: Arc<Self>, agent: Agent, stop: CancellationToken, _abort: CancellationToken) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener else { return };
        tracing::info!(address = self.address(), "listening for conversations");
        let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let door = Door {
            local: is_local.then(|| self.host.clone().unwrap_or_else(|| HOST.to_owned())),
            agent,
            config: self.config.clone(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            stop: stop.clone(),
        };
        let app = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/messages", get(enter))
            .with_state(door);
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the agent's socket has ended");
        }
    }
}

#[derive(Clone)]
struct Door {
    agent: Agent,
    config: WebSocketConfig,
    /// The host as it was named, where only this machine reaches it.
    local: Option<String>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

async fn enter(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = query.unwrap_or_default();
    let name = match auth::who(&door.config, door.local.as_deref(), door.agent.name(), &headers, &query) {
        Ok(name) => name,
        Err(refused) => return (refused.status, refused.reason).into_response(),
    };
    let Ok(place) = door.places.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections; try again later").into_response();
    };
    let mut protocols = vec![PROTOCOL.to_owned()];
    protocols.extend(auth::echoed(&headers));
    upgrade
        .protocols(protocols)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| talk(door, name, socket, place))
}

/// Serves one connection to its end.
async fn talk(door: Door, name: String, mut socket: Socket, _place: OwnedSemaphorePermit) {
    let agent = &door.agent;
    let id = format!("websocket:{}", agent.engine.ids.fresh());
    let (outbox, mut inbox) = mpsc::channel(OUTBOX_MAX);
    let connected = json!({"type": "meshagent.agent.connection.status", "status": "connected",
        "message_id": agent.engine.ids.fresh().to_string(), "message": "connected", "participant_id": id});
    if !send(&mut socket, &connected).await || !agent.connect(&id, &name, outbox).await {
        return;
    }
    let close = converse(&door, &id, &mut socket, &mut inbox).await;
    agent.disconnect(&id).await;
    if let Some(frame) = close {
        // They may be gone.
        let _ = tokio::time::timeout(SEND_MAX, socket.send(Message::Close(Some(frame)))).await;
    }
}

async fn converse(
    door: &Door,
    id: &str,
    socket: &mut Socket,
    inbox: &mut mpsc::Receiver<Outgoing>,
) -> Option<CloseFrame> {
    let frame = |code, reason: &str| Some(CloseFrame { code, reason: reason.to_owned().into() });
    let mut asked = false;
    loop {
        tokio::select! {
            () = door.stop.cancelled() => return frame(close_code::AWAY, "the agent is stopping"),
            outgoing = inbox.recv() => {
                let Some(outgoing) = outgoing else { return frame(close_code::POLICY, "too far behind") };
                if !send(socket, &Value::Object(live(&outgoing.message))).await {
                    return None;
                }
            }
            heard = tokio::time::timeout(PING_EVERY, socket.recv()) => match heard {
                Ok(Some(Ok(Message::Binary(bytes)))) => {
                    asked = false;
                    match unpack(&bytes) {
                        Ok((message @ Value::Object(_), used)) if used == bytes.len() => {
                            door.agent.say(id, message).await;
                        }
                        _ => return frame(close_code::UNSUPPORTED, "invalid agent message"),
                    }
                }
                Ok(Some(Ok(Message::Text(_)))) => {
                    return frame(close_code::UNSUPPORTED, "invalid agent message");
                }
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return None,
                Ok(Some(Ok(_))) => asked = false,
                Err(_) if asked => return frame(close_code::AWAY, "no answer"),
                Err(_) => {
                    asked = true;
                    if socket.send(Message::Ping(Default::default())).await.is_err() {
                        return None;
                    }
                }
            },
        }
    }
}

async fn send(socket: &mut Socket, message: &Value) -> bool {
    let sent = socket.send(Message::Binary(pack(message).into()));
    matches!(tokio::time::timeout(SEND_MAX, sent).await, Ok(Ok(())))
}

//! The WebSocket at `/tunnel/{container}/{port}/`: one TCP connection to a port of a container of the caller's room
//! (room protocol §1.8). Binary frames are the bytes; text frames mean nothing.

use super::hub::{Hub, JoinError};
use super::socket::{credential, refuse, upgrade};
use super::toolkit::ToolError;
use super::toolkits::containers::Containers;
use super::world::{Gate, Refusal};
use crate::error_code::RoomCode;
use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Tunnels of this server at a time.
pub const TUNNELS_MAX: usize = 1_024;
/// Longest wait for the container's port.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Block read from the container, bytes.
const BLOCK_BYTES: usize = 64 * 1024;
/// After this much silence an empty frame goes out: clients give up after a minute without one.
const ALIVE_EVERY: Duration = Duration::from_secs(25);

/// What the endpoint works with.
#[derive(Clone)]
pub struct TunnelEdge {
    pub hub: Arc<Hub>,
    pub gate: Arc<dyn Gate>,
    pub containers: Arc<Containers>,
}

impl fmt::Debug for TunnelEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelEdge").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Shared {
    edge: TunnelEdge,
    places: Arc<Semaphore>,
}

/// The endpoint. A client whose base URL ends with `/` asks for `//tunnel/…`.
pub fn router(edge: TunnelEdge) -> Router {
    let shared = Shared { edge, places: Arc::new(Semaphore::new(TUNNELS_MAX)) };
    let paths = ["/tunnel/{container}/{port}/", "/tunnel/{container}/{port}", "//tunnel/{container}/{port}/"];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(enter))).with_state(shared)
}

async fn enter(
    State(shared): State<Shared>,
    Path((container, port)): Path<(String, String)>,
    request: Request,
) -> Response {
    let edge = &shared.edge;
    let Some(credential) = credential(request.headers(), None) else {
        let text = "no participant token for the tunnel: send `Authorization: Bearer <token>`";
        return refuse(&Refusal::Forbidden(text.to_owned()));
    };
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port > 0) else {
        return answer(StatusCode::BAD_REQUEST, &format!("`{port}` is not a port; write 1 to 65535"));
    };
    let admission = match edge.gate.admit_bearer(&credential.token).await {
        Ok(admission) => admission,
        Err(refusal) => return refuse(&refusal),
    };
    match edge.hub.ensure(&admission.room).await {
        Ok(_) => {}
        Err(JoinError::Elsewhere { url }) => {
            let base = url.split_once("/rooms/").map_or(url.as_str(), |(base, _)| base);
            let url = format!("{base}/tunnel/{container}/{port}/");
            return super::forward::upgrade(request, credential.token, None, url).await;
        }
        Err(JoinError::Refused(refusal)) => return refuse(&refusal),
        Err(error) => return refuse(&Refusal::NotReady(error.to_string())),
    }
    let at = match edge.containers.port(&admission, &container, port).await {
        Ok(at) => at,
        Err(error) => return answer(status(&error), &error.text),
    };
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        let text = format!("{TUNNELS_MAX} tunnels are open on this server; close some first");
        return answer(StatusCode::SERVICE_UNAVAILABLE, &text);
    };
    let stream = match connect(at).await {
        Ok(stream) => stream,
        Err(why) => {
            let text = format!("port {port} of container `{container}` does not answer: {why}");
            return answer(StatusCode::BAD_GATEWAY, &text);
        }
    };
    tracing::info!(target: "meshagent::audit", room = %admission.room.name, name = %admission.name, container, port, "tunnel");
    match upgrade(request, credential.protocol).await {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| relay(socket, stream, place)),
        Err(response) => response,
    }
}

async fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(at)).await;
    let stream = stream.map_err(|_| "it takes too long".to_owned())?.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

fn status(error: &ToolError) -> StatusCode {
    match error.code {
        RoomCode::PermissionDenied => StatusCode::FORBIDDEN,
        RoomCode::ContainerNotFound => StatusCode::NOT_FOUND,
        RoomCode::DependencyMissing => StatusCode::SERVICE_UNAVAILABLE,
        RoomCode::InvalidState => StatusCode::CONFLICT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn answer(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(serde_json::json!({"error": {"message": text}}))).into_response()
}

/// Copies bytes both ways, each side waiting for the other, until the container closes or the client does.
async fn relay(socket: WebSocket, stream: TcpStream, _place: OwnedSemaphorePermit) {
    let (mut sink, mut frames) = socket.split();
    let (mut from, mut to) = stream.into_split();
    let up = async {
        while let Some(Ok(frame)) = frames.next().await {
            match frame {
                Message::Binary(data) => {
                    if to.write_all(&data).await.is_err() {
                        // It does not read any more, and may still have something to say.
                        break;
                    }
                }
                Message::Close(_) => return true,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
            }
        }
        let _ = to.shutdown().await;
        false
    };
    let down = async {
        let mut block = BytesMut::with_capacity(BLOCK_BYTES);
        loop {
            block.reserve(BLOCK_BYTES);
            let data = match tokio::time::timeout(ALIVE_EVERY, from.read_buf(&mut block)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) => block.split().freeze(),
                Err(_) => Bytes::new(),
            };
            if sink.send(Message::Binary(data)).await.is_err() {
                return;
            }
        }
        let _ = sink.send(Message::Close(None)).await;
    };
    tokio::pin!(down);
    tokio::select! {
        closed = up => {
            if !closed {
                down.await;
            }
        }
        () = &mut down => {}
    }
}

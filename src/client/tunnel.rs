//! Tunnels to ports of containers (room protocol §1.8): one WebSocket per TCP connection, bytes as binary frames.

use super::room::Token;
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Largest frame sent, bytes.
const BLOCK_BYTES: usize = 64 * 1024;
/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 256;
/// Longest wait for the server.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where tunnels go.
#[derive(Debug, Clone)]
pub struct Tunnels {
    /// Address of the room server, http(s) or ws(s).
    pub base: String,
    pub token: Token,
    pub container: String,
    pub port: u16,
}

/// Why a tunnel is not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// The server's own words.
    #[error("{0}")]
    Refused(String),
    #[error("cannot open a tunnel to port {port} of `{container}`: {why}; check the server's address")]
    Unreachable { container: String, port: u16, why: String },
}

impl Tunnels {
    /// Opens one.
    pub async fn open(&self) -> Result<Socket, TunnelError> {
        let unreachable = |why: String| TunnelError::Unreachable {
            container: self.container.clone(),
            port: self.port,
            why,
        };
        let base = self.base.trim_end_matches('/').replacen(
            "http",
            "ws",
            usize::from(self.base.starts_with("http")),
        );
        let url = format!("{base}/tunnel/{}/{}/", self.container, self.port);
        let mut request = url.into_client_request().map_err(|error| unreachable(error.to_string()))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.reveal()));
        let bearer = bearer.map_err(|error| unreachable(error.to_string()))?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        match tokio::time::timeout(CONNECT_LIMIT, tokio_tungstenite::connect_async(request)).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tungstenite::Error::Http(answer))) => {
                let body = answer.body().as_deref().unwrap_or_default();
                let said = serde_json::from_slice::<serde_json::Value>(body).ok();
                let said = said.and_then(|body| body["error"]["message"].as_str().map(str::to_owned));
                Err(TunnelError::Refused(
                    said.unwrap_or_else(|| format!("the server answered {}", answer.status())),
                ))
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable("the server does not answer".to_owned())),
        }
    }
}

/// Gives each connection to the listener a tunnel of its own, until dropped.
pub async fn serve(listener: TcpListener, tunnels: Tunnels) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let tunnels = tunnels.clone();
                connections.spawn(async move {
                    let _place = place;
                    match tunnels.open().await {
                        Ok(socket) => relay(stream, socket).await,
                        Err(error) => tracing::warn!(%error, "a connection was not forwarded"),
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Copies bytes both ways until one side ends.
async fn relay(stream: TcpStream, socket: Socket) {
    let (mut from, mut to) = stream.into_split();
    let (mut sink, mut frames) = socket.split();
    let up = async {
        let mut block = BytesMut::new();
        loop {
            block.reserve(BLOCK_BYTES);
            match (&mut from).take(BLOCK_BYTES as u64).read_buf(&mut block).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if sink.send(Message::Binary(block.split().freeze())).await.is_err() {
                        break;
                    }
                }
            }
        }
        let _ = sink.send(Message::Close(None)).await;
    };
    let down = async {
        while let Some(Ok(frame)) = frames.next().await {
            match frame {
                Message::Binary(data) if to.write_all(&data).await.is_err() => {
                    return;
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::select! { () = up => {}, () = down => {} }
}

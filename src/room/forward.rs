//! Forwards a client to the server that hosts the session: packets go both ways unread.

use super::socket::upgrade as prepare;
use super::world::Refusal;
use axum::extract::Request;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self as ws, Bytes};

/// How long the other server may take to answer.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

pub(super) type Upstream =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Connects to `url` with the client's own token, then upgrades the client. A server that cannot be reached is 503.
pub(super) async fn upgrade(
    request: Request,
    token: String,
    protocol: Option<HeaderValue>,
    url: String,
) -> Response {
    let upstream = match tokio::time::timeout(CONNECT_WAIT, connect(&url, &token)).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(error)) => return unreachable(&error),
        Err(_) => return unreachable("it did not answer in time"),
    };
    match prepare(request, protocol).await {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| relay(socket, upstream)),
        Err(response) => response,
    }
}

/// What asks for a socket at `url`, with a token.
pub(super) fn asking(url: &str, token: &str) -> Result<ws::handshake::client::Request, String> {
    let url = url.replacen("http", "ws", usize::from(url.starts_with("http")));
    let mut request = url.into_client_request().map_err(|error| error.to_string())?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| error.to_string())?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    Ok(request)
}

async fn connect(url: &str, token: &str) -> Result<Upstream, String> {
    let (upstream, _) =
        tokio_tungstenite::connect_async(asking(url, token)?).await.map_err(|error| error.to_string())?;
    Ok(upstream)
}

fn unreachable(why: &str) -> Response {
    tracing::warn!(why, "the server that hosts the session cannot be reached");
    let refusal = Refusal::NotReady(
        "the server that hosts this session cannot be reached; connect again in a moment".into(),
    );
    let body = serde_json::json!({"error": {"message": refusal.to_string()}});
    (axum::http::StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

/// Copies messages both ways until one side ends. A close is passed on; anything else ends without one.
async fn relay(client: WebSocket, upstream: Upstream) {
    let (mut to_client, mut from_client) = client.split();
    let (mut to_upstream, mut from_upstream) = upstream.split();
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            let message = match message {
                Message::Binary(data) => ws::Message::Binary(data),
                Message::Text(text) => ws::Message::text(text.as_str()),
                Message::Close(_) => ws::Message::Close(None),
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            if to_upstream.send(message).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        while let Some(Ok(message)) = from_upstream.next().await {
            let message = match message {
                ws::Message::Binary(data) => Message::Binary(data),
                ws::Message::Close(frame) => Message::Close(frame.map(close_frame)),
                ws::Message::Ping(_) => Message::Ping(Bytes::new()),
                _ => continue,
            };
            if to_client.send(message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}

fn close_frame(frame: ws::protocol::CloseFrame) -> CloseFrame {
    let code = match frame.code {
        CloseCode::Normal => 1000,
        other => other.into(),
    };
    CloseFrame { code, reason: frame.reason.as_str().into() }
}

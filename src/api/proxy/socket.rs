//! WebSockets: the target is dialled first, so that its refusal is the caller's.

use super::{Turn, bad_gateway, headers};
use crate::api::{Problem, relay};
use crate::net::guard::Target;
use crate::net::socket::{MESSAGE_BYTES_MAX, Upstream, dial};
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Longest time without a message in either direction.
const SILENCE_MAX: Duration = Duration::from_mins(10);

pub(super) async fn pass(
    target: &Target,
    request: Request,
    secrets: HeaderMap,
    turn: Turn,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    let mut url = target.url.clone();
    let scheme = if matches!(url.scheme(), "https" | "wss") { "wss" } else { "ws" };
    let _ = url.set_scheme(scheme);
    let bad = |_| Problem::bad_request("the target is no address of a WebSocket");
    let mut outgoing = url.as_str().into_client_request().map_err(bad)?;
    for (name, value) in &headers::onward(&parts.headers) {
        if is_passed(name) {
            outgoing.headers_mut().append(name.clone(), value.clone());
        }
    }
    for (name, value) in secrets {
        if let Some(name) = name {
            outgoing.headers_mut().insert(name, value);
        }
    }
    let (upstream, answer) = dial(target, outgoing)
        .await
        .map_err(|why| bad_gateway(format!("`{}` did not take the socket: {why}", target.host())))?;
    let chosen = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let upgrade = match chosen.map(str::to_owned) {
        Some(protocol) => upgrade.protocols([protocol]),
        None => upgrade,
    };
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |client| async move {
        relay(client, upstream).await;
        drop(turn);
    }))
}

/// Of the handshake's own headers only the sub-protocols are the caller's to choose.
fn is_passed(name: &HeaderName) -> bool {
    *name == header::SEC_WEBSOCKET_PROTOCOL || !name.as_str().starts_with("sec-websocket-")
}

/// Copies messages both ways until one side closes or both are silent.
async fn relay(client: WebSocket, upstream: Upstream) {
    let (mut to_client, mut from_client) = client.split();
    let (mut to_upstream, mut from_upstream) = upstream.split();
    loop {
        let next = async {
            tokio::select! {
                message = from_client.next() => match message {
                    Some(Ok(message)) => to_upstream.send(relay::onward(message)).await.is_ok(),
                    Some(Err(_)) | None => false,
                },
                message = from_upstream.next() => match message {
                    Some(Ok(message)) => match relay::back(message) {
                        Some(message) => to_client.send(message).await.is_ok(),
                        None => true,
                    },
                    Some(Err(_)) | None => false,
                },
            }
        };
        match tokio::time::timeout(SILENCE_MAX, next).await {
            Ok(true) => {}
            Ok(false) | Err(_) => break,
        }
    }
    let _ = to_upstream.close().await;
    let _ = to_client.close().await;
}

//! Services that take part over a socket which this server dials (room protocol §1.7, the upgrade): the service is the
//! HTTP server, and the room stays the room. There is no coming back; a socket that ends is dialled anew or not at all.

use super::bus::Bus;
use super::hub::JoinError;
use super::socket;
use super::world::Admission;
use crate::id::SessionId;
use crate::net::guard::Allowed;
use crate::net::webhook::{self, WebhookError};
use axum::extract::ws::{CloseFrame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::future::{Ready, ready};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite;
use url::Url;

/// Whom to call, and what to say.
pub struct Dial<'a> {
    /// `ws` or `wss`.
    pub url: Url,
    /// The `room.call`, with the token in it.
    pub event: &'a Value,
    pub secret: &'a [u8],
    pub allowed: &'a Allowed,
    /// As whom the service takes part.
    pub admission: &'a Admission,
    /// Where: a session that is over meanwhile is not opened anew for a service.
    pub session: SessionId,
}

impl std::fmt::Debug for Dial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("admission", self.admission).finish_non_exhaustive()
    }
}

/// Why the service does not take part.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error(transparent)]
    Call(#[from] WebhookError),
    #[error("the room cannot take the service in: {0}")]
    Join(#[from] JoinError),
}

/// Dials and takes the service in. The task ends when the socket does; aborted, it ends the socket.
pub async fn dial(bus: &Arc<Bus>, dial: Dial<'_>) -> Result<JoinHandle<()>, DialError> {
    let upstream = webhook::dial(dial.url, dial.event, dial.secret, dial.allowed).await?;
    let joined = socket::greet(bus, bus.hub.join_live(dial.admission, dial.session)?);
    let (sink, stream) = upstream.split();
    let sink = sink.sink_map_err(axum::Error::new).with(outward);
    let stream = stream.filter_map(|message| ready(inward(message)));
    Ok(tokio::spawn(socket::serve(sink, stream, joined)))
}

/// A message of the dialled socket in the terms of one that was accepted.
fn inward(message: Result<tungstenite::Message, tungstenite::Error>) -> Option<Result<Message, axum::Error>> {
    Some(Ok(match message {
        Ok(tungstenite::Message::Binary(bytes)) => Message::Binary(bytes),
        Ok(tungstenite::Message::Text(text)) => Message::Text(text.as_str().into()),
        Ok(tungstenite::Message::Ping(bytes)) => Message::Ping(bytes),
        Ok(tungstenite::Message::Pong(bytes)) => Message::Pong(bytes),
        Ok(tungstenite::Message::Close(frame)) => Message::Close(
            frame.map(|frame| CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() }),
        ),
        // Never read.
        Ok(tungstenite::Message::Frame(_)) => return None,
        Err(error) => return Some(Err(axum::Error::new(error))),
    }))
}

fn outward(message: Message) -> Ready<Result<tungstenite::Message, axum::Error>> {
    ready(Ok(match message {
        Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        Message::Text(text) => tungstenite::Message::Text(text.as_str().into()),
        Message::Ping(bytes) => tungstenite::Message::Ping(bytes),
        Message::Pong(bytes) => tungstenite::Message::Pong(bytes),
        Message::Close(frame) => {
            tungstenite::Message::Close(frame.map(|frame| tungstenite::protocol::CloseFrame {
                code: frame.code.into(),
                reason: frame.reason.as_str().into(),
            }))
        }
    }))
}

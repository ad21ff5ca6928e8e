//! The WebSocket at `/rooms/{room}`: token, refusals before the upgrade, and the one task that reads and writes. Dialled
//! sockets are served by the same task.

use super::bus::Bus;
use super::connection::Connection;
use super::hub::JoinError;
use super::outbox::{Batch, Item, Outbox};
use super::session::{LiveSession, Peer};
use super::world::{Admission, Gate, Refusal};
use crate::wire::{Assembler, encode};
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde::Deserialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Largest WebSocket message taken, bytes. The clients send packets of about 1 KiB; larger ones are welcome.
pub const PACKET_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Read buffer of one socket, bytes. Kept for as long as the socket, also while nothing is said; a larger message gets
/// the room it needs.
const READ_BYTES: usize = 2 * 1024;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 16 * 1024;
/// A ping goes out after this much silence; no more than this much may pass between two looks.
pub const PING_EVERY: Duration = Duration::from_secs(15);
/// Unanswered pings after which the peer is taken for dead: it leaves the roster within this many intervals and one.
pub const SILENT_PINGS_MAX: u32 = 2;
/// How long a client may take to answer our close.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Longest token taken, bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Sub-protocol by which browsers, that cannot set headers, hand over the token.
const PROTOCOL_PREFIX: &str = "meshagent-room.";

/// What the endpoint works with.
#[derive(Clone)]
pub struct RoomEdge {
    pub bus: Arc<Bus>,
    pub gate: Arc<dyn Gate>,
}

impl fmt::Debug for RoomEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomEdge").field("bus", &self.bus).finish_non_exhaustive()
    }
}

/// The endpoint. A client whose base URL ends with `/` asks for `//rooms/…`.
pub fn router(edge: RoomEdge) -> Router {
    Router::new().route("/rooms/{room}", any(enter)).route("//rooms/{room}", any(enter)).with_state(edge)
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    token: Option<String>,
}

/// A token and, where it came as one, the sub-protocol to echo.
pub(super) struct Credential {
    pub token: String,
    pub protocol: Option<HeaderValue>,
}

async fn enter(
    State(edge): State<RoomEdge>,
    Path(room): Path<String>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let Some(credential) = credential(request.headers(), asked.token) else {
        let text = format!(
            "no participant token for room `{room}`: send `Authorization: Bearer <token>`, the sub-protocol `{PROTOCOL_PREFIX}<token>`, or `?token=`"
        );
        return refuse(&Refusal::Forbidden(text));
    };
    let admission = match edge.gate.admit(&room, &credential.token).await {
        Ok(admission) => admission,
        Err(refusal) => return refuse(&refusal),
    };
    // The session is opened before the upgrade, so that a room that cannot start is an HTTP status.
    match edge.bus.hub.ensure(&admission.room).await {
        Ok(session) => {
            if let Err(error) = session.has_room() {
                return refuse(&Refusal::NotReady(error.to_string()));
            }
        }
        Err(JoinError::Refused(refusal)) => return refuse(&refusal),
        Err(JoinError::Elsewhere { url }) => {
            return super::forward::upgrade(request, credential.token, credential.protocol, url).await;
        }
        Err(JoinError::Session(error)) => return refuse(&Refusal::NotReady(error.to_string())),
    }
    match upgrade(request, credential.protocol).await {
        // In a task of its own: what upgrade and admission needed is not kept while the participant is there.
        Ok(upgrade) => upgrade.on_upgrade(|socket| async move {
            if let Some(connection) = join(&edge, &admission).await {
                let (sink, stream) = socket.split();
                drop(tokio::spawn(serve(sink, stream, connection)));
            }
        }),
        Err(response) => response,
    }
}

/// Prepares the upgrade: sizes, and the sub-protocol to echo.
pub(super) async fn upgrade(
    request: Request,
    protocol: Option<HeaderValue>,
) -> Result<WebSocketUpgrade, Response> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let mut upgrade = upgrade.map_err(IntoResponse::into_response)?;
    if let Some(protocol) = protocol {
        upgrade.set_selected_protocol(protocol);
    }
    Ok(upgrade
        .max_message_size(PACKET_BYTES_MAX)
        .max_frame_size(PACKET_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES))
}

pub(super) fn credential(headers: &HeaderMap, query: Option<String>) -> Option<Credential> {
    let usable = |token: &str| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    if let Some(token) = bearer.filter(|token| usable(token)) {
        return Some(Credential { token, protocol: None });
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for protocol in offered.map(str::trim) {
        if let Some(token) = protocol.strip_prefix(PROTOCOL_PREFIX).filter(|token| usable(token)) {
            let echo = HeaderValue::from_str(protocol).ok();
            return Some(Credential { token: token.to_owned(), protocol: echo });
        }
    }
    query.filter(|token| usable(token)).map(|token| Credential { token, protocol: None })
}

pub(super) fn refuse(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::NoRoom(_) => StatusCode::NOT_FOUND,
        Refusal::Disabled(_) => StatusCode::LOCKED,
        Refusal::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::json!({"error": {"message": refusal.to_string()}});
    (status, axum::Json(body)).into_response()
}

/// `None` where the session ended between the check and now: dropped without a close frame, the client comes back.
async fn join(edge: &RoomEdge, admission: &Admission) -> Option<LeaveOnDrop> {
    match edge.bus.hub.join(admission).await {
        Ok(joined) => Some(greet(&edge.bus, joined)),
        Err(error) => {
            tracing::info!(room = %admission.room.name, name = %admission.name, %error, "could not join after the upgrade");
            None
        }
    }
}

/// Tells a participant that it has joined.
pub(super) fn greet(bus: &Arc<Bus>, (session, peer): (Arc<LiveSession>, Arc<Peer>)) -> LeaveOnDrop {
    let connection = Connection::new(Arc::clone(bus), session, peer);
    connection.greet();
    LeaveOnDrop(Some(connection))
}

/// Carries a participant's messages until its socket or its session ends.
pub(super) async fn serve<W, R>(mut sink: W, mut stream: R, mut guard: LeaveOnDrop)
where
    W: Sink<Message, Error = axum::Error> + Unpin,
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let Some(connection) = guard.0.as_mut() else { return };
    let peer = Arc::clone(&connection.peer);
    let outcome = tokio::select! {
        biased;
        () = peer.outbox.dropped() => Outcome::Dropped,
        outcome = read(&mut stream, connection) => outcome,
        outcome = write(&mut sink, &peer.outbox) => outcome,
    };
    drop(guard);
    if let Outcome::Close(frame) = outcome {
        // What is rare is on the heap while it lasts, not a part of every connection's task.
        Box::pin(close(&mut sink, &mut stream, frame)).await;
    }
    // What is left of the socket is dropped here, and TCP with it.
}

/// Takes the participant out also when the task is cancelled or panics.
pub(super) struct LeaveOnDrop(Option<Connection>);

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.leave();
        }
    }
}

/// How a connection ends.
enum Outcome {
    /// The peer is gone, or is to find out by itself.
    Dropped,
    /// We send a close frame.
    Close(CloseFrame),
}

async fn read<R>(stream: &mut R, connection: &mut Connection) -> Outcome
where
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let mut assembler = Assembler::default();
    let mut silence = tokio::time::interval(PING_EVERY);
    silence.reset();
    let mut silent_pings = 0;
    loop {
        tokio::select! {
            biased;
            message = stream.next() => {
                silent_pings = 0;
                match message {
                    Some(Ok(Message::Binary(packet))) => packet_in(&mut assembler, connection, &packet),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(_))) => return Outcome::Close(frame(
                        close_code::UNSUPPORTED,
                        "this protocol is binary: send packets as binary WebSocket messages",
                    )),
                    Some(Ok(Message::Close(_))) | None => return Outcome::Dropped,
                    Some(Err(error)) => return broken(&error, connection),
                }
            }
            () = connection.finished() => {}
            _ = silence.tick() => {
                silent_pings += 1;
                if silent_pings > SILENT_PINGS_MAX {
                    return Outcome::Dropped;
                }
                connection.ping();
            }
        }
    }
}

fn packet_in(assembler: &mut Assembler, connection: &mut Connection, packet: &Bytes) {
    match assembler.push(packet) {
        Ok(Some(message)) => connection.take(message),
        Ok(None) => {}
        Err(error) => connection.bad_frame(&error),
    }
}

fn broken(error: &axum::Error, connection: &Connection) -> Outcome {
    use tokio_tungstenite::tungstenite::Error;
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    tracing::debug!(participant = %connection.id(), %error, "the socket broke");
    match cause {
        Some(Error::Capacity(_)) => Outcome::Close(frame(
            close_code::SIZE,
            "a WebSocket message may have at most 8 MiB: send a message as packets of 1024 bytes",
        )),
        _ => Outcome::Dropped,
    }
}

async fn write<W>(sink: &mut W, outbox: &Outbox) -> Outcome
where
    W: Sink<Message, Error = axum::Error> + Unpin,
{
    loop {
        let written = match outbox.next().await {
            Batch::Messages(messages) => Box::pin(write_all(sink, outbox, messages)).await,
            Batch::Ping => sink.send(Message::Ping(Bytes::new())).await,
            Batch::Close { code, reason } => return Outcome::Close(frame(code, &reason)),
            Batch::Drop(why) => {
                tracing::debug!(why, "a connection is dropped");
                return Outcome::Dropped;
            }
        };
        if written.is_err() {
            return Outcome::Dropped;
        }
    }
}

async fn write_all<W>(sink: &mut W, outbox: &Outbox, messages: VecDeque<Item>) -> Result<(), axum::Error>
where
    W: Sink<Message, Error = axum::Error> + Unpin,
{
    let mut bytes = 0;
    let mut receipts = Vec::new();
    let fed = async {
        for item in messages {
            bytes += item.bytes();
            match item {
                Item::Own(message) => {
                    for packet in encode(message.id, &message.kind, &message.payload) {
                        sink.feed(Message::Binary(packet)).await?;
                    }
                    receipts.extend(message.receipt);
                }
                Item::Shared(message) => {
                    for packet in &message.packets {
                        sink.feed(Message::Binary(packet.clone())).await?;
                    }
                }
            }
        }
        sink.flush().await
    };
    let written = fed.await;
    if written.is_ok() {
        for receipt in receipts {
            (receipt.0)();
        }
    }
    outbox.written(bytes);
    written
}

fn frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// Says goodbye and waits a moment for the answer, so that the close frame is not lost with the socket.
async fn close<W, R>(sink: &mut W, stream: &mut R, frame: CloseFrame)
where
    W: Sink<Message, Error = axum::Error> + Unpin,
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    let goodbye = async {
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_WAIT, goodbye).await;
}

impl Connection {
    fn ping(&self) {
        self.peer.outbox.ping();
    }

    fn id(&self) -> &str {
        &self.peer.id
    }
}

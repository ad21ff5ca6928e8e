//! Runs one open socket: a reader, a writer with pings, and the dispatch of what arrives.

use super::dial::Socket;
use super::driver::{Identity, Shared};
use super::link::{Link, Outgoing, Push};
use crate::error_code::RoomCode;
use crate::wire::{self, Assembler, Content};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Time between our pings.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Silence after which the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(65);
/// Longest wait for the socket to take one message.
const WRITE_MAX: Duration = Duration::from_mins(1);
/// Messages written before one flush.
const BATCH_MAX: usize = 32;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The server closed with 1000: it does not want us back.
    Clean,
    /// Anything else.
    Lost(String),
}

/// What the server has told during start-up.
#[derive(Clone, Debug, Default)]
pub(super) struct Welcome {
    pub connected: Option<(String, Map<String, Value>)>,
    pub ready: Option<String>,
}

impl Welcome {
    /// The identity, once both messages are there.
    pub fn identity(&self) -> Option<Identity> {
        let (participant_id, attributes) = self.connected.clone()?;
        Some(Identity { participant_id, attributes, room_name: self.ready.clone()? })
    }
}

/// Runs the socket until it is down. The link is down when this returns.
pub(super) async fn run(
    socket: Socket,
    shared: Arc<Shared>,
    link: Arc<Link>,
    outbox: mpsc::Receiver<Outgoing>,
    welcome: watch::Sender<Welcome>,
) -> End {
    let (sink, stream) = socket.split();
    let write = write(sink, outbox, &link, &shared);
    let read = read(stream, &shared, &link, &welcome);
    let end = tokio::select! {
        end = read => end,
        end = write => end,
    };
    link.take_down();
    end
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut outbox: mpsc::Receiver<Outgoing>,
    link: &Link,
    shared: &Shared,
) -> End {
    let mut pings = tokio::time::interval(PING_EVERY);
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let written = tokio::select! {
            biased;
            () = shared.closing.cancelled() => {
                let goodbye = async { sink.send(Message::Close(None)).await.and(sink.close().await) };
                let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
                return End::Clean;
            }
            () = link.down.cancelled() => return End::Lost("the connection was taken down".into()),
            count = outbox.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    return End::Lost("nobody uses the connection any more".into());
                }
                tokio::time::timeout(WRITE_MAX, send_all(&mut sink, batch.drain(..))).await
            }
            _ = pings.tick() => tokio::time::timeout(WRITE_MAX, sink.send(Message::Ping(Bytes::new()))).await,
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Lost(error.to_string()),
            Err(_) => {
                return End::Lost(format!("the server took no data for {} s", WRITE_MAX.as_secs()));
            }
        }
    }
}

async fn send_all(
    sink: &mut SplitSink<Socket, Message>,
    messages: impl Iterator<Item = Outgoing>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    for message in messages {
        for packet in wire::encode(message.id, message.kind, &message.payload) {
            sink.feed(Message::Binary(packet)).await?;
        }
    }
    sink.flush().await
}

async fn read(
    mut stream: SplitStream<Socket>,
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    welcome: &watch::Sender<Welcome>,
) -> End {
    let mut assembler = Assembler::default();
    loop {
        let Ok(next) = tokio::time::timeout(SILENCE_MAX, stream.next()).await else {
            return End::Lost(format!("the server was silent for {} s", SILENCE_MAX.as_secs()));
        };
        match next {
            None => return End::Lost("the server dropped the connection".into()),
            Some(Err(error)) => return End::Lost(error.to_string()),
            Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Normal => return End::Clean,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |f| f.code.into());
                return End::Lost(format!("the server closed with code {code}"));
            }
            Some(Ok(Message::Binary(packet))) => match assembler.push(&packet) {
                Ok(Some(message)) => dispatch(shared, link, welcome, &message),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a packet from the room cannot be read");
                    if let Some(id) = error.message_id() {
                        link.resolve(id, Content::error(RoomCode::InvalidRequest, error.to_string()));
                    }
                }
            },
            Some(Ok(_)) => {}
        }
    }
}

fn dispatch(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    welcome: &watch::Sender<Welcome>,
    message: &wire::Message,
) {
    let (header, attachment) = match wire::unpack(&message.payload) {
        Ok(parts) => parts,
        Err(error) => {
            tracing::warn!(kind = message.kind, %error, "a message from the room cannot be read");
            if message.kind == "__response__" {
                link.resolve(message.id, Content::error(RoomCode::InvalidRequest, error.to_string()));
            }
            return;
        }
    };
    match message.kind.as_str() {
        "__response__" => link.resolve(message.id, content(&header, attachment)),
        "room.tool_call_response_chunk" => {
            if let Some((call, item)) = chunk(&header, attachment) {
                link.push_output(call, item);
            }
        }
        "connected" if text(&header, "type") == "init" => {
            let attributes = header.get("attributes").and_then(Value::as_object).cloned();
            let id = text(&header, "participantId").to_owned();
            welcome.send_modify(|w| w.connected = Some((id, attributes.unwrap_or_default())));
        }
        "room_ready" => {
            let room = text(&header, "room_name").to_owned();
            welcome.send_modify(|w| w.ready = Some(room));
        }
        kind => {
            if let Some(toolkit) = kind.strip_prefix("room.tool_call.") {
                super::hosting::begin(shared, link, message.id, toolkit, &header, attachment);
            } else if kind.starts_with("room.tool_call_request_chunk.") {
                if let Some((call, item)) = chunk(&header, attachment) {
                    link.push_input(call, item);
                }
            } else {
                // Nobody listening is no error.
                let _ = shared.pushes.send(Push { kind: kind.to_owned(), header, attachment });
            }
        }
    }
}

pub(super) fn text<'a>(header: &'a Map<String, Value>, key: &str) -> &'a str {
    header.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A content, or the error that tells why it is none.
pub(super) fn content(header: &Map<String, Value>, data: Bytes) -> Content {
    Content::from_parts(header, data)
        .unwrap_or_else(|error| Content::error(RoomCode::InvalidRequest, error.to_string()))
}

/// The call and the item of a chunk. Progress events of other shapes are not items.
fn chunk(header: &Map<String, Value>, data: Bytes) -> Option<(&str, Content)> {
    let call = header.get("tool_call_id")?.as_str()?;
    let item = header.get("chunk")?.as_object()?;
    item.contains_key("type").then(|| (call, content(item, data)))
}

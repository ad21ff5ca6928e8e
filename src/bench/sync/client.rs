//! One client of a document, of either contestant: sends updates, counts acknowledgements and what others did.

use super::failed;
use super::typist::Typist;
use crate::bench::BenchError;
use crate::bench::fanout::contestant::Kind;
use crate::bench::fanout::socket::{self, Frame};
use crate::wire::{Content, Control, encode, pack};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes, BytesMut};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

const READ_BYTES: usize = 64 * 1024;
/// Hocuspocus' message types, and those of the Yjs sync protocol in them.
const SYNC: u8 = 0;
const AUTH: u8 = 2;
const SYNC_STATUS: u8 = 8;
const UPDATE: u8 = 2;
/// Where a packet's number stands, and where its type begins in the first one.
const PACKET_NUMBER: std::ops::Range<usize> = 8..12;
const PACKET_TYPE_AT: usize = 16;

/// What all clients write to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub acknowledged: AtomicU64,
    /// Changes of others that came.
    pub relayed: AtomicU64,
}

/// What one client is to do.
pub(super) struct Orders {
    pub kind: Kind,
    pub address: SocketAddr,
    pub path: String,
    pub document: String,
    pub client: u64,
    pub window: usize,
    pub counts: Arc<Counts>,
    pub stopping: Arc<AtomicBool>,
    pub ready: Arc<Barrier>,
}

/// What a frame means.
#[derive(Debug, PartialEq)]
enum Meaning {
    Acknowledged,
    Relayed,
    /// The document is open.
    Open,
    Other,
}

/// Joins, edits until it is told to stop, and ends when everything was acknowledged.
pub(super) async fn edit(orders: Orders) -> Result<(), BenchError> {
    let (mut stream, mut buffer) = socket::open(orders.address, &orders.path, None).await?;
    for frame in orders.opening() {
        write(&mut stream, &frame).await?;
    }
    // Two answers to the opening of ours come before the state; what the peer says before is no answer.
    let mut open = false;
    let mut unacknowledged = 0_usize;
    while !open {
        read(&mut stream, &mut buffer, |payload| open |= orders.meaning(payload) == Meaning::Open).await?;
    }
    orders.ready.wait().await;
    let mut typist = Typist::new(orders.client);
    let mut sent = 0;
    while !orders.stopping.load(Ordering::Acquire) || unacknowledged > 0 {
        let mut batch = BytesMut::new();
        while unacknowledged < orders.window && !orders.stopping.load(Ordering::Acquire) {
            sent += 1;
            unacknowledged += 1;
            orders.update(sent, &typist.update()).iter().for_each(|frame| batch.extend_from_slice(frame));
        }
        if !batch.is_empty() {
            write(&mut stream, &batch).await?;
        }
        let (mut acknowledged, mut relayed) = (0, 0);
        read(&mut stream, &mut buffer, |payload| match orders.meaning(payload) {
            Meaning::Acknowledged => acknowledged += 1,
            Meaning::Relayed => relayed += 1,
            Meaning::Open | Meaning::Other => {}
        })
        .await?;
        unacknowledged = unacknowledged.saturating_sub(acknowledged);
        orders.counts.acknowledged.fetch_add(acknowledged as u64, Ordering::Relaxed);
        orders.counts.relayed.fetch_add(relayed, Ordering::Relaxed);
    }
    Ok(())
}

impl Orders {
    fn opening(&self) -> Vec<Bytes> {
        if self.kind == Kind::Peer {
            return vec![self.hocuspocus(&[AUTH, 0, 5, b't', b'o', b'k', b'e', b'n'])];
        }
        let (arguments, _) = Content::Control(Control::Open).into_parts();
        let header = json!({
            "toolkit": "sync", "tool": "open", "participant_id": null, "on_behalf_of_id": null,
            "arguments": arguments, "tool_call_id": "open",
        });
        let start = json!({
            "kind": "start", "path": self.document, "create": true, "vector": null, "schema": schema(),
            "schema_path": null, "initial_json": null,
        });
        let mut frames = frames(0, "room.invoke_tool", &pack(&header, b""));
        frames.extend(chunk(0, Content::binary(start, Bytes::new())));
        frames
    }

    fn update(&self, id: u64, update: &[u8]) -> Vec<Bytes> {
        if self.kind == Kind::Ours {
            let data = BASE64.encode(update).into_bytes();
            return chunk(id, Content::binary(json!({"kind": "sync"}), Bytes::from(data)));
        }
        let mut message = vec![SYNC, UPDATE];
        let mut length = update.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or_default());
        message.extend_from_slice(update);
        vec![self.hocuspocus(&message)]
    }

    /// A message of Hocuspocus: the document's name before it.
    fn hocuspocus(&self, message: &[u8]) -> Bytes {
        let length = u8::try_from(self.document.len()).unwrap_or_default();
        socket::frame(&[&[length], self.document.as_bytes(), message].concat())
    }

    fn meaning(&self, payload: &[u8]) -> Meaning {
        if self.kind == Kind::Peer {
            let at = 1 + self.document.len();
            return match (payload.get(at), payload.get(at + 1)) {
                (Some(&SYNC_STATUS), _) => Meaning::Acknowledged,
                (Some(&SYNC), Some(&UPDATE)) => Meaning::Relayed,
                (Some(&AUTH), Some(&2)) => Meaning::Open,
                _ => Meaning::Other,
            };
        }
        let first = payload.get(PACKET_NUMBER) == Some(&[0; 4]);
        match payload.get(PACKET_TYPE_AT..).filter(|_| first) {
            // The answers to the opening have the number 0.
            Some(b"__response__") if payload.get(..8) != Some(&[0; 8]) => Meaning::Acknowledged,
            Some(b"room.tool_call_response_chunk") => Meaning::Relayed,
            // The first chunk is the state; its data carry the schema, a change does not.
            None if contains(payload, br#""kind":"state""#) => Meaning::Open,
            _ => Meaning::Other,
        }
    }
}

fn contains(payload: &[u8], part: &[u8]) -> bool {
    payload.windows(part.len()).any(|window| window == part)
}

fn frames(id: u64, kind: &str, payload: &Bytes) -> Vec<Bytes> {
    encode(id, kind, payload).iter().map(|packet| socket::frame(packet)).collect()
}

fn chunk(id: u64, content: Content) -> Vec<Bytes> {
    let (chunk, data) = content.into_parts();
    let header = json!({"tool_call_id": "open", "chunk": chunk});
    frames(id, "room.tool_call_request_chunk", &pack(&header, &data))
}

fn schema() -> Value {
    let text = json!({"type": "object", "properties": {"text": {"type": "object", "properties": {}}}});
    let texts = json!({"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/text"}]}});
    let root = json!({"type": "object", "properties": {
        "root": {"type": "object", "properties": {"texts": texts}}}});
    json!({"$root_tag_ref": "#/$defs/root", "$defs": {"root": root, "text": text}})
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), BenchError> {
    stream.write_all(bytes).await.map_err(|error| failed("a client", error))
}

/// Reads once, and shows every whole frame.
async fn read(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    mut show: impl FnMut(&[u8]),
) -> Result<(), BenchError> {
    buffer.reserve(READ_BYTES);
    let read = stream.read_buf(buffer).await.map_err(|error| failed("a client", error))?;
    if read == 0 {
        return Err(failed("a client", "the server closed the connection"));
    }
    let mut pongs = BytesMut::new();
    while let Some((bytes, frame)) = socket::next(buffer) {
        match frame {
            Frame::Data(payload) => show(payload),
            Frame::Ping(payload) => pongs.extend_from_slice(&socket::pong(payload)),
            Frame::Closed => return Err(failed("a client", "the server closed the connection")),
        }
        buffer.advance(bytes);
    }
    if pongs.is_empty() { Ok(()) } else { write(stream, &pongs).await }
}

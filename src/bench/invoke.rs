//! The round trip of a tool call, beside a bare axum echo socket.
//!
//! Both servers are in this process on loopback, each with one client; rounds alternate between them, so that what
//! else the machine does meets both. The echo gets as many bytes as the call has, in one WebSocket message; a call is
//! two each way, because the protocol's smallest message is two packets.

use super::timing::Timings;
use crate::clock::{IdSource, System};
use crate::id::{ProjectId, RoomId, SessionId};
use crate::room::world::{
    Admission, EndReason, Gate, Host, OpenedSession, Presence, Refusal, RoomRef, SessionKeeper,
};
use crate::room::{Bus, BusParts, Hub, Limits, RoomEdge, router, toolkits};
use crate::spec::ApiScope;
use crate::wire::{encode, pack};
use async_trait::async_trait;
use axum::Router;
use axum::extract::ws::{Message as Server, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use axum::serve::ListenerExt;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Round trips per batch; batches alternate between the two servers.
const BATCH: usize = 200;
/// Batches that are not counted.
const WARM_BATCHES: usize = 5;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    pub echo: Timings,
    /// `developer.info`, which touches nothing but memory.
    pub invoke: Timings,
    /// Bytes of one call, in both directions' messages.
    pub call_bytes: usize,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("the bench server or client failed: {0}; look for another program on the loopback interface")]
    Socket(String),
}

impl Report {
    /// Median call over median echo.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.invoke.percentile(50.0).as_secs_f64() / self.echo.percentile(50.0).as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bare axum echo, {} bytes: {}", self.call_bytes, self.echo)?;
        writeln!(f, "room.invoke_tool developer.info: {}", self.invoke)?;
        write!(f, "ratio of medians: {:.2}", self.ratio())
    }
}

/// Measures `rounds` round trips of each.
pub async fn run(rounds: usize) -> Result<Report, BenchError> {
    let echo_address =
        serve(Router::new().route("/echo", any(|ws: WebSocketUpgrade| async { ws.on_upgrade(echo) })))
            .await?;
    let room_address = serve(room()).await?;
    let mut echo = connect(echo_address, "echo").await?;
    let mut room = connect(room_address, "rooms/bench?token=bench").await?;
    // The start-up: `connected` and `room_ready`, two packets each.
    for _ in 0..4 {
        receive(&mut room).await?;
    }
    let call = call_packets(1);
    let bytes: BytesMut = call.iter().flat_map(|packet| packet.iter().copied()).collect();
    let whole = bytes.freeze();
    let (mut echoes, mut calls) = (Vec::new(), Vec::new());
    let batches = rounds.div_ceil(BATCH) + WARM_BATCHES;
    for batch in 0..batches {
        let mut spent = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            spent.push(round(&mut echo, std::slice::from_ref(&whole), 1).await?);
        }
        let mut used = Vec::with_capacity(BATCH);
        for n in 0..BATCH {
            used.push(round(&mut room, &call_packets((batch * BATCH + n) as u64 + 1), 2).await?);
        }
        if batch >= WARM_BATCHES {
            echoes.append(&mut spent);
            calls.append(&mut used);
        }
    }
    Ok(Report { echo: Timings::new(echoes), invoke: Timings::new(calls), call_bytes: whole.len() })
}

fn call_packets(id: u64) -> Vec<Bytes> {
    let header = json!({
        "toolkit": "developer", "tool": "info", "participant_id": null, "on_behalf_of_id": null,
        "arguments": {"type": "json", "json": {"message": "bench", "extra": null}},
        "tool_call_id": format!("{id:032x}"),
    });
    encode(id, "room.invoke_tool", &pack(&header, b""))
}

/// Sends the packets at once and waits for `answers` messages.
async fn round(socket: &mut Socket, packets: &[Bytes], answers: usize) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    for packet in packets {
        socket.feed(Ws::Binary(packet.clone())).await.map_err(failed)?;
    }
    socket.flush().await.map_err(failed)?;
    for _ in 0..answers {
        receive(socket).await?;
    }
    Ok(begun.elapsed())
}

async fn receive(socket: &mut Socket) -> Result<(), BenchError> {
    match socket.next().await {
        Some(Ok(Ws::Binary(_))) => Ok(()),
        other => Err(BenchError::Socket(format!("expected a binary message, got {other:?}"))),
    }
}

async fn connect(address: SocketAddr, path: &str) -> Result<Socket, BenchError> {
    let (socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{address}/{path}")).await.map_err(failed)?;
    if let MaybeTlsStream::Plain(tcp) = socket.get_ref() {
        tcp.set_nodelay(true).map_err(failed)?;
    }
    Ok(socket)
}

async fn serve(app: Router) -> Result<SocketAddr, BenchError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Server::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

fn failed(error: impl fmt::Display) -> BenchError {
    BenchError::Socket(error.to_string())
}

/// A room edge that lets everybody in.
fn room() -> Router {
    let ids: Arc<dyn IdSource> = Arc::new(System);
    let hub = Arc::new(Hub::new(Arc::new(Open), Arc::new(System), Arc::clone(&ids)));
    let bus = Bus::new(BusParts {
        hub,
        toolkits: vec![Arc::new(toolkits::developer::Developer::default())],
        callouts: None,
        clock: Arc::new(System),
        ids,
    });
    router(RoomEdge { bus: Arc::new(bus), gate: Arc::new(Open) })
}

struct Open;

#[async_trait]
impl Gate for Open {
    async fn admit(&self, room: &str, _token: &str) -> Result<Admission, Refusal> {
        let id = RoomId::new(ProjectId::PLATFORM, uuid::Uuid::nil());
        Ok(Admission {
            room: RoomRef { id, name: room.to_owned(), url: String::new(), limits: Limits::default() },
            name: "bench".to_owned(),
            role: "user".to_owned(),
            api: Arc::new(ApiScope::full()),
            service: None,
        })
    }
}

#[async_trait]
impl SessionKeeper for Open {
    async fn open(&self, room: &RoomRef) -> Result<Host, Refusal> {
        let id = SessionId::new(room.id.project(), uuid::Uuid::nil());
        Ok(Host::Here(OpenedSession { id, epoch: 1 }))
    }
    fn touched(&self, _: RoomId, _: SessionId, _: &str, _: Presence) {}
    async fn ended(&self, _: RoomId, _: SessionId, _: EndReason) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_short_run_measures_both() {
        let report = run(1).await.unwrap();
        assert_eq!((report.echo.count(), report.invoke.count()), (BATCH, BATCH));
        assert!(report.ratio() > 0.0);
    }

    /// `cargo test --release --lib bench::invoke -- --ignored --nocapture`
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "a measurement; wants a release build and a quiet machine"]
    async fn measure() {
        println!("{}", run(20_000).await.unwrap());
    }
}

//! The receivers: sockets that count what comes, and one that sends.

use super::contestant::{Contestant, Kind};
use super::failed;
use super::socket::{self, Frame};
use crate::bench::BenchError;
use crate::bench::measure::Latencies;
use crate::wire::{encode, pack};
use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// Connections made at the same time.
const DIAL_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Receive buffer of one that may stop reading, bytes: the kernel must not read on for it.
const SMALL_BUFFER_BYTES: u32 = 16 * 1024;
/// Stands before the time at which a message was sent, in hexadecimal nanoseconds.
const STAMP: &[u8] = b"@@";
const STAMP_DIGITS: usize = 16;
/// What a delivery may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// What all receivers write to.
struct Counts {
    /// To those who always read.
    delivered: AtomicU64,
    /// To those who sleep at times.
    late: AtomicU64,
    lost: AtomicU64,
    /// Receivers that always read.
    steady: u64,
    payload_bytes: usize,
    timed: AtomicBool,
    latencies: Mutex<Latencies>,
    progress: Notify,
    epoch: Instant,
}

/// Sockets in one room.
pub(super) struct Crowd {
    counts: Arc<Counts>,
    asleep: watch::Sender<bool>,
    sender: TcpStream,
    kind: Kind,
    sent: u64,
    sleepers: usize,
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Connects `receivers`, of which `sleepers` can be made to stop reading, and one sender.
    pub async fn gather(
        contestant: &Contestant,
        receivers: usize,
        sleepers: usize,
        payload_bytes: usize,
    ) -> Result<Self, BenchError> {
        let counts = Arc::new(Counts {
            delivered: AtomicU64::new(0),
            late: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            steady: (receivers - sleepers) as u64,
            payload_bytes,
            timed: AtomicBool::new(false),
            latencies: Mutex::default(),
            progress: Notify::new(),
            epoch: Instant::now(),
        });
        let (asleep, waking) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let dial = |index: usize| enter(contestant, index, index < sleepers);
        let mut dialled = futures_util::stream::iter(0..receivers).map(dial).buffer_unordered(DIAL_MAX);
        while let Some(entered) = dialled.next().await {
            let (stream, rest, sleeper) = entered?;
            let waking = sleeper.then(|| waking.clone());
            tasks.spawn(listen(stream, rest, waking, Arc::clone(&counts)));
        }
        let (sender, _, _) = enter(contestant, receivers, false).await?;
        let kind = contestant.kind;
        Ok(Self { counts, asleep, sender, kind, sent: 0, sleepers, _tasks: tasks })
    }

    /// Sends one message of `bytes` to all.
    pub async fn send(&mut self, bytes: usize) -> Result<(), BenchError> {
        self.sent += 1;
        let now = u64::try_from(self.counts.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut text = format!("@@{now:016x}");
        let frame = if self.kind == Kind::Peer {
            text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
            vec![socket::frame(text.as_bytes())]
        } else {
            // `{"t":"…"}` has eight bytes beside its text.
            text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len() + 8)));
            let message = json!({"t": text}).to_string();
            let input = json!({"type": "bench", "message_json": message, "attachment_base64": null});
            request(self.sent, "broadcast", &input)
        };
        for frame in frame {
            self.sender.write_all(&frame).await.map_err(|error| failed("the sender", error))?;
        }
        self.swallow();
        Ok(())
    }

    /// The answers to the sender are nobody's business, but must not fill its socket.
    fn swallow(&mut self) {
        let mut bytes = [0; 4096];
        while self.sender.try_read(&mut bytes).is_ok_and(|read| read > 0) {}
    }

    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Relaxed)
    }

    /// Waits until those who always read have all but the last `behind` messages.
    pub async fn settle(&self, behind: u64) -> Result<(), BenchError> {
        let wanted = self.sent.saturating_sub(behind) * self.counts.steady;
        let reached = async {
            while self.delivered() < wanted {
                self.counts.progress.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .map_err(|_| failed("the receivers", format!("{} of {wanted} deliveries came", self.delivered())))
    }

    /// Waits until the sleepers have everything too, but for those whose connection the server ended.
    pub async fn catch_up(&self) -> Result<(), BenchError> {
        let reached = async {
            loop {
                let awake = (self.sleepers as u64).saturating_sub(self.lost());
                if self.counts.late.load(Ordering::Relaxed) >= self.sent * awake {
                    return;
                }
                self.counts.progress.notified().await;
            }
        };
        let late = |_| failed("the receivers", "those who slept did not catch up");
        tokio::time::timeout(PATIENCE, reached).await.map_err(late)
    }

    /// Forgets what was counted so far.
    pub fn reset(&mut self) {
        self.sent = 0;
        self.counts.delivered.store(0, Ordering::Relaxed);
    }

    /// Begins or ends the taking of times; at the end, those taken.
    pub fn timed(&self, on: bool) -> Latencies {
        self.counts.timed.store(on, Ordering::Relaxed);
        std::mem::take(&mut self.counts.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends the sleepers to sleep, or wakes them.
    pub fn sleep(&self, asleep: bool) {
        self.asleep.send_replace(asleep);
    }

    /// Receivers whose connection the server ended.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

/// A tool call of `messaging` as the frames of its packets.
fn request(id: u64, tool: &str, input: &serde_json::Value) -> Vec<bytes::Bytes> {
    let header = json!({
        "toolkit": "messaging", "tool": tool, "participant_id": null, "on_behalf_of_id": null,
        "arguments": {"type": "json", "json": input}, "tool_call_id": format!("{id}"),
    });
    encode(id, "room.invoke_tool", &pack(&header, b"")).iter().map(|packet| socket::frame(packet)).collect()
}

/// Connects one; in our room it also begins to take messages, and is in when that was answered.
async fn enter(
    contestant: &Contestant,
    index: usize,
    sleeper: bool,
) -> Result<(TcpStream, BytesMut, bool), BenchError> {
    let path = contestant.path(&format!("p{index}"))?;
    let buffer = sleeper.then_some(SMALL_BUFFER_BYTES);
    let (mut stream, mut rest) = socket::open(contestant.address, &path, buffer).await?;
    if contestant.kind == Kind::Ours {
        for frame in request(1, "enable", &json!({})) {
            stream.write_all(&frame).await.map_err(|error| failed("the receiver", error))?;
        }
        wait_for(&mut stream, &mut rest, b"__response__").await?;
    }
    Ok((stream, rest, sleeper))
}

/// Reads until a message of that type came whole.
pub(super) async fn wait_for(
    stream: &mut TcpStream,
    rest: &mut BytesMut,
    kind: &[u8],
) -> Result<(), BenchError> {
    let came = async {
        let mut begun = false;
        loop {
            while let Some((bytes, frame)) = socket::next(rest) {
                let is_data = matches!(frame, Frame::Data(_));
                let names = matches!(frame, Frame::Data(payload) if payload.ends_with(kind));
                rest.advance(bytes);
                if begun && is_data {
                    return Ok(());
                }
                begun |= names;
            }
            if stream.read_buf(rest).await.map_err(|error| failed("the receiver", error))? == 0 {
                return Err(failed("the receiver", "the server closed the connection"));
            }
        }
    };
    let late = |_| failed("the receiver", format!("no {} came", String::from_utf8_lossy(kind)));
    tokio::time::timeout(PATIENCE, came).await.map_err(late)?
}

async fn listen(
    mut stream: TcpStream,
    mut buffer: BytesMut,
    mut asleep: Option<watch::Receiver<bool>>,
    counts: Arc<Counts>,
) {
    loop {
        if let Some(asleep) = &mut asleep
            && asleep.wait_for(|asleep| !asleep).await.is_err()
        {
            return;
        }
        let mut deliveries = 0;
        let mut pongs = Vec::new();
        while let Some((bytes, frame)) = socket::next(&buffer) {
            match frame {
                Frame::Data(payload) if payload.len() >= counts.payload_bytes => {
                    deliveries += 1;
                    if asleep.is_none() && counts.timed.load(Ordering::Relaxed) {
                        counts.time(payload);
                    }
                }
                Frame::Data(_) => {}
                Frame::Ping(payload) => pongs.push(socket::pong(payload)),
                Frame::Closed => return counts.lose(),
            }
            buffer.advance(bytes);
        }
        counts.add(deliveries, asleep.is_some());
        for pong in pongs {
            if stream.write_all(&pong).await.is_err() {
                return counts.lose();
            }
        }
        buffer.reserve(READ_BYTES);
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return counts.lose(),
            Ok(_) => {}
        }
    }
}

impl Counts {
    fn add(&self, deliveries: u64, sleeper: bool) {
        if deliveries == 0 {
            return;
        }
        if sleeper {
            self.late.fetch_add(deliveries, Ordering::Relaxed);
            return self.progress.notify_one();
        }
        let before = self.delivered.fetch_add(deliveries, Ordering::Relaxed);
        if before / self.steady != (before + deliveries) / self.steady {
            self.progress.notify_one();
        }
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.progress.notify_one();
    }

    fn time(&self, payload: &[u8]) {
        let at = payload.windows(STAMP.len()).position(|w| w == STAMP).map(|at| at + STAMP.len());
        let digits = at.and_then(|at| payload.get(at..at + STAMP_DIGITS));
        let sent = digits.and_then(|d| u64::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        if let Some(took) = sent.and_then(|sent| self.epoch.elapsed().checked_sub(Duration::from_nanos(sent)))
        {
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).add(took);
        }
    }
}

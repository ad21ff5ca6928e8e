//! One connection after its handshake: takes messages in arrival order and answers every request.

use super::bus::Bus;
use super::early::{Chunk, Early};
use super::hosted::{self, HostedCall};
use super::input::{InputStream, ItemAnswer};
use super::outbox::End;
use super::session::{LiveSession, Peer};
use super::toolkit::ToolError;
use super::{call_out, invoke, listing};
use crate::error_code::RoomCode;
use crate::wire::{Content, Control, FrameError, Message, pack, unpack_traced};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long the requests of a participant that is gone may take to end.
const SEE_THROUGH_MAX: Duration = Duration::from_secs(10);
/// Why the input of a call ends that was not closed (RFC 6455 §7.4.1: gone without a word).
const STATUS_GONE: u16 = 1006;

/// A request in work; gives the tool call that it ends, if any.
pub type Job = BoxFuture<'static, Option<String>>;

/// Where the input chunks of a call go.
#[derive(Debug)]
pub(super) enum Attached {
    BuiltIn(Option<InputStream>),
    Hosted(Arc<HostedCall>),
}

/// The connection's own state; only its task touches it.
pub struct Connection {
    pub(super) bus: Arc<Bus>,
    pub(super) session: Arc<LiveSession>,
    pub(super) peer: Arc<Peer>,
    pub(super) calls: HashMap<String, Attached>,
    pub(super) early: Early,
    /// Work that was asked for whole: it is seen through though the participant is gone.
    jobs: FuturesUnordered<Job>,
    /// What only waits for something on the participant's behalf: dropped with it.
    waits: FuturesUnordered<Job>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer.id).finish_non_exhaustive()
    }
}

impl Connection {
    pub fn new(bus: Arc<Bus>, session: Arc<LiveSession>, peer: Arc<Peer>) -> Self {
        Self {
            bus,
            session,
            peer,
            calls: HashMap::new(),
            early: Early::default(),
            jobs: FuturesUnordered::new(),
            waits: FuturesUnordered::new(),
        }
    }

    /// Tells the client who it is and that the room is ready.
    pub fn greet(&self) {
        let room = &self.session.room;
        let init = json!({
            "type": "init",
            "participantId": self.peer.id,
            "attributes": {"name": self.peer.name},
        });
        let ready = json!({
            "room_name": room.name,
            "room_url": room.url,
            "session_id": self.session.opened.id.to_string(),
        });
        self.peer.outbox.push("connected", pack(&init, b""));
        self.peer.outbox.push("room_ready", pack(&ready, b""));
    }

    /// Takes one message.
    pub fn take(&mut self, message: Message) {
        let Message { id, kind, payload } = message;
        // The answer of a host is a content, passed on as it is.
        if kind == "room.tool_call_response" {
            if let Some(call) = hosted::find(&self.peer, id) {
                call.answered(payload);
            }
            return;
        }
        let bytes = payload.len();
        let (header, data, trace) = match unpack_traced(&payload) {
            Ok(parts) => parts,
            Err(error) => return self.fail(id, &ToolError::invalid(error.to_string())),
        };
        match kind.as_str() {
            "room.invoke_tool" => invoke::invoke(self, id, header, data, trace),
            "room.tool_call_request_chunk" => self.request_chunk(id, header, data, bytes),
            "room.tool_call_response_chunk" => self.response_chunk(id, &header, &data),
            "set_attributes" => self.set_attributes(id, header),
            "room.list_toolkits" => listing::list(self, id, &header),
            "room.register_toolkit" => listing::register(self, id, header),
            "room.unregister_toolkit" => listing::unregister(self, id, &header),
            "room.call" => call_out::call(self, id, header),
            other => self.fail(
                id,
                &ToolError::invalid(format!(
                    "unknown request `{other}`; room APIs are called through `room.invoke_tool`"
                )),
            ),
        }
    }

    /// Takes a packet that could not be read; the connection goes on.
    pub fn bad_frame(&self, error: &FrameError) {
        if let Some(id) = error.message_id() {
            self.fail(id, &ToolError::invalid(error.to_string()));
        }
        tracing::debug!(participant = %self.peer.id, %error, "a packet could not be read");
    }

    /// Ends a request that was taken on with [`Connection::work`].
    pub async fn finished(&mut self) {
        let ended = tokio::select! {
            Some(ended) = self.jobs.next(), if !self.jobs.is_empty() => ended,
            Some(ended) = self.waits.next(), if !self.waits.is_empty() => ended,
            else => std::future::pending().await,
        };
        if let Some(call) = ended {
            self.end_call(call);
        }
    }

    /// Takes the participant out of everything; called when the connection is gone.
    pub fn leave(mut self) {
        if self.peer.outbox.was_too_slow() {
            self.session.cut_off(&self.peer);
        }
        self.peer.outbox.end(End::Drop("the connection is gone"));
        self.waits.clear();
        for (_, attached) in self.calls.drain() {
            match attached {
                Attached::Hosted(call) => call.lose_caller(),
                Attached::BuiltIn(Some(input)) => input.push(Content::Control(Control::Close {
                    status: STATUS_GONE,
                    message: Some("the caller lost its connection".to_owned()),
                })),
                Attached::BuiltIn(None) => {}
            }
        }
        self.bus.hub.leave(&self.session, &self.peer);
        hosted::host_lost(&self.peer);
        self.give_back();
    }

    /// Lets the toolkits take back what they gave this participant, once what it had asked for is done: whoever is
    /// given it next sees that. Not where it comes back to find it: on a server that stops, and in a session that moved.
    fn give_back(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.bus.hub.is_stopping() || self.session.has_moved() {
            return;
        }
        let Self { bus, session, peer, jobs, .. } = self;
        if jobs.is_empty() && !bus.toolkits().any(|toolkit| toolkit.holds(&peer)) {
            return;
        }
        runtime.spawn(async move {
            let seen_through = tokio::select! {
                done = tokio::time::timeout(SEE_THROUGH_MAX, jobs.count()) => done.is_ok(),
                // The room is written by another server from here on.
                () = session.moved() => return,
            };
            if !seen_through {
                tracing::warn!(room = %session.room.name, participant = %peer.id, "requests of a participant that is gone were given up");
            }
            for toolkit in bus.toolkits().filter(|toolkit| toolkit.holds(&peer)) {
                toolkit.left(&session, &peer).await;
            }
        });
    }

    pub(super) fn answer(&self, id: u64, content: Content) {
        self.peer.outbox.respond(id, content);
    }

    pub(super) fn fail(&self, id: u64, error: &ToolError) {
        self.answer(id, error.content());
    }

    /// Whether this participant may have another call open.
    pub(super) fn room_for_a_call(&mut self) -> Result<(), ToolError> {
        let limit = self.session.room.limits.open_calls;
        if self.calls.len() >= limit {
            self.calls.retain(|_, attached| !matches!(attached, Attached::Hosted(call) if call.is_over()));
        }
        if (self.jobs.len() + self.waits.len()).max(self.calls.len()) < limit {
            return Ok(());
        }
        let text = format!(
            "this participant has {limit} calls open, the room's limit `open-calls`; wait for some to end"
        );
        Err(ToolError::new(RoomCode::InvalidState, text))
    }

    /// Runs a request as far as it goes at once, and the rest beside the others.
    pub(super) fn work(&mut self, id: u64, job: Job) {
        match self.room_for_a_call() {
            Ok(()) => self.begin(job, true),
            Err(error) => self.fail(id, &error),
        }
    }

    /// As [`Connection::work`], for a call that was found room for. `waits`: it is dropped with the connection, where
    /// others are seen through.
    pub(super) fn begin(&mut self, mut job: Job, waits: bool) {
        // Most requests are done without waiting; those never enter the set.
        match job.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(call)) => self.end_call(call),
            Poll::Ready(None) => {}
            Poll::Pending if waits => self.waits.push(job),
            Poll::Pending => self.jobs.push(job),
        }
    }

    pub(super) fn end_call(&mut self, call: String) {
        let attached = self.calls.remove(&call);
        if !matches!(attached, Some(Attached::BuiltIn(None))) {
            self.early.ended(call);
        }
    }

    /// An input chunk. The answer is always `empty`: TypeScript waits for it before it sends the next chunk. It goes
    /// out at once, or when the toolkit is done with the chunk where that is the toolkit's to say.
    fn request_chunk(&mut self, id: u64, mut header: Map<String, Value>, data: Bytes, bytes: usize) {
        let answer = ItemAnswer::new(&self.peer, id);
        let Some(Value::Object(chunk)) = header.remove("chunk") else {
            tracing::debug!(participant = %self.peer.id, "an input chunk has no `chunk`");
            return;
        };
        let Some(call) = header.get("tool_call_id").and_then(Value::as_str) else {
            tracing::debug!(participant = %self.peer.id, "an input chunk has no `tool_call_id`");
            return;
        };
        let chunk = Chunk { header: chunk, data, bytes };
        match self.calls.get(call) {
            Some(Attached::BuiltIn(Some(input))) if input.answers_itself() => {
                input.push_chunk_with(&chunk, Some(answer));
            }
            Some(Attached::BuiltIn(Some(input))) => input.push_chunk(&chunk),
            Some(Attached::BuiltIn(None)) => {}
            Some(Attached::Hosted(hosted)) => {
                hosted.from_caller(&chunk);
                if hosted.is_over() {
                    let call = call.to_owned();
                    self.end_call(call);
                }
            }
            None => self.early.keep(call, chunk),
        }
    }

    /// An output chunk of a call that this participant's toolkit works on.
    fn response_chunk(&self, id: u64, header: &Map<String, Value>, data: &Bytes) {
        let by_call = || {
            let id = header.get("tool_call_id")?.as_str()?;
            hosted::find(&self.peer, u64::from_str_radix(id, 16).ok()?)
        };
        let Some(call) = hosted::find(&self.peer, id).or_else(by_call) else {
            return;
        };
        if let Some(Value::Object(chunk)) = header.get("chunk") {
            call.host_chunk(chunk, data);
        }
    }

    /// One way; an answer is sent only to say what is wrong.
    fn set_attributes(&self, id: u64, attributes: Map<String, Value>) {
        if let Err(error) = self.session.set_attributes(&self.peer.id, attributes) {
            self.fail(id, &ToolError::invalid(error.to_string()));
        }
    }
}

//! Feeds arbitrary bytes to a room with two participants and checks what must hold whatever they say. Driven by the
//! fuzz targets in `fuzz/` and, bounded, by the tests. Panics where a promise is broken: that is its purpose.

use super::bus::{Bus, BusParts};
use super::connection::Connection;
use super::hub::Hub;
use super::limits::Limits;
use super::outbox::{Batch, RESPONSE};
use super::session::{LiveSession, Peer};
use super::toolkits::{developer::Developer, messaging::Messaging};
use super::world::{Admission, EndReason, Host, OpenedSession, Presence, Refusal, RoomRef, SessionKeeper};
use crate::clock::System;
use crate::id::{ProjectId, RoomId, SessionId};
use crate::spec::ApiScope;
use crate::wire::{Assembler, Content, Message, pack, unpack};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Steps taken from one input.
const STEPS_MAX: usize = 256;

/// Any bytes, cut into packets: the assembler never panics, and what it gives out it was given.
pub fn packets(bytes: &[u8]) {
    let mut assembler = Assembler::default();
    let mut rest = bytes;
    let mut given = 0;
    while let [length, tail @ ..] = rest {
        let (packet, after) = tail.split_at(usize::from(*length).min(tail.len()));
        given += packet.len();
        if let Ok(Some(message)) = assembler.push(&Bytes::copy_from_slice(packet)) {
            assert!(message.payload.len() <= given, "a message larger than what came");
            let _ = unpack(&message.payload).map(|(header, data)| Content::from_parts(&header, data));
        }
        rest = after;
    }
}

/// Any bytes, read as what two participants say: every request gets one answer that is a content, nothing is answered
/// twice, and when both are gone nothing is left.
pub fn room(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    runtime.block_on(async {
        let mut room = Room::open().await;
        let mut script = Script(bytes);
        for _ in 0..STEPS_MAX {
            let Some(step) = script.next() else { break };
            room.step(step, &mut script).await;
        }
        room.end();
    });
}

/// The input, byte by byte.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let at = usize::from(self.next().unwrap_or_default()) % of.len();
        &of[at]
    }

    fn some(&mut self) -> Bytes {
        let length = usize::from(self.next().unwrap_or_default()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Bytes::copy_from_slice(taken)
    }
}

/// One participant and what it is owed.
struct Side {
    connection: Connection,
    peer: Arc<Peer>,
    next_id: u64,
    /// Requests without an answer, and whether the answer may be long in coming.
    owed: HashMap<u64, bool>,
    answered: HashSet<u64>,
    /// Messages that asked it to do something.
    asked: Vec<u64>,
}

struct Room {
    bus: Arc<Bus>,
    session: Arc<LiveSession>,
    sides: Vec<Side>,
}

impl Room {
    async fn open() -> Self {
        let hub = Arc::new(Hub::new(Arc::new(Keeper), Arc::new(System), Arc::new(System)));
        let bus = Arc::new(Bus::new(BusParts {
            hub,
            toolkits: vec![Arc::new(Developer::default()), Arc::new(Messaging::default())],
            callouts: None,
            clock: Arc::new(System),
            ids: Arc::new(System),
        }));
        let first = Side::join(&bus).await;
        let second = Side::join(&bus).await;
        Self { session: first.1, sides: vec![first.0, second.0], bus }
    }

    async fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let who = usize::from(step >> 7);
        let ids = [self.sides[0].peer.id.clone(), self.sides[1].peer.id.clone()];
        let side = &mut self.sides[who];
        let call = *script.pick(&["a", "b", "c"]);
        match step % 12 {
            0..=3 => {
                let participant = script.pick(&[Value::Null, json!(ids[0]), json!(ids[1]), json!(7)]).clone();
                let toolkit = *script.pick(&["messaging", "developer", "t", "zap"]);
                let tool =
                    *script.pick(&["enable", "disable", "send", "broadcast", "stream", "log", "logs", "run"]);
                let header = json!({
                    "toolkit": toolkit, "tool": tool, "participant_id": participant, "tool_call_id": call,
                    "arguments": chunk(script, &ids),
                });
                side.request("room.invoke_tool", &header, true);
            }
            4 | 5 => {
                let header = json!({"tool_call_id": call, "chunk": chunk(script, &ids)});
                side.request("room.tool_call_request_chunk", &header, false);
            }
            6 => {
                let id = side.some_asked(script);
                side.say(id, "room.tool_call_response", pack(&chunk(script, &ids), b"data"));
            }
            7 => {
                let id = side.some_asked(script);
                let header = json!({"tool_call_id": format!("{id:032x}"), "chunk": chunk(script, &ids)});
                side.say(id, "room.tool_call_response_chunk", pack(&header, b"data"));
            }
            8 => {
                let public = script.pick(&[true, false]);
                side.request(
                    "room.register_toolkit",
                    &json!({"name": "t", "public": public, "tools": {}}),
                    false,
                );
            }
            9 => side.request("room.list_toolkits", &json!({"participant_id": ids[who]}), false),
            10 => {
                let kind =
                    *script.pick(&["set_attributes", "room.unregister_toolkit", "room.call", "room.sync"]);
                let payload = script.some();
                side.next_id += 1;
                // `set_attributes` has no answer unless it is wrong.
                side.owed.insert(side.next_id, kind == "set_attributes");
                side.say(side.next_id, kind, payload);
            }
            _ => {
                let (mut fresh, _) = Side::join(&self.bus).await;
                std::mem::swap(side, &mut fresh);
                fresh.leave();
            }
        }
        for side in &mut self.sides {
            side.work().await;
            side.listen();
        }
    }

    /// Both leave; what the first waited for from the second has failed by then.
    fn end(mut self) {
        for side in &mut self.sides {
            side.listen();
            let overdue: Vec<_> = side.owed.iter().filter(|(_, may_wait)| !**may_wait).collect();
            assert!(overdue.is_empty(), "requests without an answer: {overdue:?}");
        }
        for side in self.sides {
            side.leave();
        }
        assert!(self.session.roster().is_empty(), "somebody is still in the room");
        assert!(self.session.idle_since().is_some(), "a call is still counted as work");
    }
}

impl Side {
    async fn join(bus: &Arc<Bus>) -> (Self, Arc<LiveSession>) {
        let id = RoomId::new(ProjectId::PLATFORM, uuid::Uuid::nil());
        let admission = Admission {
            room: RoomRef { id, name: "fuzz".into(), url: String::new(), limits: Limits::default() },
            name: "fuzz".into(),
            role: "user".into(),
            api: Arc::new(ApiScope::full()),
            service: None,
        };
        let Ok((session, peer)) = bus.hub.join(&admission).await else {
            unreachable!("the keeper lets all in")
        };
        let connection = Connection::new(Arc::clone(bus), Arc::clone(&session), Arc::clone(&peer));
        let side = Self {
            connection,
            peer,
            next_id: 0,
            owed: HashMap::new(),
            answered: HashSet::new(),
            asked: Vec::new(),
        };
        (side, session)
    }

    fn request(&mut self, kind: &str, header: &Value, may_wait: bool) {
        self.next_id += 1;
        self.owed.insert(self.next_id, may_wait);
        self.say(self.next_id, kind, pack(header, b""));
    }

    fn say(&mut self, id: u64, kind: &str, payload: Bytes) {
        self.connection.take(Message { id, kind: kind.to_owned(), payload });
    }

    fn some_asked(&mut self, script: &mut Script<'_>) -> u64 {
        if self.asked.is_empty() { 1 } else { *script.pick(&self.asked) }
    }

    /// Lets its requests go on as far as they can without waiting.
    async fn work(&mut self) {
        while self.connection.finished().now_or_never().is_some() {}
        tokio::task::yield_now().await;
    }

    /// Reads what was sent to it.
    fn listen(&mut self) {
        while let Some(Batch::Messages(messages)) = self.peer.outbox.next().now_or_never() {
            for message in messages {
                self.peer.outbox.written(message.bytes());
                let (id, kind, payload) = message.message();
                if kind.starts_with("room.tool_call.") {
                    self.asked.push(id);
                }
                if kind == RESPONSE {
                    let read = unpack(payload).ok().map(|(h, data)| Content::from_parts(&h, data));
                    assert!(matches!(read, Some(Ok(_))), "the answer to {id} is no content");
                    assert!(self.owed.remove(&id).is_some(), "{id} was never asked, or answered before");
                    assert!(self.answered.insert(id), "{id} was answered twice");
                }
            }
        }
    }

    fn leave(self) {
        self.connection.leave();
        assert!(self.peer.outbox.has_ended(), "an outbox outlives its connection");
    }
}

/// One of the things that may stand where a content's header is expected.
fn chunk(script: &mut Script<'_>, ids: &[String; 2]) -> Value {
    let message = json!({"to_participant_id": ids[1], "type": "t", "message_json": "{}", "message": "m"});
    script
        .pick(&[
            json!({"type": "json", "json": message}),
            json!({"type": "control", "method": "open"}),
            json!({"type": "control", "method": "close", "status_code": 1000}),
            json!({"type": "control", "method": "close", "status_code": 1007, "message": "bad"}),
            json!({"type": "binary", "headers": {"kind": "data"}}),
            json!({"type": "error", "text": "no", "code": 1003}),
            json!({"type": "empty"}),
            json!({"progress": 1}),
            json!({"type": "zap"}),
        ])
        .clone()
}

struct Keeper;

#[async_trait]
impl SessionKeeper for Keeper {
    async fn open(&self, room: &RoomRef) -> Result<Host, Refusal> {
        let id = SessionId::new(room.id.project(), uuid::Uuid::nil());
        Ok(Host::Here(OpenedSession { id, epoch: 1 }))
    }
    fn touched(&self, _: RoomId, _: SessionId, _: &str, _: Presence) {}
    async fn ended(&self, _: RoomId, _: SessionId, _: EndReason) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_packets_break_the_assembler(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            super::packets(&bytes);
        }

        #[test]
        fn no_talk_breaks_a_room(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            super::room(&bytes);
        }
    }
}

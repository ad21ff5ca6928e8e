//! `messaging.stream`: a stream between two participants.

use super::client::{Client, error};
use super::harness::Edge;
use meshagent::wire::{Content, Control, pack, unpack};
use serde_json::{Value, json};

const TO_TARGET: &str = "room.tool_call_request_chunk.messaging";

struct Streams {
    _edge: Edge,
    caller: Client,
    target: Client,
    request: u64,
    message: u64,
    stream: Value,
}

/// The caller has asked, the target has the question and the first item.
async fn asked() -> Streams {
    let edge = Edge::start().await;
    let (mut caller, mut target) = (edge.join("caller").await, edge.join("target").await);
    target.invoke("messaging", "enable", json!({})).await;
    let request = caller.open("messaging", "stream", "s").await;
    let first = json!({"to_participant_id": target.id, "type": "chat", "message_json": "{}", "attachment_base64": null});
    caller.item("s", Content::Json(first)).await;
    // Said before the other accepts: held back.
    caller
        .item(
            "s",
            Content::Json(
                json!({"type": "more", "message_json": "{\"n\":1}", "from_participant_id": "forged"}),
            ),
        )
        .await;
    let question = target.message("room.tool_call.messaging").await;
    let (header, _) = unpack(&question.payload).unwrap();
    assert_eq!((&header["name"], &header["caller_id"]), (&json!("stream"), &json!(caller.id)));
    assert_eq!(header["arguments"], json!({"type": "control", "method": "open"}));
    let (first, _) = target.push(TO_TARGET).await;
    let item = json!({"from_participant_id": caller.id, "type": "chat", "message_json": "{}", "attachment_base64": null});
    assert_eq!(first["chunk"], json!({"type": "json", "json": item}));
    target.settle().await;
    assert!(!target.has(TO_TARGET), "held back until the target accepts");
    let stream = header["tool_call_id"].clone();
    Streams { _edge: edge, caller, target, request, message: question.id, stream }
}

impl Streams {
    async fn accept(&mut self) {
        self.target
            .send_raw(self.message, "room.tool_call_response", Content::Control(Control::Open).pack())
            .await;
        assert_eq!(self.caller.answer(self.request).await, Content::Control(Control::Open));
        let accepted = json!({"kind": "accepted", "stream_id": self.stream});
        assert_eq!(self.caller.chunk("s").await, Content::Json(accepted));
    }

    async fn say(&mut self, chunk: Value) {
        let header = json!({"tool_call_id": self.stream, "chunk": chunk});
        self.target.send_raw(self.message, "room.tool_call_response_chunk", pack(&header, b"")).await;
    }
}

#[tokio::test]
async fn an_accepted_stream_goes_both_ways_and_the_target_ends_it() {
    let mut s = asked().await;
    s.accept().await;
    let (held, _) = s.target.push(TO_TARGET).await;
    assert_eq!(held["chunk"]["json"]["message_json"], "{\"n\":1}");
    assert_eq!(held["chunk"]["json"]["from_participant_id"], s.caller.id, "the sender is the server's word");
    let message = json!({"kind": "message", "type": "reply", "message": {"a": 1}, "attachment_base64": null});
    s.say(json!({"type": "json", "json": message})).await;
    assert_eq!(s.caller.chunk("s").await, Content::Json(message));
    s.caller.end("s").await;
    let (end, _) = s.target.push(TO_TARGET).await;
    assert_eq!(end["chunk"], json!({"type": "control", "method": "close", "status_code": 1000}));
    s.say(json!({"type": "control", "method": "close", "status_code": 1000})).await;
    assert_eq!(s.caller.chunk("s").await, Content::Control(Control::END));
}

#[tokio::test]
async fn a_refusal_is_the_callers_error() {
    let mut s = asked().await;
    let refusal = Content::Error { text: "not now".into(), code: None };
    s.target.send_raw(s.message, "room.tool_call_response", refusal.pack()).await;
    let (code, text) = error(s.caller.answer(s.request).await);
    assert_eq!((code, text.as_str()), (1008, "not now"));
}

#[tokio::test]
async fn a_target_that_leaves_is_reported_and_the_stream_closed() {
    let mut s = asked().await;
    s.accept().await;
    let gone = s.target.id.clone();
    drop(s.target);
    let said = json!({"kind": "client_disconnected", "participant_id": gone});
    assert_eq!(s.caller.chunk("s").await, Content::Json(said));
    assert_eq!(s.caller.chunk("s").await, Content::Control(Control::END));
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_stream_at_the_target() {
    let mut s = asked().await;
    drop(s.caller);
    let (end, _) = s.target.push(TO_TARGET).await;
    assert_eq!(end["chunk"]["method"], "close");
}

#[tokio::test]
async fn nobody_there_is_1003() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let id = a.open("messaging", "stream", "s").await;
    a.item("s", Content::Json(json!({"to_participant_id": "x", "type": "t", "message_json": "{}"}))).await;
    assert_eq!(error(a.answer(id).await).0, 1003);
}

//! Bad input: each is answered with what is wrong, and the connection serves on.

use super::client::{Client, Ended, content, error};
use super::harness::Edge;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use meshagent::room::socket::PACKET_BYTES_MAX;
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Ws;

fn first(id: u64, total: u32, kind: &[u8]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u64(id);
    packet.put_u32(0);
    packet.put_u32(total);
    packet.put_slice(kind);
    packet.freeze()
}

fn data(id: u64, number: u32, bytes: &[u8]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u64(id);
    packet.put_u32(number);
    packet.put_slice(bytes);
    packet.freeze()
}

async fn still_serves(client: &mut Client) {
    let answer = client.invoke("queues", "list", json!({})).await;
    assert_eq!(answer, Content::Json(json!({"queues": []})));
}

async fn fails_with(client: &mut Client, id: u64, text: &str) {
    let (code, said) = error(client.answer(id).await);
    assert_eq!(code, 1002, "{said}");
    assert!(said.contains(text), "{said}");
}

#[tokio::test]
async fn a_text_frame_closes_with_a_reason() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    client.socket.send(Ws::text("{\"hello\":1}")).await.unwrap();
    let Ended::Closed(code, reason) = client.ended().await else { panic!("no close frame") };
    assert_eq!(code, 1003);
    assert!(reason.contains("binary"), "{reason}");
}

#[tokio::test]
async fn an_oversized_frame_closes_with_1009() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    // One frame just too large: the server refuses it on reading its length.
    let _ = client.socket.send(Ws::Binary(Bytes::from(vec![0; PACKET_BYTES_MAX + 1]))).await;
    let Ended::Closed(code, reason) = client.ended().await else { panic!("no close frame") };
    assert_eq!(code, 1009);
    assert!(reason.contains("8 MiB"), "{reason}");
    still_serves(&mut edge.join("b").await).await;
}

#[tokio::test]
async fn broken_packets_are_reported_and_the_connection_goes_on() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    client.packet(Bytes::from_static(b"short")).await;
    client.packet(first(7, 2, b"room.list_toolkits")).await;
    client.packet(data(7, 2, b"x")).await;
    fails_with(&mut client, 7, "packet 2 of message 7 came where packet 1 was due").await;
    client.packet(data(8, 1, b"x")).await;
    fails_with(&mut client, 8, "belongs to no message").await;
    client.packet(first(9, u32::MAX, b"x")).await;
    fails_with(&mut client, 9, "is larger than").await;
    client.packet(first(10, 1, b"room.list_toolkits")).await;
    client.packet(first(11, 1, b"room.list_toolkits")).await;
    fails_with(&mut client, 10, "packet 0 of message 10 came where packet 1").await;
    client.packet(first(12, 1, &[0xff, 0xfe])).await;
    still_serves(&mut client).await;
}

#[tokio::test]
async fn a_header_that_cannot_be_read_has_the_texts_of_the_clients() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let with_length = |length: u64, json: &[u8]| {
        let mut payload = BytesMut::new();
        payload.put_u64(length);
        payload.put_slice(json);
        payload.freeze()
    };
    let cases: [(Bytes, &str); 5] = [
        (Bytes::from_static(b"abc"), "message is too short"),
        (with_length(99, b"{}"), "message header is incomplete"),
        (with_length(u64::MAX, b"{}"), "message header is incomplete"),
        (with_length(3, b"[1]"), "message header must be an object"),
        (with_length(2, b"{]"), "invalid message header: "),
    ];
    for (n, (payload, text)) in cases.into_iter().enumerate() {
        let id = 1000 + n as u64;
        client.send_raw(id, "room.list_toolkits", payload).await;
        fails_with(&mut client, id, text).await;
    }
    client.send_raw(2000, "room.list_toolkits", Bytes::new()).await;
    fails_with(&mut client, 2000, "message is too short").await;
    still_serves(&mut client).await;
}

#[tokio::test]
async fn an_unknown_request_is_answered() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let (code, text) = error(client.request("room.sync", json!({})).await);
    assert_eq!(code, 1002);
    assert!(text.contains("unknown request `room.sync`"), "{text}");
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_does() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let (code, text) = client.fails("quues", "list", json!({})).await;
    assert_eq!((code, text.as_str()), (1003, "no toolkit `quues` in this room; did you mean `queues`?"));
    let (code, text) = client.fails("queues", "sned", json!({})).await;
    assert_eq!((code, text.as_str()), (1003, "toolkit `queues` has no tool `sned`; did you mean `send`?"));
}

#[tokio::test]
async fn arguments_of_the_wrong_shape_name_the_field() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let cases: [(&str, &str, Value, &str); 6] = [
        ("queues", "send", json!({"create": true, "message": {}}), "missing field `name`"),
        ("queues", "send", json!({"name": 7, "message": {}}), "field `name`: invalid type: integer `7`"),
        ("queues", "receive", json!({"name": "q", "wait": "yes"}), "field `wait`: invalid type: string"),
        ("storage", "stat", json!({"path": ["a"]}), "field `path`"),
        ("messaging", "send", json!({"type": "chat"}), "to_participant_id"),
        ("developer", "info", json!({"message": {}}), "field `message`"),
    ];
    for (toolkit, tool, input, text) in cases {
        let (code, said) = client.fails(toolkit, tool, input).await;
        assert_eq!(code, 1002, "{said}");
        assert!(
            said.contains(&format!("the arguments of {toolkit}.{tool}")) && said.contains(text),
            "{said}"
        );
    }
    let id = client.begin("queues", "send", Content::Text("hello".into())).await;
    fails_with(&mut client, id, "missing field `name`").await;
}

#[tokio::test]
async fn a_call_that_is_no_call_says_what_is_missing() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let cases = [
        (json!({"tool": "list", "arguments": {"type": "empty"}}), "field `toolkit` is missing"),
        (json!({"toolkit": "queues", "arguments": {"type": "empty"}}), "field `tool` is missing"),
        (json!({"toolkit": "queues", "tool": 3, "arguments": {}}), "field `tool` must be a string"),
        (json!({"toolkit": "queues", "tool": "list", "arguments": "x"}), "field `arguments` must be"),
        (
            json!({"toolkit": "queues", "tool": "list", "arguments": {"type": "json"}}),
            "missing required field 'json'",
        ),
        (
            json!({"toolkit": "queues", "tool": "list", "arguments": {"type": "zap"}}),
            "unknown content type `zap`",
        ),
        (json!({"toolkit": "queues", "tool": "list", "arguments": {}}), "content is missing its `type`"),
    ];
    for (header, text) in cases {
        let id = client.send("room.invoke_tool", header, b"").await;
        fails_with(&mut client, id, text).await;
    }
}

#[tokio::test]
async fn a_stream_where_none_is_taken_and_none_where_one_is() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let id = client.open("queues", "list", "s1").await;
    fails_with(&mut client, id, "takes its input at once").await;
    let id = client.begin("storage", "upload", Content::Json(json!({"path": "a"}))).await;
    fails_with(&mut client, id, "takes a stream").await;
    let id = client.open("storage", "upload", "s2").await;
    client.end("s2").await;
    fails_with(&mut client, id, "ended before its first item").await;
    let id = client.open("storage", "upload", "s3").await;
    client.item("s3", Content::Json(json!({"path": "a"}))).await;
    fails_with(&mut client, id, "the first item of storage.upload").await;
    still_serves(&mut client).await;
}

#[tokio::test]
async fn a_chunk_is_always_acknowledged_even_when_it_belongs_to_nothing() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    client.item("nobody", Content::Control(Control::END)).await;
    for header in
        [json!({}), json!({"tool_call_id": 3, "chunk": {}}), json!({"tool_call_id": "x", "chunk": 1})]
    {
        let answer = client.request("room.tool_call_request_chunk", header).await;
        assert_eq!(answer, Content::Empty);
    }
}

#[tokio::test]
async fn chunks_that_come_before_their_call_are_kept_for_it() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let start = json!({"kind": "start", "path": "early.txt", "overwrite": false, "name": "early.txt", "mime_type": "text/plain", "size": 0});
    client.item("e", Content::binary(start, Bytes::new())).await;
    client.end("e").await;
    let id = client.open("storage", "upload", "e").await;
    assert_eq!(client.answer(id).await, Content::Control(Control::Open));
    assert_eq!(client.chunk("e").await, Content::Control(Control::END));
    assert_eq!(
        client.invoke("storage", "exists", json!({"path": "early.txt"})).await,
        Content::Json(json!({"exists": true}))
    );
}

#[tokio::test]
async fn a_tool_call_id_in_use_is_refused() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    let logs = client.open("developer", "logs", "same").await;
    assert_eq!(client.answer(logs).await, Content::Control(Control::Open));
    let again = client.open("developer", "logs", "same").await;
    let (code, text) = error(client.answer(again).await);
    assert_eq!(code, 1004, "{text}");
}

#[tokio::test]
async fn clients_that_count_from_zero_and_send_no_bookkeeping_are_served() {
    let edge = Edge::start().await;
    let mut client = edge.join("a").await;
    client.send_raw(0, "room.list_toolkits", meshagent::wire::pack(&json!({}), b"")).await;
    let answer = client.message("__response__").await;
    assert_eq!(answer.id, 0);
    assert!(matches!(content(&answer.payload), Content::Json(_)));
}

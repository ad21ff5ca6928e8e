//! Limits, and what becomes of those who reach them: refused or cut off with a reason, and everybody else goes on.

use super::client::{Client, Ended, connect, error, json_of, refusal};
use super::harness::{Edge, room_id, token};
use bytes::{BufMut, Bytes, BytesMut};
use meshagent::room::socket::{PING_EVERY, SILENT_PINGS_MAX};
use meshagent::wire::{Content, Control};
use serde_json::json;
use std::time::Duration;

/// Joins the room whose limits are small: 2 participants, 8 calls, 64 messages or 64 KiB waiting, 64 KiB unread.
async fn small(edge: &Edge, name: &str) -> Client {
    Client::enter(edge.address, "small", &token(&json!({"name": name}))).await
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_full_room_is_refused_before_the_upgrade_and_lets_in_again_when_somebody_left() {
    let edge = Edge::start().await;
    let (a, _b) = (small(&edge, "a").await, small(&edge, "b").await);
    let (status, text) =
        refusal(connect(edge.address, "small", &token(&json!({"name": "c"}))).await.unwrap_err());
    assert_eq!(status, 503);
    assert!(text.contains("it holds 2 participants"), "{text}");
    drop(a);
    until("a left", || edge.hub.roster(room_id("small")).len() == 1).await;
    small(&edge, "c").await;
}

#[tokio::test]
async fn more_open_streams_than_allowed_are_refused_and_the_rest_go_on() {
    let edge = Edge::start().await;
    let mut a = small(&edge, "a").await;
    let first = a.open("storage", "upload", "u0").await;
    for n in 1..8 {
        a.open("storage", "upload", &format!("u{n}")).await;
    }
    let ninth = a.open("storage", "upload", "u8").await;
    let (code, text) = error(a.answer(ninth).await);
    assert_eq!(code, 1006);
    assert!(text.contains("open-calls"), "{text}");
    a.end("u0").await;
    assert_eq!(error(a.answer(first).await).0, 1002, "it ended before its first item");
    assert_eq!(json_of(a.invoke("storage", "exists", json!({"path": "x"})).await), json!({"exists": false}));
}

#[tokio::test]
async fn ten_thousand_open_streams_are_bounded() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let limit = meshagent::room::Limits::default().open_calls;
    let arguments = json!({"type": "control", "method": "open"});
    let mut refused = 0;
    for n in 0..10_000 {
        let header = json!({
            "toolkit": "storage", "tool": "download", "participant_id": null, "on_behalf_of_id": null,
            "arguments": arguments, "tool_call_id": format!("s{n}"),
        });
        let id = a.send("room.invoke_tool", header, b"").await;
        if n >= limit {
            assert_eq!(error(a.answer(id).await).0, 1006);
            refused += 1;
        }
    }
    assert_eq!(refused, 10_000 - limit);
    drop(a);
    until("everything is gone with the client", || edge.hub.roster(room_id("room")).is_empty()).await;
    edge.join("b").await.settle().await;
}

/// Packet 0 of a message that promises `packets` data packets.
fn promise(id: u64, packets: u32) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u64(id);
    bytes.put_u32(0);
    bytes.put_u32(packets);
    bytes.put_slice(b"room.invoke_tool");
    bytes.freeze()
}

#[tokio::test]
async fn an_attachment_of_a_gibibyte_is_refused_at_its_first_packet() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    a.packet(promise(7, 1024 * 1024)).await;
    let (code, text) = error(a.answer(7).await);
    assert_eq!(code, 1002);
    assert!(text.contains("larger than"), "{text}");
    // What a client sends on regardless is dropped.
    for number in 1..=100_u32 {
        let mut data = BytesMut::new();
        data.put_u64(7);
        data.put_u32(number);
        data.put_bytes(0, 1024);
        a.packet(data.freeze()).await;
    }
    a.settle().await;
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_with_a_recorded_reason_and_may_come_back() {
    let edge = Edge::start().await;
    let mut slow = small(&edge, "slow").await;
    slow.invoke("messaging", "enable", json!({})).await;
    let mut fast = small(&edge, "fast").await;
    let input = json!({"type": "t", "message_json": json!({"t": "x".repeat(60_000)}).to_string()});
    let mut sent = 0;
    while edge.hub.roster(room_id("small")).len() == 2 {
        assert_eq!(fast.invoke("messaging", "broadcast", input.clone()).await, Content::Empty);
        sent += 1;
        assert!(sent < 100_000, "the slow reader was never cut off");
    }
    assert_eq!(slow.ended().await, Ended::Dropped, "no close frame, so that the client comes back");
    assert_eq!(edge.hub.usage(room_id("small")), Some((1, 1)));
    fast.open("developer", "logs", "l").await;
    let text = loop {
        let (_, data) = fast.raw_chunk("l").await;
        let text = String::from_utf8(data.to_vec()).unwrap();
        if text.contains("participant.cut_off") {
            break text;
        }
    };
    assert!(text.contains("participant `slow` was cut off"), "{text}");
    small(&edge, "slow").await.settle().await;
}

#[tokio::test]
async fn input_that_nobody_reads_is_bounded_for_all_streams_of_a_participant_together() {
    let edge = Edge::start().await;
    let mut target = small(&edge, "target").await;
    target.invoke("messaging", "enable", json!({})).await;
    let mut a = small(&edge, "a").await;
    let mut calls = Vec::new();
    for n in 0..3 {
        let call = format!("p{n}");
        let id = a.open("messaging", "stream", &call).await;
        a.item(
            &call,
            Content::Json(json!({"to_participant_id": target.id, "type": "t", "message_json": "{}"})),
        )
        .await;
        calls.push((call, id));
    }
    // Nobody accepts, so all of it waits: 3 × 30 KB are more than 64 KiB together, and no stream is by itself.
    let text = json!({"t": "x".repeat(10_000)}).to_string();
    for (call, _) in &calls {
        for _ in 0..3 {
            a.item(call, Content::Json(json!({"type": "t", "message_json": text}))).await;
        }
    }
    for _ in 0..3 {
        let asked = target.message("room.tool_call.messaging").await;
        target.send_raw(asked.id, "room.tool_call_response", Content::Control(Control::Open).pack()).await;
    }
    let mut failed = 0;
    for (call, id) in &calls {
        assert_eq!(a.answer(*id).await, Content::Control(Control::Open));
        assert_eq!(json_of(a.chunk(call).await)["kind"], "accepted");
        if let Content::Control(Control::Close { status, message }) = close_of(&mut a, &target, call).await {
            assert_eq!(status, 1007);
            assert!(message.unwrap().contains("unread-bytes"));
            failed += 1;
        }
    }
    assert_eq!(failed, 1, "the one that came too much");
    a.settle().await;
}

/// The close of a stream that failed; an empty content for one that still runs.
async fn close_of(caller: &mut Client, target: &Client, call: &str) -> Content {
    caller.settle().await;
    let _ = target;
    if caller.has_chunk(call) { caller.chunk(call).await } else { Content::Empty }
}

#[tokio::test]
async fn a_client_that_is_gone_without_a_word_leaves_the_roster_in_time() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    a.invoke("messaging", "enable", json!({})).await;
    // Its socket stays open, and nobody reads it: as after a power cut.
    let silent = edge.join("silent").await;
    assert_eq!(edge.hub.roster(room_id("room")).len(), 2);
    tokio::time::pause();
    for _ in 0..=SILENT_PINGS_MAX + 1 {
        tokio::time::advance(PING_EVERY).await;
        // The client answers pings as it reads.
        tokio::time::resume();
        a.settle().await;
        tokio::time::pause();
    }
    tokio::time::resume();
    until("the silent one left", || edge.hub.roster(room_id("room")).len() == 1).await;
    drop(silent);
}

#[tokio::test]
async fn a_consumer_that_loses_its_connection_gives_its_items_back_at_once() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    a.invoke("queues", "send", json!({"name": "q", "create": true, "message": {"n": 1}})).await;
    let lease = json!({"name": "q", "lease_ms": 600_000, "wait": true});
    let item = json_of(a.invoke("queues", "lease", lease.clone()).await);
    assert_eq!(item["attempt"], 1);
    let mut b = edge.join("b").await;
    let waiting = b.begin("queues", "lease", Content::Json(lease)).await;
    drop(a);
    let again = json_of(b.answer(waiting).await);
    assert_eq!((again["attempt"].as_u64(), &again["message"]), (Some(2), &json!({"n": 1})));
    let lost = b.fails("queues", "ack", json!({"name": "q", "lease_token": item["lease_token"]})).await;
    assert_ne!(lost.0, 1002, "{}", lost.1);
}

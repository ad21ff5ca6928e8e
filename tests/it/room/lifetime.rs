//! Sessions: begin, idleness, end, and what a restart looks like to clients.

use super::client::{Client, Ended, connect};
use super::harness::{Edge, room_id, token};
use meshagent::room::Limits;
use meshagent::room::world::EndReason;
use meshagent::wire::Content;
use serde_json::json;
use std::sync::atomic::Ordering;
use tokio_tungstenite::tungstenite::Error;

async fn until(mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), wait).await.expect("it did not happen");
}

#[tokio::test]
async fn all_of_a_room_meet_in_one_session_and_leave_the_roster_when_they_go() {
    let edge = Edge::start().await;
    let (a, b) = tokio::join!(edge.join("a"), edge.join("b"));
    assert_eq!(a.session, b.session);
    assert_ne!(a.id, b.id);
    assert_eq!(edge.hub.roster(room_id("room")).len(), 2);
    assert!(edge.hub.idle_since(room_id("room")).is_none());
    drop(a);
    until(|| edge.hub.roster(room_id("room")).len() == 1).await;
    drop(b);
    until(|| edge.hub.idle_since(room_id("room")).is_some()).await;
}

#[tokio::test]
async fn services_of_the_room_do_not_keep_it_alive_but_their_work_does() {
    let edge = Edge::start().await;
    let mut agent = edge.join_as(&json!({"name": "agent", "service": true})).await;
    agent.begin("queues", "receive", Content::Json(json!({"name": "q", "create": true, "wait": true}))).await;
    agent.settle().await;
    assert!(edge.hub.idle_since(room_id("room")).is_some(), "waiting is not work");
    agent.request("room.register_toolkit", json!({"name": "t", "public": true, "tools": {}})).await;
    let call = agent.begin("t", "run", Content::Empty).await;
    let asked = agent.message("room.tool_call.t").await;
    assert!(edge.hub.idle_since(room_id("room")).is_none(), "a call in work");
    agent.send_raw(asked.id, "room.tool_call_response", Content::Empty.pack()).await;
    agent.answer(call).await;
    assert!(edge.hub.idle_since(room_id("room")).is_some());
}

#[tokio::test]
async fn a_session_that_ends_closes_with_1000_and_the_next_client_gets_a_new_one() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let room = room_id("room");
    let (_, session) = edge.hub.sessions()[0];
    assert!(edge.hub.end(room, session, EndReason::Idle).await);
    let Ended::Closed(code, reason) = a.ended().await else { panic!("dropped") };
    assert_eq!((code, reason.as_str()), (1000, "the session ended because it was idle"));
    assert_eq!(*edge.keeper.ended.lock().unwrap(), [(session, EndReason::Idle)]);
    assert!(!edge.hub.end(room, session, EndReason::Idle).await, "it ends once");
    let b = edge.join("b").await;
    assert_ne!(b.session, a.session);
}

#[tokio::test]
async fn a_restart_drops_tcp_without_a_close_frame() {
    let edge = Edge::start().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    edge.hub.stop_all();
    assert_eq!(a.ended().await, Ended::Dropped);
    assert_eq!(b.ended().await, Ended::Dropped);
    let refused = connect(edge.address, "room", &token(&json!({"name": "c"}))).await.unwrap_err();
    assert!(matches!(refused, Error::Http(r) if r.status() == 503));
}

#[tokio::test]
async fn a_session_that_moves_drops_tcp_so_that_clients_find_it_again() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let (room, session) = edge.hub.sessions()[0];
    edge.hub.end(room, session, EndReason::LeaseLost).await;
    assert_eq!(a.ended().await, Ended::Dropped);
}

#[tokio::test]
async fn a_session_that_is_killed_says_goodbye_to_nobody() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let (room, session) = edge.hub.sessions()[0];
    edge.hub.end(room, session, EndReason::Killed).await;
    assert_eq!(a.ended().await, Ended::Dropped);
    assert_eq!(*edge.keeper.ended.lock().unwrap(), [(session, EndReason::Killed)]);
}

#[tokio::test]
async fn a_client_that_comes_back_at_once_gets_a_session_when_the_last_is_over() {
    let edge = Edge::start().await;
    let _a = edge.join("a").await;
    let room = edge.hub.live(room_id("room")).unwrap().room.clone();
    for _ in 0..50 {
        let (_, session) = edge.hub.sessions()[0];
        let (ended, opened) =
            tokio::join!(edge.hub.end(room.id, session, EndReason::Killed), edge.hub.ensure(&room));
        assert!(ended);
        assert_ne!(opened.unwrap().opened.id, session);
        assert!(!edge.hub.end(room.id, session, EndReason::Killed).await, "the one that followed stays");
        assert!(edge.hub.live(room.id).is_some());
    }
    assert_eq!(edge.keeper.overlaps.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    let edge = Edge::start().await;
    let mut slow = edge.join("slow").await;
    slow.invoke("messaging", "enable", json!({})).await;
    let mut fast = edge.join("fast").await;
    let text = "x".repeat(60_000);
    let input =
        json!({"type": "t", "message_json": json!({"t": text}).to_string(), "attachment_base64": null});
    // Far more than the outbox and the kernel's buffers together hold.
    let mut sent = 0;
    while edge.hub.roster(room_id("room")).len() == 2 {
        let answer = fast.invoke("messaging", "broadcast", input.clone()).await;
        assert_eq!(answer, Content::Empty);
        sent += 1;
        assert!(sent < Limits::default().waiting_messages, "the slow reader was never cut off");
    }
    assert_eq!(slow.ended().await, Ended::Dropped);
}

#[tokio::test]
async fn a_silent_client_is_answered_when_it_pings() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let edge = Edge::start().await;
    let mut a: Client = edge.join("a").await;
    a.socket.send(Message::Ping(bytes::Bytes::from_static(b"?"))).await.unwrap();
    loop {
        if let Message::Pong(data) = a.socket.next().await.unwrap().unwrap() {
            assert_eq!(data.as_ref(), b"?");
            return;
        }
    }
}

#[tokio::test]
async fn attributes_that_grow_too_large_are_refused() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let id = a.send("set_attributes", json!({"big": "x".repeat(300_000)}), b"").await;
    let (code, text) = super::client::error(a.answer(id).await);
    assert_eq!(code, 1002);
    assert!(text.contains("attributes of participant `a`"), "{text}");
    a.send("set_attributes", json!({"state": "ready"}), b"").await;
    a.settle().await;
    let roster = edge.hub.roster(room_id("room"));
    assert_eq!(serde_json::to_value(&roster[0].attributes).unwrap(), json!({"name": "a", "state": "ready"}));
}

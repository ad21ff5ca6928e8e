//! The `queues` toolkit.

use super::client::{error, json_of};
use super::harness::{Edge, room_id};
use meshagent::wire::Content;
use serde_json::{Value, json};

#[tokio::test]
async fn queues_are_opened_filled_listed_emptied_and_closed() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    assert_eq!(a.invoke("queues", "open", json!({"name": "q"})).await, Content::Empty);
    assert_eq!(
        a.invoke("queues", "open", json!({"name": "q"})).await,
        Content::Empty,
        "open twice is one queue"
    );
    for n in 0..3 {
        let sent =
            a.invoke("queues", "send", json!({"name": "q", "create": false, "message": {"n": n}})).await;
        assert_eq!(sent, Content::Empty);
    }
    let listed = a.invoke("queues", "list", json!({})).await;
    assert_eq!(listed, Content::Json(json!({"queues": [{"name": "q", "size": 3}]})));
    let first = a.invoke("queues", "receive", json!({"name": "q", "create": false, "wait": false})).await;
    assert_eq!(first, Content::Json(json!({"n": 0})));
    assert_eq!(a.invoke("queues", "drain", json!({"name": "q"})).await, Content::Empty);
    let none = a.invoke("queues", "receive", json!({"name": "q", "create": false, "wait": false})).await;
    assert_eq!(none, Content::Empty);
    assert_eq!(a.invoke("queues", "close", json!({"name": "q"})).await, Content::Empty);
    let (code, text) =
        a.fails("queues", "receive", json!({"name": "q", "create": false, "wait": false})).await;
    assert_eq!(code, 5001, "{text}");
    let (code, _) = a.fails("queues", "send", json!({"name": "q", "create": false, "message": {}})).await;
    assert_eq!(code, 5001);
}

#[tokio::test]
async fn a_text_comes_back_as_text_and_numbers_stay_what_they_are() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    for (message, want) in [
        (json!("hello"), Content::Text("hello".into())),
        (
            json!({"big": 9_007_199_254_740_993_u64, "f": 1.5}),
            Content::Json(json!({"big": 9_007_199_254_740_993_u64, "f": 1.5})),
        ),
    ] {
        a.invoke("queues", "send", json!({"name": "q", "create": true, "message": message})).await;
        assert_eq!(
            a.invoke("queues", "receive", json!({"name": "q", "create": true, "wait": true})).await,
            want
        );
    }
}

#[tokio::test]
async fn pipelined_sends_keep_their_order() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let input = Content::Json(json!({"name": "q", "create": true, "message": {"n": n}}));
        ids.push(a.begin("queues", "send", input).await);
    }
    for id in ids {
        assert_eq!(a.answer(id).await, Content::Empty);
    }
    for n in 0..100 {
        let got = a.invoke("queues", "receive", json!({"name": "q", "create": false, "wait": false})).await;
        assert_eq!(got, Content::Json(json!({"n": n})));
    }
}

#[tokio::test]
async fn waiters_are_served_in_order_and_one_who_leaves_loses_nothing() {
    let edge = Edge::start().await;
    let (mut a, mut b, mut c) = (edge.join("a").await, edge.join("b").await, edge.join("c").await);
    let wait = || Content::Json(json!({"name": "q", "create": true, "wait": true}));
    a.begin("queues", "receive", wait()).await;
    a.settle().await;
    let second = b.begin("queues", "receive", wait()).await;
    b.settle().await;
    drop(a);
    while edge.hub.roster(room_id("room")).len() > 2 {
        tokio::task::yield_now().await;
    }
    c.invoke("queues", "send", json!({"name": "q", "create": false, "message": {"for": "b"}})).await;
    assert_eq!(b.answer(second).await, Content::Json(json!({"for": "b"})));
}

#[tokio::test]
async fn a_waiting_receive_does_not_hold_up_the_connection() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let waiting =
        a.begin("queues", "receive", Content::Json(json!({"name": "q", "create": true, "wait": true}))).await;
    a.invoke("queues", "send", json!({"name": "q", "create": false, "message": {"n": 1}})).await;
    assert_eq!(a.answer(waiting).await, Content::Json(json!({"n": 1})));
}

#[tokio::test]
async fn a_leased_item_is_acknowledged_given_back_and_dies_after_its_attempts() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let send = |n: u32| json!({"name": "q", "create": true, "message": {"n": n}});
    a.invoke("queues", "send", send(1)).await;
    a.invoke("queues", "send", send(2)).await;
    let lease = json!({"name": "q", "create": false, "wait": false, "lease_ms": 60_000});
    let one = json_of(a.invoke("queues", "lease", lease.clone()).await);
    assert_eq!((&one["message"], &one["attempt"]), (&json!({"n": 1}), &json!(1)));
    let held = json!({"name": "q", "item_id": one["item_id"], "lease_token": one["lease_token"], "lease_ms": 90_000});
    assert_eq!(a.invoke("queues", "extend", held.clone()).await, Content::Empty);
    assert_eq!(a.invoke("queues", "ack", held.clone()).await, Content::Empty);
    let (code, text) = a.fails("queues", "ack", held).await;
    assert_eq!(code, 1005, "{text}");
    for attempt in 1..=meshagent::queue::ATTEMPTS_MAX {
        let two = json_of(a.invoke("queues", "lease", lease.clone()).await);
        assert_eq!(two["attempt"], attempt);
        let failed = json!({"name": "q", "lease_token": two["lease_token"], "reason": "no model"});
        let dead = json_of(a.invoke("queues", "nack", failed).await);
        assert_eq!(dead["dead"], attempt == meshagent::queue::ATTEMPTS_MAX);
    }
    assert_eq!(a.invoke("queues", "lease", lease.clone()).await, Content::Empty);
    let dead = json_of(a.invoke("queues", "dead_letters", json!({"name": "q"})).await);
    assert_eq!(
        (&dead["items"][0]["message"], &dead["items"][0]["reason"]),
        (&json!({"n": 2}), &json!("no model"))
    );
    let replayed =
        a.invoke("queues", "replay", json!({"name": "q", "item_ids": [dead["items"][0]["item_id"]]})).await;
    assert_eq!(replayed, Content::Json(json!({"replayed": 1})));
    assert_eq!(json_of(a.invoke("queues", "lease", lease).await)["message"], json!({"n": 2}));
}

#[tokio::test]
async fn mistakes_are_named() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    a.invoke("queues", "open", json!({"name": "q"})).await;
    let cases: [(&str, Value, u16, &str); 4] = [
        ("ack", json!({"name": "q", "lease_token": "zap"}), 1002, "`zap` is not a lease token"),
        ("replay", json!({"name": "q", "item_ids": ["zap"]}), 1002, "`zap` is not an item id"),
        ("lease", json!({"name": "q", "lease_ms": 0}), 1002, "0"),
        ("open", json!({"name": ""}), 1002, "not a valid queue name"),
    ];
    for (tool, input, code, text) in cases {
        let (got, said) = a.fails("queues", tool, input).await;
        assert_eq!(got, code, "{said}");
        assert!(said.contains(text), "{said}");
    }
    let large = "x".repeat(1024 * 1024);
    let id = a
        .begin("queues", "send", Content::Json(json!({"name": "q", "create": true, "message": large})))
        .await;
    let (code, text) = error(a.answer(id).await);
    assert_eq!(code, 1002);
    assert!(text.contains("store the data in a file"), "{text}");
}

//! The `messaging` toolkit: presence, order, attributes.

use super::client::Client;
use super::harness::Edge;
use meshagent::wire::Content;
use serde_json::{Value, json};

async fn enable(client: &mut Client) -> Value {
    client.invoke("messaging", "enable", json!({})).await;
    let (header, _) = client.push("messaging.send").await;
    assert_eq!(header["type"], "messaging.enabled");
    assert_eq!(header["from_participant_id"], client.id);
    header["message"]["participants"].clone()
}

async fn next(client: &mut Client) -> (String, Value) {
    let (header, _) = client.push("messaging.send").await;
    (header["type"].as_str().unwrap().to_owned(), header)
}

#[tokio::test]
async fn those_who_take_messages_know_of_each_other() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let mut b = edge.join_as(&json!({"name": "b", "role": "agent"})).await;
    let mut quiet = edge.join("quiet").await;
    assert_eq!(enable(&mut a).await, json!([]));
    let others = enable(&mut b).await;
    assert_eq!(others, json!([{"id": a.id, "role": "user", "attributes": {"name": "a"}}]));
    let (kind, header) = next(&mut a).await;
    assert_eq!(kind, "participant.enabled");
    assert_eq!(header["from_participant_id"], b.id);
    assert_eq!(header["message"], json!({"id": b.id, "role": "agent", "attributes": {"name": "b"}}));
    b.send("set_attributes", json!({"state": "busy", "__meshagent__": {"v": 1}}), b"").await;
    let (kind, header) = next(&mut a).await;
    assert_eq!(
        (kind.as_str(), &header["message"]),
        ("participant.attributes", &json!({"attributes": {"state": "busy"}}))
    );
    b.invoke("messaging", "disable", json!({})).await;
    let (kind, header) = next(&mut a).await;
    assert_eq!((kind.as_str(), &header["message"]), ("participant.disabled", &json!({"id": b.id})));
    let again = enable(&mut b).await;
    assert_eq!(again[0]["id"], json!(a.id));
    assert_eq!(next(&mut a).await.1["message"]["attributes"], json!({"name": "b", "state": "busy"}));
    let id = b.id.clone();
    drop(b);
    let (kind, header) = next(&mut a).await;
    assert_eq!((kind.as_str(), &header["message"]["id"]), ("participant.disabled", &json!(id)));
    quiet.settle().await;
    assert!(!quiet.has("messaging.send"), "who did not enable messaging hears nothing");
}

#[tokio::test]
async fn messages_keep_their_order_and_carry_their_attachment() {
    let edge = Edge::start().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    enable(&mut b).await;
    let to = b.id.clone();
    let mut ids = Vec::new();
    for n in 0..200 {
        let input = json!({"to_participant_id": to, "type": "chat", "message_json": format!("{{\"n\": {n}}}"), "attachment_base64": "aGk="});
        ids.push(a.begin("messaging", "send", Content::Json(input)).await);
    }
    for n in 0..200 {
        let (header, attachment) = b.push("messaging.send").await;
        assert_eq!(header, json!({"from_participant_id": a.id, "type": "chat", "message": {"n": n}}));
        assert_eq!(attachment.as_ref(), b"hi");
    }
    for id in ids {
        assert_eq!(a.answer(id).await, Content::Empty);
    }
}

#[tokio::test]
async fn a_broadcast_reaches_everybody_else_who_takes_messages() {
    let edge = Edge::start().await;
    let (mut a, mut b, mut c) = (edge.join("a").await, edge.join("b").await, edge.join("c").await);
    enable(&mut a).await;
    enable(&mut b).await;
    next(&mut a).await;
    let sent = a
        .invoke(
            "messaging",
            "broadcast",
            json!({"type": "all", "message_json": "{}", "attachment_base64": null}),
        )
        .await;
    assert_eq!(sent, Content::Empty);
    assert_eq!(next(&mut b).await.0, "all");
    a.settle().await;
    c.settle().await;
    assert!(!a.has("messaging.send") && !c.has("messaging.send"));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_1003_by_which_clients_mark_it_offline() {
    let edge = Edge::start().await;
    let (mut a, b) = (edge.join("a").await, edge.join("b").await);
    for to in ["nobody", &b.id] {
        let input =
            json!({"to_participant_id": to, "type": "chat", "message_json": "{}", "attachment_base64": null});
        let (code, text) = a.fails("messaging", "send", input).await;
        assert_eq!(code, 1003);
        assert!(text.contains("was not found"), "{text}");
    }
}

#[tokio::test]
async fn a_message_that_is_no_object_or_no_base64_is_refused() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let send = |json: &str, data: &str| json!({"to_participant_id": "x", "type": "t", "message_json": json, "attachment_base64": data});
    for (input, field) in [
        (send("[1]", ""), "message_json"),
        (send("{", ""), "message_json"),
        (send("{}", "?"), "attachment_base64"),
    ] {
        let (code, text) = a.fails("messaging", "send", input).await;
        assert_eq!(code, 1002);
        assert!(text.contains(field), "{text}");
    }
}

#[tokio::test]
async fn who_may_not_list_participants_learns_of_none() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    enable(&mut a).await;
    let mut b = edge.join_as(&json!({"name": "b", "api": {"messaging": {"list": false}}})).await;
    assert_eq!(enable(&mut b).await, json!([]));
    let mut c = edge.join("c").await;
    enable(&mut c).await;
    let sent =
        json!({"to_participant_id": b.id, "type": "direct", "message_json": "{}", "attachment_base64": null});
    c.invoke("messaging", "send", sent).await;
    assert_eq!(next(&mut b).await.0, "direct", "no presence came before it");
}

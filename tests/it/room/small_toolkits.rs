//! The `developer` and `services` toolkits.

use super::client::{Client, json_of};
use super::harness::{Edge, room_id};
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::{Map, Value, json};

/// A line's type and data; of the platform's own, which are log records as well, what they are and their fields.
async fn line(client: &mut Client, call: &str) -> (Value, Value) {
    let Content::Binary { headers, data } = client.chunk(call).await else { panic!("no line") };
    let mut data = if data.is_empty() { json!({}) } else { serde_json::from_slice(&data).unwrap() };
    if headers["type"] != "otel.log" {
        return (headers["type"].clone(), data);
    }
    let fields = data.as_object_mut().unwrap();
    let records = fields.remove("resourceLogs").unwrap();
    let body = &records[0]["scopeLogs"][0]["logRecords"][0]["body"]["stringValue"];
    assert_eq!(*body, fields["message"], "{records}");
    (fields.remove("kind").unwrap(), data)
}

#[tokio::test]
async fn the_log_shows_recent_lines_then_follows_until_the_reader_stops() {
    let edge = Edge::start().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    a.invoke("developer", "info", json!({"message": "before", "extra": {"k": 1}})).await;
    let id = b.open("developer", "logs", "l").await;
    assert_eq!(b.answer(id).await, Content::Control(Control::Open));
    assert_eq!(
        line(&mut b, "l").await,
        (json!("info"), json!({"message": "before", "k": 1, "participant_name": "a"}))
    );
    a.invoke("developer", "error", json!({"message": "after", "extra": null})).await;
    assert_eq!(line(&mut b, "l").await.0, "error");
    assert_eq!(
        a.invoke("developer", "log", json!({"type": "custom", "data": {"x": 1}})).await,
        Content::Empty
    );
    assert_eq!(line(&mut b, "l").await, (json!("custom"), json!({"x": 1})));
    let mut data = Map::new();
    data.insert("message".into(), "from a process".into());
    edge.hub.log_line(room_id("room"), "stdout", data);
    assert_eq!(line(&mut b, "l").await, (json!("stdout"), json!({"message": "from a process"})));
    b.end("l").await;
    assert_eq!(b.chunk("l").await, Content::Control(Control::END));
}

#[tokio::test]
async fn services_are_listed_as_texts_and_restarted_by_those_who_may() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let listed = json_of(a.invoke("services", "list", json!({})).await);
    let spec: Value = serde_json::from_str(listed["services_json"][0].as_str().unwrap()).unwrap();
    assert_eq!(spec["kind"], "Service");
    assert_eq!(listed["service_states"][0]["service_id"], "s1");
    assert_eq!(a.invoke("services", "restart", json!({"service_id": "s1"})).await, Content::Empty);
    assert_eq!(*edge.services.restarted.lock().unwrap(), ["s1 by a"]);
    assert_eq!(a.fails("services", "restart", json!({"service_id": "s2"})).await.0, 7001);
}

#[tokio::test]
async fn a_reader_of_the_log_that_sends_items_is_not_disturbed() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let id = a.open("developer", "logs", "l").await;
    a.item("l", Content::binary(json!({"kind": "noise"}), Bytes::new())).await;
    assert_eq!(a.answer(id).await, Content::Control(Control::Open));
    a.invoke("developer", "warning", json!({"message": "still here"})).await;
    assert_eq!(line(&mut a, "l").await.0, "warning");
}

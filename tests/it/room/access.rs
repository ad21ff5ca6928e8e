//! Grants of what is no tool of a built-in toolkit (those have the matrix), and how far a narrowed grant reaches.

use super::client::{error, json_of};
use super::harness::Edge;
use meshagent::wire::Content;
use serde_json::json;

#[tokio::test]
async fn requests_of_agents_need_their_grants() {
    let edge = Edge::start().await;
    let mut host = edge.join("host").await;
    host.request("room.register_toolkit", json!({"name": "t", "public": true, "tools": {}})).await;
    let mut nothing = edge.join_as(&json!({"name": "nothing", "api": {}})).await;
    for (kind, header) in [
        ("room.register_toolkit", json!({"name": "x", "public": true, "tools": {}})),
        ("room.register_toolkit", json!({"name": "x", "public": false, "tools": {}})),
        ("room.call", json!({"name": "x", "url": "http://example.com"})),
    ] {
        let (code, text) = error(nothing.request(kind, header).await);
        assert_eq!(code, 1001, "{text}");
    }
    assert_eq!(nothing.fails("t", "run", json!({})).await.0, 1001);
    let listed = json_of(nothing.request("room.list_toolkits", json!({"participant_name": "host"})).await);
    assert_eq!(listed, json!({"tools": {}}));
    let api = json!({"agents": {"allowed_toolkits": ["other"]}});
    let mut other = edge.join_as(&json!({"name": "other", "api": api})).await;
    assert_eq!(other.fails("t", "run", json!({})).await.0, 1001);
}

#[tokio::test]
async fn a_queue_grant_reaches_only_the_queues_it_names() {
    let edge = Edge::start().await;
    let api = json!({"queues": {"send": ["mine"], "receive": ["mine"]}});
    let mut a = edge.join_as(&json!({"name": "a", "api": api})).await;
    let send = |name: &str| json!({"name": name, "create": true, "message": {}});
    assert_eq!(a.invoke("queues", "send", send("mine")).await, Content::Empty);
    let (code, text) = a.fails("queues", "send", send("theirs")).await;
    assert_eq!(code, 1001);
    assert!(text.contains("theirs"), "{text}");
}

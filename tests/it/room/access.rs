//! Every tool without its grant is refused with 1001 and says which grant is missing. The table is compared with the
//! toolkits themselves: a tool without a row fails the test.

use super::client::{Client, error, json_of};
use super::harness::Edge;
use bytes::Bytes;
use meshagent::wire::Content;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// (toolkit, tool, input, grants that are present and do not suffice)
fn table() -> Vec<(&'static str, &'static str, Value, Value)> {
    let q = json!({"name": "q", "create": true, "message": {}, "lease_token": "1.00000000-0000-0000-0000-000000000000"});
    let no_q = json!({"queues": {"send": [], "receive": [], "list": false}});
    let f = json!({"path": "a/b", "source_path": "a/b", "destination_path": "a/c", "kind": "start", "recursive": true});
    let no_f = json!({"storage": {"paths": []}});
    let m = json!({"to_participant_id": "x", "type": "t", "message_json": "{}"});
    let no_m = json!({"messaging": {"send": false, "broadcast": false, "list": false}});
    let mut rows = Vec::new();
    for tool in [
        "list",
        "open",
        "send",
        "drain",
        "close",
        "receive",
        "lease",
        "ack",
        "nack",
        "extend",
        "dead_letters",
        "replay",
    ] {
        rows.push(("queues", tool, q.clone(), no_q.clone()));
    }
    for tool in ["exists", "stat", "list", "delete", "move", "download_url", "upload", "download"] {
        rows.push(("storage", tool, f.clone(), no_f.clone()));
    }
    for tool in ["send", "broadcast", "stream"] {
        rows.push(("messaging", tool, m.clone(), no_m.clone()));
    }
    for tool in ["enable", "disable"] {
        rows.push(("messaging", tool, m.clone(), json!({})));
    }
    rows.push(("services", "list", json!({}), json!({"services": {"list": false}})));
    rows.push(("services", "restart", json!({"service_id": "s1"}), json!({"services": {}})));
    for tool in ["log", "info", "warning", "error"] {
        rows.push(("developer", tool, json!({"type": "t", "message": "m"}), json!({})));
    }
    rows.push(("developer", "logs", json!({}), json!({"developer": {"logs": false}})));
    rows
}

async fn denied(client: &mut Client, toolkit: &str, tool: &str, input: &Value) {
    let streamed = matches!(
        (toolkit, tool),
        ("storage", "upload" | "download") | ("developer", "logs") | ("messaging", "stream")
    );
    let answer = if streamed {
        let call = format!("{toolkit}-{tool}");
        let id = client.open(toolkit, tool, &call).await;
        client.item(&call, Content::binary(input.clone(), Bytes::new())).await;
        client.answer(id).await
    } else {
        client.invoke(toolkit, tool, input.clone()).await
    };
    let (code, text) = error(answer);
    assert_eq!(code, 1001, "{toolkit}.{tool}: {text}");
    assert!(text.contains("grant"), "{toolkit}.{tool}: {text}");
}

#[tokio::test]
async fn no_tool_runs_without_its_grant() {
    let edge = Edge::start().await;
    let mut nothing = edge.join_as(&json!({"name": "nothing", "api": {}})).await;
    let mut tested = BTreeSet::new();
    for (toolkit, tool, input, weak) in table() {
        denied(&mut nothing, toolkit, tool, &input).await;
        let mut little = edge.join_as(&json!({"name": "little", "api": weak})).await;
        denied(&mut little, toolkit, tool, &input).await;
        tested.insert(format!("{toolkit}.{tool}"));
    }
    let listed = json_of(nothing.request("room.list_toolkits", json!({})).await);
    let mut all = BTreeSet::new();
    for (name, toolkit) in listed["tools"].as_object().unwrap() {
        all.extend(toolkit["tools"].as_object().unwrap().keys().map(|tool| format!("{name}.{tool}")));
    }
    assert_eq!(tested, all, "every tool has a row, and every row a tool");
}

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

//! Toolkits that participants host, called by others.

use super::client::{Client, content, error, json_of};
use super::harness::Edge;
use bytes::Bytes;
use meshagent::wire::{Content, Control, pack, unpack};
use serde_json::{Map, Value, json};

async fn register(host: &mut Client, name: &str, public: bool) -> String {
    let tools = json!({
        "run": {"title": "Run", "description": "Runs.", "input_spec": null, "output_spec": null, "defs": null, "strict": true},
    });
    let header = json!({"name": name, "title": "T", "description": "D", "public": public, "annotations": {"k": "v"}, "tools": tools});
    json_of(host.request("room.register_toolkit", header).await)["id"].as_str().unwrap().to_owned()
}

/// The next call that a host is given: message id, header, attachment.
async fn taken(host: &mut Client, toolkit: &str) -> (u64, Map<String, Value>, Bytes) {
    let message = host.message(&format!("room.tool_call.{toolkit}")).await;
    let (header, data) = unpack(&message.payload).unwrap();
    (message.id, header, data)
}

async fn answer(host: &mut Client, id: u64, content: Content) {
    host.send_raw(id, "room.tool_call_response", content.pack()).await;
}

async fn chunk(host: &mut Client, id: u64, call: &Value, chunk: Value, data: &[u8]) {
    let header = json!({"tool_call_id": call, "chunk": chunk});
    host.send_raw(id, "room.tool_call_response_chunk", pack(&header, data)).await;
}

#[tokio::test]
async fn a_unary_call_reaches_the_host_and_its_answer_the_caller() {
    let edge = Edge::start().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    register(&mut b, "agent", true).await;
    let file =
        Content::File { name: "f".into(), mime_type: "a/b".into(), data: Bytes::from_static(b"bytes") };
    let id = a.begin_at(None, "agent", "run", file.clone(), "mine").await;
    let (message, header, data) = taken(&mut b, "agent").await;
    assert_eq!(
        (&header["name"], &header["caller_id"], &header["on_behalf_of_id"]),
        (&json!("run"), &json!(a.id), &Value::Null)
    );
    assert_eq!(header["arguments"], json!({"type": "file", "name": "f", "mime_type": "a/b"}));
    assert_ne!(header["tool_call_id"], "mine", "the server's own id");
    assert_eq!(data.as_ref(), b"bytes");
    answer(&mut b, message, file.clone()).await;
    assert_eq!(a.answer(id).await, file);
    // An answer to nothing harms nobody.
    answer(&mut b, message, Content::Empty).await;
    answer(&mut b, 999, Content::Empty).await;
    b.settle().await;
}

#[tokio::test]
async fn two_callers_may_use_one_id_and_progress_is_passed_on_unchanged() {
    let edge = Edge::start().await;
    let (mut a, mut b, mut host) = (edge.join("a").await, edge.join("b").await, edge.join("h").await);
    register(&mut host, "agent", true).await;
    let first = a.begin_at(None, "agent", "run", Content::Empty, "same").await;
    let (m1, h1, _) = taken(&mut host, "agent").await;
    let second = b.begin_at(None, "agent", "run", Content::Empty, "same").await;
    let (m2, h2, _) = taken(&mut host, "agent").await;
    assert_ne!(h1["tool_call_id"], h2["tool_call_id"]);
    let progress = json!({"progress": 0.5, "nested": {"x": [1, null]}});
    chunk(&mut host, m2, &h2["tool_call_id"], progress.clone(), b"").await;
    answer(&mut host, m2, Content::Text("two".into())).await;
    answer(&mut host, m1, Content::Text("one".into())).await;
    chunk(&mut host, m1, &h1["tool_call_id"], json!({"late": true}), b"").await;
    assert_eq!(Value::Object(b.raw_chunk("same").await.0), progress);
    assert_eq!(b.answer(second).await, Content::Text("two".into()));
    assert_eq!(a.answer(first).await, Content::Text("one".into()));
    assert_eq!(
        Value::Object(a.raw_chunk("same").await.0),
        json!({"late": true}),
        "progress may come after the answer"
    );
}

#[tokio::test]
async fn streams_go_both_ways() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    register(&mut host, "agent", true).await;
    // An item before the call, as a client whose tasks race may send it.
    a.item("s", Content::Text("early".into())).await;
    let id = a.open("agent", "run", "s").await;
    a.item("s", Content::binary(json!({"kind": "data"}), Bytes::from_static(b"in"))).await;
    let (message, header, _) = taken(&mut host, "agent").await;
    assert_eq!(header["arguments"], json!({"type": "control", "method": "open"}));
    let request_chunk = "room.tool_call_request_chunk.agent";
    let (early, _) = host.push(request_chunk).await;
    assert_eq!(early["chunk"], json!({"type": "text", "text": "early"}));
    let (item, data) = host.push(request_chunk).await;
    assert_eq!((&item["tool_call_id"], data.as_ref()), (&header["tool_call_id"], b"in".as_ref()));
    answer(&mut host, message, Content::Control(Control::Open)).await;
    assert_eq!(a.answer(id).await, Content::Control(Control::Open));
    let call = header["tool_call_id"].clone();
    chunk(&mut host, message, &call, json!({"type": "binary", "headers": {"kind": "out"}}), b"out").await;
    assert_eq!(a.chunk("s").await, Content::binary(json!({"kind": "out"}), Bytes::from_static(b"out")));
    a.end("s").await;
    let (end, _) = host.push(request_chunk).await;
    assert_eq!(end["chunk"]["method"], "close");
    chunk(&mut host, message, &call, json!({"type": "control", "method": "close", "status_code": 1000}), b"")
        .await;
    assert_eq!(a.chunk("s").await, Content::Control(Control::END));
}

#[tokio::test]
async fn a_host_that_leaves_fails_its_calls() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    register(&mut host, "agent", true).await;
    let unary = a.begin_at(None, "agent", "run", Content::Empty, "u").await;
    taken(&mut host, "agent").await;
    let stream = a.begin_at(None, "agent", "run", Content::Empty, "s").await;
    let (message, _, _) = taken(&mut host, "agent").await;
    answer(&mut host, message, Content::Control(Control::Open)).await;
    assert_eq!(a.answer(stream).await, Content::Control(Control::Open));
    drop(host);
    let (code, text) = error(a.answer(unary).await);
    assert_eq!(code, 1008);
    assert!(text.contains("participant `h`, who hosts toolkit `agent`, left"), "{text}");
    assert!(matches!(a.chunk("s").await, Content::Error { code: Some(1008), .. }));
    assert_eq!(a.chunk("s").await, Content::Control(Control::END));
    let (code, _) = a.fails("agent", "run", json!({})).await;
    assert_eq!(code, 1003, "its toolkit is gone with it");
}

#[tokio::test]
async fn a_caller_that_leaves_ends_the_input_at_the_host() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    register(&mut host, "agent", true).await;
    a.open("agent", "run", "s").await;
    taken(&mut host, "agent").await;
    drop(a);
    let (end, _) = host.push("room.tool_call_request_chunk.agent").await;
    assert_eq!(end["chunk"], json!({"type": "control", "method": "close", "status_code": 1000}));
}

#[tokio::test]
async fn an_answer_that_is_no_content_does_not_leave_the_caller_waiting() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    register(&mut host, "agent", true).await;
    for bad in
        [pack(&json!({"no": "type"}), b""), pack(&json!({"type": "zap"}), b""), Bytes::from_static(b"?")]
    {
        let id = a.begin("agent", "run", Content::Empty).await;
        let (message, _, _) = taken(&mut host, "agent").await;
        host.send_raw(message, "room.tool_call_response", bad).await;
        let (code, text) = error(a.answer(id).await);
        assert_eq!(code, 1002);
        assert!(text.contains("the host of toolkit `agent` gave an answer that is no content"), "{text}");
    }
}

#[tokio::test]
async fn a_private_toolkit_is_reached_only_by_its_participant() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    register(&mut host, "own", false).await;
    assert_eq!(a.fails("own", "run", json!({})).await.0, 1003);
    let id = a.begin_at(Some(&host.id.clone()), "own", "run", Content::Empty, "p").await;
    let (message, _, _) = taken(&mut host, "own").await;
    answer(&mut host, message, Content::Empty).await;
    assert_eq!(a.answer(id).await, Content::Empty);
    let id = a.begin_at(Some("nobody"), "own", "run", Content::Empty, "n").await;
    let (code, text) = error(a.answer(id).await);
    assert!(code == 1003 && text.contains("participant `nobody` hosts no toolkit `own`"), "{text}");
    let (code, text) = {
        let id = a.begin_at(Some(&host.id.clone()), "own", "rum", Content::Empty, "m").await;
        error(a.answer(id).await)
    };
    assert_eq!((code, text.as_str()), (1003, "toolkit `own` has no tool `rum`; did you mean `run`?"));
}

#[tokio::test]
async fn toolkits_are_listed_registered_replaced_and_taken_back() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    let before = json_of(a.request("room.list_toolkits", json!({})).await);
    for built_in in ["queues", "storage", "messaging", "services", "developer"] {
        let toolkit = &before["tools"][built_in];
        assert!(toolkit["title"].is_string() && toolkit["participant_id"].is_null(), "{built_in}: {toolkit}");
    }
    let send = &before["tools"]["queues"]["tools"]["send"];
    assert_eq!(send["input_spec"]["types"], json!(["json"]));
    assert_eq!(send["input_spec"]["schema"]["type"], "object");
    // The npm client refuses a whole listing in which the content type `binary` stands.
    assert!(before["tools"]["storage"]["tools"]["upload"]["input_spec"].is_null());
    let first = register(&mut host, "agent", true).await;
    register(&mut host, "own", false).await;
    let public = json_of(a.request("room.list_toolkits", json!({})).await);
    assert_eq!(public["tools"]["agent"]["participant_id"], json!(host.id));
    assert_eq!(public["tools"]["agent"]["annotations"], json!({"k": "v"}));
    assert_eq!(public["tools"]["agent"]["tools"]["run"]["strict"], true);
    assert!(public["tools"].get("own").is_none());
    for filter in [json!({"participant_id": host.id}), json!({"participant_name": "h"})] {
        let all = json_of(a.request("room.list_toolkits", filter).await);
        let names: Vec<&String> = all["tools"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["agent", "own"]);
    }
    let second = register(&mut host, "agent", true).await;
    assert_ne!(first, second);
    let (code, _) = error(host.request("room.unregister_toolkit", json!({"id": first})).await);
    assert_eq!(code, 1003, "it was replaced");
    let (code, _) = error(a.request("room.unregister_toolkit", json!({"id": second})).await);
    assert_eq!(code, 1003, "it is somebody else's");
    assert_eq!(host.request("room.unregister_toolkit", json!({"id": second})).await, Content::Empty);
    assert_eq!(a.fails("agent", "run", json!({})).await.0, 1003);
}

#[tokio::test]
async fn a_list_waits_for_a_toolkit_to_appear() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    let wait = json!({"participant_name": "h", "timeout": 60});
    let id = a.send("room.list_toolkits", wait, b"").await;
    a.settle().await;
    register(&mut host, "agent", true).await;
    assert!(json_of(a.answer(id).await)["tools"]["agent"].is_object());
    let none = a.request("room.list_toolkits", json!({"participant_name": "nobody", "timeout": 0.01})).await;
    assert_eq!(none, Content::Json(json!({"tools": {}})));
}

#[tokio::test]
async fn a_registration_that_cannot_be_is_refused() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    for (header, text) in [
        (json!({"public": true, "tools": {}}), "field `name`"),
        (json!({"name": "x", "public": true, "tools": []}), "field `tools` must be an object"),
        (json!({"name": "x", "public": true, "description": "y".repeat(2_000_000), "tools": {}}), "at most"),
    ] {
        let (code, said) = error(a.request("room.register_toolkit", header).await);
        assert_eq!(code, 1002);
        assert!(said.contains(text), "{said}");
    }
}

#[tokio::test]
async fn the_packed_answer_is_passed_on_byte_for_byte() {
    let edge = Edge::start().await;
    let (mut a, mut host) = (edge.join("a").await, edge.join("h").await);
    register(&mut host, "agent", true).await;
    let id = a.begin("agent", "run", Content::Empty).await;
    let (message, _, _) = taken(&mut host, "agent").await;
    let spaced = br#"{"type" : "json", "json": {"z": 1.0, "a": 1e3}, "future": true}"#;
    let mut payload = (spaced.len() as u64).to_be_bytes().to_vec();
    payload.extend_from_slice(spaced);
    host.send_raw(message, "room.tool_call_response", Bytes::from(payload.clone())).await;
    let got = a.message("__response__").await;
    assert_eq!((got.id, got.payload.as_ref()), (id, payload.as_slice()));
    assert!(matches!(content(&got.payload), Content::Json(_)));
}

//! The main road: a queue and a file.

use super::client::Client;
use super::client::{connect, json_of};
use super::harness::{Edge, token};
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::json;

#[tokio::test]
async fn a_job_goes_through_a_queue_and_a_file_comes_back() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let mut b = Client::on(connect(edge.address, "room", &token(&json!({"name": "b"}))).await.unwrap()).await;
    let job = json!({"prompt": "hello", "n": 1});
    let waiting = b
        .begin("queues", "receive", Content::Json(json!({"name": "jobs", "create": true, "wait": true})))
        .await;
    let sent = a.invoke("queues", "send", json!({"name": "jobs", "create": true, "message": job})).await;
    assert_eq!(sent, Content::Empty);
    assert_eq!(b.answer(waiting).await, Content::Json(job));
    let id = b.open("storage", "upload", "u").await;
    let start = json!({"kind": "start", "path": "r/report.md", "overwrite": true, "name": "report.md", "mime_type": "text/markdown", "size": null});
    b.item("u", Content::binary(start, Bytes::new())).await;
    assert_eq!(b.answer(id).await, Content::Control(Control::Open));
    assert_eq!(b.chunk("u").await.kind(), Some("pull"));
    b.item("u", Content::binary(json!({"kind": "data"}), Bytes::from_static(b"done"))).await;
    assert_eq!(b.chunk("u").await.kind(), Some("pull"));
    b.end("u").await;
    assert_eq!(b.chunk("u").await, Content::Control(Control::END));
    let (event, _) = a.push("storage.file.updated").await;
    assert_eq!(event, json!({"path": "r/report.md", "participant_id": b.id}));
    let listed = json_of(a.invoke("storage", "list", json!({"path": "r"})).await);
    assert_eq!(listed["files"][0]["name"], "report.md");
}

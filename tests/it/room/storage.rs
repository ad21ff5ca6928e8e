//! The `storage` toolkit.

use super::client::{Client, error, json_of};
use super::harness::Edge;
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};

async fn start_upload(
    client: &mut Client,
    call: &str,
    path: &str,
    overwrite: bool,
    size: Option<u64>,
) -> Content {
    let id = client.open("storage", "upload", call).await;
    let start = json!({"kind": "start", "path": path, "overwrite": overwrite, "name": path, "mime_type": "text/plain", "size": size});
    client.item(call, Content::binary(start, Bytes::new())).await;
    client.answer(id).await
}

async fn upload(client: &mut Client, path: &str, data: &[u8], size: Option<u64>) {
    let call = format!("up-{path}");
    assert_eq!(start_upload(client, &call, path, true, size).await, Content::Control(Control::Open));
    let mut blocks = data.chunks(100_000);
    loop {
        match client.chunk(&call).await {
            Content::Control(close) => return assert_eq!(close, Control::END),
            pull => assert_eq!(pull.kind(), Some("pull")),
        }
        match blocks.next() {
            Some(block) => {
                let block = Content::binary(json!({"kind": "data"}), Bytes::copy_from_slice(block));
                client.item(&call, block).await;
            }
            None => client.end(&call).await,
        }
    }
}

async fn download(client: &mut Client, path: &str, chunk_size: u64) -> (Value, Vec<u8>) {
    let call = format!("down-{path}-{chunk_size}");
    let id = client.open("storage", "download", &call).await;
    let start = json!({"kind": "start", "path": path, "chunk_size": chunk_size});
    client.item(&call, Content::binary(start, Bytes::new())).await;
    assert_eq!(client.answer(id).await, Content::Control(Control::Open));
    let Content::Binary { headers, .. } = client.chunk(&call).await else { panic!("no start") };
    let size = headers["size"].as_u64().unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < size {
        client.item(&call, Content::binary(json!({"kind": "pull"}), Bytes::new())).await;
        let Content::Binary { headers, data } = client.chunk(&call).await else { panic!("no data") };
        assert_eq!(Value::Object(headers), json!({"kind": "data"}));
        assert!(data.len() as u64 <= chunk_size && !data.is_empty());
        all.extend_from_slice(&data);
    }
    assert_eq!(client.chunk(&call).await, Content::Control(Control::END));
    (Value::Object(headers), all)
}

#[tokio::test]
async fn what_goes_up_comes_down_in_blocks_of_the_readers_choice() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    upload(&mut a, "deep/er/file.txt", &data, Some(data.len() as u64)).await;
    for chunk_size in [65_536, 1_000_000] {
        let (start, got) = download(&mut a, "deep/er/file.txt", chunk_size).await;
        assert_eq!(
            start,
            json!({"kind": "start", "name": "file.txt", "mime_type": "text/plain", "size": 1_000_000})
        );
        assert!(got == data);
    }
    upload(&mut a, "empty", b"", None).await;
    let (start, got) = download(&mut a, "./empty", 10).await;
    assert_eq!((start["size"].clone(), got.len()), (json!(0), 0));
}

#[tokio::test]
async fn answers_have_exactly_the_keys_the_clients_accept() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    upload(&mut a, "d/f.md", b"hello", None).await;
    let stat = json_of(a.invoke("storage", "stat", json!({"path": "d/f.md"})).await);
    assert_eq!(stat["created_at"].is_string(), stat["updated_at"].is_string());
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&stat), "created_at exists is_folder name size updated_at");
    assert_eq!(
        (&stat["name"], &stat["size"], &stat["is_folder"]),
        (&json!("f.md"), &json!(5), &json!(false))
    );
    let none = json_of(a.invoke("storage", "stat", json!({"path": "nope"})).await);
    assert_eq!(
        none,
        json!({"exists": false, "name": null, "is_folder": null, "size": null, "created_at": null, "updated_at": null})
    );
    let listed = json_of(a.invoke("storage", "list", json!({"path": ""})).await);
    assert_eq!(keys(&listed), "files");
    assert_eq!(keys(&listed["files"][0]), "created_at is_folder name size updated_at");
    assert_eq!((&listed["files"][0]["name"], &listed["files"][0]["is_folder"]), (&json!("d"), &json!(true)));
    let url = json_of(
        edge.join_as(&json!({"name": "p", "api": {"storage": {"files": {"paths": [
        {"path": "", "recursive": true, "actions": ["presign"]}]}}}}))
            .await
            .invoke("storage", "download_url", json!({"path": "/d/f.md", "download": null}))
            .await,
    );
    assert_eq!(url, json!({"url": "http://test/files/room/d/f.md?download=false"}));
}

#[tokio::test]
async fn moving_and_deleting_tell_everybody() {
    let edge = Edge::start().await;
    let (mut a, mut b) = (edge.join("a").await, edge.join("b").await);
    upload(&mut a, "x", b"1", None).await;
    assert_eq!(b.push("storage.file.updated").await.0, json!({"path": "x", "participant_id": a.id}));
    let moved = json!({"source_path": "/x", "destination_path": "y/z", "overwrite": false});
    assert_eq!(a.invoke("storage", "move", moved.clone()).await, Content::Empty);
    let event = json!({"source_path": "x", "destination_path": "y/z", "participant_id": a.id});
    assert_eq!(b.push("storage.file.moved").await.0, event);
    assert_eq!(
        a.invoke("storage", "exists", json!({"path": "x"})).await,
        Content::Json(json!({"exists": false}))
    );
    assert_eq!(a.fails("storage", "move", moved).await.0, 3001);
    assert_eq!(a.fails("storage", "delete", json!({"path": "y", "recursive": null})).await.0, 3002);
    assert_eq!(a.invoke("storage", "delete", json!({"path": "y", "recursive": true})).await, Content::Empty);
    assert_eq!(b.push("storage.file.deleted").await.0, json!({"path": "y", "participant_id": a.id}));
    assert_eq!(a.fails("storage", "delete", json!({"path": "y", "recursive": true})).await.0, 3001);
}

#[tokio::test]
async fn an_upload_that_is_refused_fails_or_is_given_up_leaves_nothing() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    upload(&mut a, "there", b"old", None).await;
    assert_eq!(error(start_upload(&mut a, "u1", "there", false, None).await).0, 3005);
    assert_eq!(error(start_upload(&mut a, "u2", "../out", true, None).await).0, 3004);
    // Fewer bytes than announced.
    start_upload(&mut a, "u3", "short", true, Some(10)).await;
    a.chunk("u3").await;
    a.end("u3").await;
    let Content::Control(Control::Close { status, message }) = a.chunk("u3").await else {
        panic!("no close")
    };
    assert_eq!(status, 1007);
    assert!(message.unwrap().contains("announced with 10 bytes and 0 came"));
    // The producer failed.
    start_upload(&mut a, "u4", "failed", true, None).await;
    a.chunk("u4").await;
    a.item("u4", Content::Control(Control::Close { status: 1011, message: Some("disk".into()) })).await;
    assert!(matches!(a.chunk("u4").await, Content::Control(Control::Close { status: 1007, .. })));
    // The caller went away in the middle.
    let mut gone = edge.join("gone").await;
    start_upload(&mut gone, "u5", "halfway", true, None).await;
    gone.chunk("u5").await;
    gone.item("u5", Content::binary(json!({"kind": "data"}), Bytes::from_static(b"half"))).await;
    drop(gone);
    let listed = json_of(a.invoke("storage", "list", json!({"path": "/"})).await);
    let names: Vec<&str> =
        listed["files"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["there"]);
}

#[tokio::test]
async fn what_is_missing_is_missing_before_the_stream_opens() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let id = a.open("storage", "download", "d").await;
    a.item("d", Content::binary(json!({"kind": "start", "path": "nope", "chunk_size": 10}), Bytes::new()))
        .await;
    assert_eq!(error(a.answer(id).await).0, 3001);
}

#[tokio::test]
async fn a_reader_hears_only_of_files_it_may_read() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let api = json!({"storage": {"paths": [{"path": "pub", "read_only": true}]}});
    let mut b = edge.join_as(&json!({"name": "b", "api": api})).await;
    upload(&mut a, "secret/s", b"1", None).await;
    upload(&mut a, "pub/p", b"1", None).await;
    assert_eq!(b.push("storage.file.updated").await.0["path"], "pub/p");
    let listed = json_of(b.invoke("storage", "list", json!({"path": ""})).await);
    assert_eq!(listed["files"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(download(&mut b, "pub/p", 10).await.1, b"1");
    for (tool, input) in [
        ("stat", json!({"path": "secret/s"})),
        ("list", json!({"path": "secret"})),
        ("delete", json!({"path": "pub/p"})),
        ("move", json!({"source_path": "pub/p", "destination_path": "pub/q"})),
        ("download_url", json!({"path": "secret/p"})),
    ] {
        assert_eq!(b.fails("storage", tool, input).await.0, 1001, "{tool}");
    }
    assert_eq!(error(start_upload(&mut b, "u", "pub/new", true, None).await).0, 1001);
}

/// The public agent lists `.schemas` in every room, before anybody has made it.
#[tokio::test]
async fn a_folder_that_is_not_there_lists_nothing_and_a_file_is_no_folder() {
    let edge = Edge::start().await;
    let mut a = edge.join("a").await;
    let listed = json_of(a.invoke("storage", "list", json!({"path": ".schemas"})).await);
    assert_eq!(listed, json!({"files": []}));
    upload(&mut a, "file", b"1", None).await;
    assert_eq!(a.fails("storage", "list", json!({"path": "file"})).await.0, 3004);
}

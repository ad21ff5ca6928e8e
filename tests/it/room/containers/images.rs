//! Images: lists, builds, archives, and whose they are.

use super::rig::{Rig, line, logs};
use crate::room::client::{Client, json_of};
use crate::support::podman::{self, IMAGE, archive as context};
use bytes::Bytes;
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};

/// Sends a context as the SDKs do, without waiting; the build's id.
async fn build(client: &mut Client, tag: &str, context: &[u8]) -> String {
    let start = json!({
        "kind": "start", "tags": [tag], "mount_path": "/context", "context_path": "/context",
        "dockerfile_path": null, "optimize_image": true, "private": false, "credentials": [],
        "builder_name": null, "size": context.len(),
    });
    let call = format!("build-{tag}");
    let request = client.open("containers", "build", &call).await;
    client.item(&call, Content::binary(start, Bytes::new())).await;
    for block in context.chunks(100_000) {
        client.item(&call, Content::binary(json!({"kind": "data"}), Bytes::copy_from_slice(block))).await;
    }
    client.end(&call).await;
    json_of(client.answer(request).await)["build_id"].as_str().unwrap().to_owned()
}

/// The log of a build to its end, and its status.
async fn build_logs(client: &mut Client, id: &str) -> (String, Option<i64>) {
    let call = format!("build-logs-{id}");
    let start = json!({"kind": "start", "request_id": "r", "build_id": id, "follow": true});
    let request = client.open("containers", "get_build_logs", &call).await;
    client.item(&call, Content::binary(start, Bytes::new())).await;
    assert_eq!(client.answer(request).await, Content::Control(Control::Open));
    let (mut text, mut status) = (String::new(), None);
    loop {
        match client.chunk(&call).await {
            Content::Binary { headers, data } if headers["channel"] == 3 => {
                status = serde_json::from_slice::<Value>(&data).unwrap()["status"].as_i64();
            }
            Content::Binary { data, .. } => text.push_str(std::str::from_utf8(&data).unwrap()),
            Content::Control(Control::Close { .. }) => return (text, status),
            other => panic!("{other:?}"),
        }
    }
}

async fn references(client: &mut Client) -> Vec<String> {
    let images = json_of(client.invoke("containers", "list_images", json!({})).await);
    let all = images["images"].as_array().unwrap().iter();
    all.flat_map(|image| image["references"].as_array().unwrap().clone())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn has(references: &[String], name: &str) -> bool {
    references.iter().any(|reference| reference.ends_with(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_builds_runs_and_deletes_its_own_image() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let tag = "local/built:1";
    let dockerfile =
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nENV PATH=/bin MADE=here\n";
    let id = build(&mut a, tag, &context(dockerfile)).await;
    let (text, status) = build_logs(&mut a, &id).await;
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("COPY busybox"), "{text}");
    let builds = json_of(a.invoke("containers", "list_builds", json!({})).await);
    let shown = &builds["builds"][0];
    assert_eq!(
        (&shown["id"], &shown["status"], &shown["tag"]),
        (&json!(id), &json!("succeeded"), &json!(tag))
    );
    assert_eq!(shown["published_images"][0]["tag"], tag);
    assert_eq!(line(&mut a, json!({"image": tag}), "echo $MADE").await.1, "here\n");

    let mut eve = rig.join("elsewhere", "eve").await;
    assert!(has(&references(&mut a).await, "built:1") && !has(&references(&mut eve).await, "built:1"));
    assert!(has(&references(&mut eve).await, "test:1"), "what the operator put there is for all");
    for (tool, input) in [
        ("inspect_image", json!({"image_id": tag})),
        ("delete_image", json!({"image": tag})),
        ("run", json!({"image": tag, "template": "none"})),
    ] {
        assert_eq!(eve.fails("containers", tool, input).await.0, 1003, "{tool}");
    }
    let (code, text) = a.fails("containers", "delete_image", json!({"image": IMAGE})).await;
    assert_eq!(code, 1001, "{text}");
    let inspected = json_of(a.invoke("containers", "inspect_image", json!({"image_id": tag})).await);
    assert!(inspected["layers"].as_array().is_some_and(|layers| !layers.is_empty()), "{inspected}");
    assert_eq!(a.invoke("containers", "delete_image", json!({"image": tag})).await, Content::Empty);
    assert!(!has(&references(&mut a).await, "built:1"));
    assert_eq!(a.invoke("containers", "delete_build", json!({"build_id": id})).await, Content::Empty);
    assert_eq!(a.fails("containers", "cancel_build", json!({"build_id": id})).await.0, 1003);
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_build_fails_with_its_reason() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    for (bytes, part) in [
        (context("FROM scratch\nCOPY nothing /x\n"), "nothing"),
        (context("NONSENSE\n"), ""),
        (b"this is no archive".repeat(200), ""),
    ] {
        let id = build(&mut a, "local/bad:1", &bytes).await;
        let (text, status) = build_logs(&mut a, &id).await;
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(part) && !text.is_empty(), "{text}");
    }
    let builds = json_of(a.invoke("containers", "list_builds", json!({})).await);
    assert!(builds["builds"].as_array().unwrap().iter().all(|build| build["status"] == "failed"));
    // The name of somebody else's image.
    let call = "taken";
    let request = a.open("containers", "build", call).await;
    let start = json!({"kind": "start", "tags": [IMAGE], "mount_path": "/c", "context_path": "/c"});
    a.item(call, Content::binary(start, Bytes::new())).await;
    assert_eq!(crate::room::client::error(a.answer(request).await).0, 1004);
    // Less than was announced.
    let call = "short";
    let request = a.open("containers", "build", call).await;
    let start = json!({"kind": "start", "tags": ["local/short:1"], "mount_path": "/c", "context_path": "/c", "size": 10});
    a.item(call, Content::binary(start, Bytes::new())).await;
    a.item(call, Content::binary(json!({"kind": "data"}), Bytes::from_static(b"1234"))).await;
    a.end(call).await;
    let (code, text) = crate::room::client::error(a.answer(request).await);
    assert_eq!(code, 1002, "{text}");
    let left = std::fs::read_dir(rig.dir().join("containers/contexts")).unwrap().count();
    assert_eq!(left, 0, "contexts were left");
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_room_storage_and_comes_back() {
    let Some(rig) = Rig::start().await else { return };
    let mut a = rig.join("room", "ann").await;
    let tag = "local/moved:1";
    let id =
        build(&mut a, tag, &context(&podman::dockerfile().replace("ENV PATH", "ENV MOVED=1 PATH"))).await;
    assert_eq!(build_logs(&mut a, &id).await.1, Some(0));
    let mounts = json!([{"room": [{"path": "/w", "subpath": "images"}]}]);
    let save = json!({"tag": tag, "mounts": mounts, "archive_path": "/w/moved.tar", "private": false});
    let job = json_of(a.invoke("containers", "save_image", save).await)["container_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = logs(&mut a, &job, true).await;
    let ended = json_of(a.invoke("containers", "wait_for_exit", json!({"container_id": job})).await);
    assert_eq!(ended["exit_code"], 0, "{text}");
    assert!(rig.files("room").join("images/moved.tar").metadata().unwrap().len() > 1000);

    assert_eq!(a.invoke("containers", "delete_image", json!({"image": tag})).await, Content::Empty);
    let loaded = json_of(a.invoke("containers", "load", json!({"archive_path": "/images/moved.tar"})).await);
    assert!(loaded["resolved_ref"].as_str().unwrap().contains("moved:1"), "{loaded}");
    assert_eq!(line(&mut a, json!({"image": tag}), "echo $MOVED").await.1, "1\n");

    // Another room may not take the name by an archive of its own.
    let mut eve = rig.join("elsewhere", "eve").await;
    std::fs::create_dir_all(rig.files("elsewhere")).unwrap();
    std::fs::copy(rig.files("room").join("images/moved.tar"), rig.files("elsewhere").join("x.tar")).unwrap();
    let (code, text) = eve.fails("containers", "load", json!({"archive_path": "x.tar"})).await;
    assert!(code == 1008 && text.contains("somebody else"), "{code} {text}");
    std::fs::write(rig.files("elsewhere").join("bad.tar"), "no archive").unwrap();
    let load = json!({"mounts": [{"room": [{"path": "/w"}]}], "archive_path": "/w/bad.tar"});
    let job = json_of(eve.invoke("containers", "load_image", load).await)["container_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(logs(&mut eve, &job, true).await.contains("no image archive"));
    let ended = json_of(eve.invoke("containers", "wait_for_exit", json!({"container_id": job})).await);
    assert_eq!(ended["exit_code"], 1);
    assert_eq!(a.invoke("containers", "delete_image", json!({"image": tag})).await, Content::Empty);
    rig.server.stop().await;
}

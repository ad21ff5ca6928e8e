//! A machine without an engine: lists are empty, everything else says what to install.

use super::rig::Rig;
use crate::room::client::{error, json_of};
use bytes::Bytes;
use meshagent::wire::Content;
use serde_json::json;

#[tokio::test]
async fn without_an_engine_each_call_says_what_to_install() {
    let rig = Rig::with(vec!["unix:///nowhere/at/all.sock".into()]).await;
    let mut a = rig.join("room", "ann").await;
    for (tool, field) in
        [("list_containers", "containers"), ("list_images", "images"), ("list_builds", "builds")]
    {
        assert_eq!(json_of(a.invoke("containers", tool, json!({})).await), json!({field: []}));
    }
    let mounts = json!([{"room": [{"path": "/w"}]}]);
    for (tool, input) in [
        ("run", json!({"image": "x:1", "template": "none"})),
        ("stop_container", json!({"container_id": "x"})),
        ("delete_container", json!({"container_id": "x"})),
        ("wait_for_exit", json!({"container_id": "x"})),
        ("inspect_image", json!({"image_id": "x"})),
        ("delete_image", json!({"image": "x"})),
        ("pull_image", json!({"tag": "x", "credentials": []})),
        ("push_image", json!({"tag": "x", "credentials": []})),
        ("load", json!({"archive_path": "/x.tar"})),
        ("load_image", json!({"archive_path": "/w/x.tar", "mounts": mounts})),
        ("save_image", json!({"tag": "x", "archive_path": "/w/x.tar", "mounts": mounts})),
        ("cancel_build", json!({"build_id": "x"})),
        ("delete_build", json!({"build_id": "x"})),
    ] {
        let (code, text) = a.fails("containers", tool, input).await;
        assert_eq!(code, 1007, "{tool}: {text}");
        for part in ["apt-get install podman", "--container-engine", "/nowhere/at/all.sock"] {
            assert!(text.contains(part), "{tool}: {text}");
        }
    }
    for (tool, start) in [
        ("logs", json!({"kind": "start", "container_id": "x"})),
        ("exec", json!({"kind": "start", "container_id": "x"})),
        ("get_build_logs", json!({"kind": "start", "build_id": "x"})),
        ("build", json!({"kind": "start", "tags": ["x:1"], "mount_path": "/c", "context_path": "/c"})),
    ] {
        let request = a.open("containers", tool, tool).await;
        a.item(tool, Content::binary(start, Bytes::new())).await;
        let (code, text) = error(a.answer(request).await);
        assert_eq!(code, 1007, "{tool}: {text}");
    }
    rig.server.stop().await;
}

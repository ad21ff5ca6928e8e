//! Containers: the flags of the grant, its patterns of images, and the room's files as far as a mount shows them.

use super::Row;
use serde_json::{Value, json};

fn used() -> Value {
    json!({"containers": {}})
}

fn unused() -> Value {
    json!({"containers": {"use_containers": false}})
}

/// Containers, and all of the room's files.
fn with_files() -> Value {
    json!({"containers": {}, "storage": {}})
}

/// Containers, and a part of the room's files only.
fn some_files() -> Value {
    json!({"containers": {}, "storage": {"paths": [{"path": "a"}]}})
}

pub fn rows() -> Vec<Row> {
    [container_rows(), image_rows(), run_rows()].concat()
}

fn container_rows() -> Vec<Row> {
    let container = json!({"container_id": "nobody"});
    let build = json!({"build_id": "nobody"});
    let start = |id: &str| json!({"kind": "start", "request_id": "r", id: "nobody", "follow": false});
    let used_only = ["list_containers", "list_images", "list_builds"];
    let of_container = ["delete_container", "wait_for_exit"];
    let of_build = ["cancel_build", "delete_build"];
    let name = |tool: &str| -> &'static str { Box::leak(format!("containers.{tool}").into_boxed_str()) };
    let plain = |tool: &str, input: Value| Row::new(name(tool), input).inside(used()).outside(unused());
    let mut rows: Vec<Row> = used_only.iter().map(|tool| plain(tool, json!({}))).collect();
    rows.extend(of_container.iter().map(|tool| plain(tool, container.clone())));
    rows.extend(of_build.iter().map(|tool| plain(tool, build.clone())));
    rows.extend([
        plain("stop_container", json!({"container_id": "nobody", "force": false})),
        plain("inspect_image", json!({"image_id": "nobody"})),
        plain("delete_image", json!({"image": "nobody"})),
        plain("exec", json!({"kind": "start", "request_id": "r", "container_id": "nobody"})).binary(),
        Row::new("containers.logs", start("container_id"))
            .inside(used())
            .outside(json!({"containers": {"logs": false}}))
            .binary(),
        Row::new("containers.get_build_logs", start("build_id"))
            .inside(used())
            .outside(json!({"containers": {"logs": false}}))
            .binary(),
        Row::new("containers.run_service", json!({"service_id": "nobody", "env": []}))
            .inside(json!({"containers": {}, "services": {"list": true}}))
            .outside(json!({"containers": {}, "services": {"list": false}})),
    ]);
    rows
}

fn image_rows() -> Vec<Row> {
    let image = json!({"tag": "mine/x:1", "credentials": []});
    let mounts = json!([{"room": [{"path": "/w"}]}]);
    vec![
        Row::new("containers.pull_image", image.clone())
            .inside(json!({"containers": {"pull": ["mine/*"]}}))
            .outside(json!({"containers": {"pull": ["other/*"]}})),
        Row::new("containers.push_image", json!({"tag": "mine/x:1", "credentials": [], "private": false}))
            .inside(json!({"containers": {"registry": {"write": ["mine/*"]}}}))
            .outside(json!({"containers": {"registry": {"write": []}}})),
        Row::new("containers.load", json!({"archive_path": "/b/x.tar"}))
            .inside(with_files())
            .outside(some_files()),
        Row::new(
            "containers.load_image",
            json!({"mounts": mounts, "archive_path": "/w/x.tar", "private": false}),
        )
        .inside(with_files())
        .outside(some_files()),
        Row::new(
            "containers.save_image",
            json!({"tag": "mine/x:1", "mounts": mounts, "archive_path": "/w/x.tar", "private": false}),
        )
        .inside(with_files())
        .outside(some_files()),
        Row::new(
            "containers.build",
            json!({"kind": "start", "tags": ["mine/x:1"], "mount_path": "/c", "context_path": "/c"}),
        )
        .inside(json!({"containers": {"registry": {"write": ["mine/*"]}}}))
        .outside(json!({"containers": {"registry": {"write": ["other/*"]}}}))
        .binary(),
    ]
}

fn run_rows() -> Vec<Row> {
    vec![
        Row::new("containers.run", json!({"image": "mine/x:1", "env": [], "ports": [], "template": "none"}))
            .inside(json!({"containers": {"run": ["mine/*"]}}))
            .outside(json!({"containers": {"run": ["other/*"]}})),
        Row::new("containers.run", json!({"image": "mine/x:1", "mount_path": "/d", "template": "none"}))
            .inside(with_files())
            .outside(some_files()),
        Row::new("containers.run", json!({"image": "mine/x:1", "template": "agent"}))
            .inside(with_files())
            .outside(some_files()),
        Row::new(
            "containers.run",
            json!({"image": "mine/x:1", "mounts": {"room": [{"path": "/d", "subpath": "b"}]}}),
        )
        .inside(with_files())
        .outside(some_files()),
        Row::new(
            "containers.run",
            json!({"image": "mine/x:1", "mounts": {"images": [{"image": "i:1", "path": "/i"}]}}),
        )
        .inside(json!({"containers": {"run": ["mine/*", "i:1"]}}))
        .outside(json!({"containers": {"run": ["mine/*"]}})),
    ]
}

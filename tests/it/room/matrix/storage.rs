//! Storage: a policy names folders and what may be done in them; links need `presign` where there is a policy.

use super::Row;
use serde_json::{Value, json};

/// May do `actions` in the folder `a` and below.
fn policy(actions: &[&str]) -> Value {
    json!({"storage": {"files": {"paths": [
        {"path": "a", "recursive": true, "actions": actions, "excluded_paths": []},
    ]}}})
}

fn elsewhere() -> Value {
    json!({"storage": {"paths": [{"path": "other"}]}})
}

pub fn rows() -> Vec<Row> {
    let file = json!({"path": "a/b"});
    let start = json!({"kind": "start", "path": "a/b", "overwrite": true, "name": "b", "mime_type": "text/plain", "size": 1});
    vec![
        Row::new("storage.exists", file.clone()).inside(policy(&["list"])).outside(elsewhere()),
        Row::new("storage.stat", file.clone()).inside(policy(&["read"])).outside(elsewhere()),
        Row::new("storage.list", file.clone()).inside(policy(&["list"])).outside(elsewhere()),
        Row::new("storage.delete", json!({"path": "a/b", "recursive": true}))
            .inside(policy(&["delete"]))
            .outside(policy(&["list", "read", "write", "presign"])),
        Row::new("storage.move", json!({"source_path": "a/b", "destination_path": "a/c"}))
            .inside(policy(&["read", "write", "delete"]))
            .outside(policy(&["read", "write"])),
        Row::new("storage.download_url", file.clone())
            .inside(policy(&["presign"]))
            .outside(policy(&["list", "read", "write", "delete"])),
        Row::new("storage.download_url", file)
            .inside(json!({"storage": {"paths": [{"path": "a", "read_only": true}]}}))
            .outside(elsewhere()),
        Row::new("storage.upload", start.clone())
            .binary()
            .inside(policy(&["write"]))
            .outside(json!({"storage": {"paths": [{"path": "a", "read_only": true}]}})),
        Row::new("storage.download", start)
            .binary()
            .inside(policy(&["read"]))
            .outside(policy(&["list", "write"])),
    ]
}

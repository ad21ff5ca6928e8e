//! Documents are named by path; reading and writing are told apart.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    let reads = json!({"sync": {"paths": [{"path": "mine/*", "read_only": true}]}});
    let writes = json!({"sync": {"paths": [{"path": "mine/*"}]}});
    let elsewhere = json!({"sync": {"paths": [{"path": "other"}]}});
    vec![
        Row::new("sync.create", json!({"path": "mine/a"})).inside(writes).outside(reads.clone()),
        Row::new("sync.describe", json!({"path": "./mine/a"}))
            .inside(reads.clone())
            .outside(elsewhere.clone()),
        Row::new("sync.open", json!({"kind": "start", "path": "/mine/a"}))
            .binary()
            .inside(reads)
            .outside(elsewhere),
    ]
}

//! Volumes are seen by who may use containers.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("mounts.list", json!({}))
            .inside(json!({"containers": {}}))
            .outside(json!({"containers": {"use_containers": false}})),
    ]
}

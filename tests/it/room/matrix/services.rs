//! Services: seeing them is one grant, restarting them also needs the right to change the room.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("services.list", json!({}))
            .inside(json!({"services": {}}))
            .outside(json!({"services": {"list": false}})),
        Row::new("services.restart", json!({"service_id": "s1"}))
            .inside(json!({"services": {}, "admin": {}}))
            .outside(json!({"services": {}, "admin": {"config": false}})),
    ]
}

//! Messaging has a switch for each direction; switching it on needs the grant as such.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    let message = json!({"to_participant_id": "x", "type": "t", "message_json": "{}"});
    let sends = json!({"messaging": {"send": true, "broadcast": false, "list": false}});
    let does_not = json!({"messaging": {"send": false}});
    vec![
        Row::new("messaging.enable", json!({})).whole("messaging"),
        Row::new("messaging.disable", json!({})).whole("messaging"),
        Row::new("messaging.send", message.clone()).inside(sends.clone()).outside(does_not.clone()),
        Row::new("messaging.stream", message.clone()).streamed().inside(sends).outside(does_not),
        Row::new("messaging.broadcast", message)
            .inside(json!({"messaging": {"send": false, "broadcast": true}}))
            .outside(json!({"messaging": {"broadcast": false}})),
    ]
}

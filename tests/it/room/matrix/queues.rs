//! Queues are named one by one, for sending and for receiving.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    let input = json!({
        "name": "mine", "create": true, "message": {},
        "lease_token": "1.00000000-0000-0000-0000-000000000000",
    });
    let receives = [
        "queues.drain",
        "queues.receive",
        "queues.lease",
        "queues.ack",
        "queues.nack",
        "queues.extend",
        "queues.dead_letters",
        "queues.replay",
    ];
    let rows = receives.into_iter().map(|tool| {
        Row::new(tool, input.clone())
            .inside(json!({"queues": {"receive": ["mine"], "send": [], "list": false}}))
            .outside(json!({"queues": {"receive": ["other"]}}))
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.push(
        Row::new("queues.list", json!({}))
            .inside(json!({"queues": {"list": true, "send": [], "receive": []}}))
            .outside(json!({"queues": {"list": false}})),
    );
    rows.push(
        Row::new("queues.send", input.clone())
            .inside(json!({"queues": {"send": ["mine"], "receive": [], "list": false}}))
            .outside(json!({"queues": {"send": ["other"]}})),
    );
    rows.push(
        Row::new("queues.open", input.clone())
            .inside(json!({"queues": {"send": [], "receive": ["mine"]}}))
            .outside(json!({"queues": {"send": ["other"], "receive": []}})),
    );
    // Closing takes the queue away from both sides.
    rows.push(
        Row::new("queues.close", input)
            .inside(json!({"queues": {"send": ["mine"], "receive": ["mine"]}}))
            .outside(json!({"queues": {"send": ["mine"], "receive": []}})),
    );
    rows
}

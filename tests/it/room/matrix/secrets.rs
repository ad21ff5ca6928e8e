//! Secrets of participants: one grant without members, for asking, keeping and answering.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    let plain = [
        ("secrets.list_secrets", json!({})),
        ("secrets.exists", json!({"secret_id": "s"})),
        ("secrets.get_secret", json!({"secret_id": "s"})),
        ("secrets.set_secret", json!({"secret_id": "s"})),
        ("secrets.delete_secret", json!({"id": "s"})),
        ("secrets.delete_requested_secret", json!({"url": "u", "type": "t"})),
        ("secrets.request_secret", json!({"url": "u", "type": "t", "participant_id": "p"})),
        ("secrets.provide_secret", json!({"request_id": "r"})),
        ("secrets.request_oauth_token", json!({"participant_id": "p", "redirect_uri": "u"})),
        ("secrets.provide_oauth_authorization", json!({"request_id": "r"})),
        ("secrets.get_offline_oauth_token", json!({})),
    ];
    plain.into_iter().map(|(tool, input)| Row::new(tool, input).whole("secrets")).collect()
}

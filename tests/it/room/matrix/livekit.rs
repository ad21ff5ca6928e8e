//! Calls: a grant may be narrowed to breakout rooms.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("livekit.connect", json!({"breakout_room": "mine"}))
            .inside(json!({"livekit": {"breakout_rooms": ["mine"]}}))
            .outside(json!({"livekit": {"breakout_rooms": ["other"]}})),
    ]
}

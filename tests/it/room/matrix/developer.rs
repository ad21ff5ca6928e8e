//! The developer log: writing needs the grant as such, reading its switch.

use super::Row;
use serde_json::json;

pub fn rows() -> Vec<Row> {
    let line = json!({"type": "t", "message": "m"});
    let write = |tool| Row::new(tool, line.clone()).whole("developer");
    vec![
        write("developer.log"),
        write("developer.info"),
        write("developer.warning"),
        write("developer.error"),
        Row::new("developer.logs", json!({}))
            .streamed()
            .inside(json!({"developer": {"logs": true}}))
            .outside(json!({"developer": {"logs": false}})),
    ]
}

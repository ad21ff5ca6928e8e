//! Log lines of rooms become telemetry of their sessions.

use crate::clock::Clock;
use crate::id::SessionId;
use crate::room::world::LineSink;
use crate::telemetry::{Kind, Record, Telemetry};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Keeps lines in the form that log records of OTLP have, so that one command shows both.
pub(super) struct KeptLines {
    pub telemetry: Telemetry,
    pub clock: Arc<dyn Clock>,
}

impl LineSink for KeptLines {
    fn line(&self, session: SessionId, kind: &str, data: &Map<String, Value>) {
        let mut attributes = data.clone();
        let message = attributes.remove("message");
        let body = json!({
            "type": "otel.log",
            "created_at": self.clock.now(),
            "data": {
                "log": message,
                "severity_text": kind.to_uppercase(),
                "scope_name": "developer",
                "log_attributes": attributes,
            },
        });
        self.telemetry.add(vec![Record { session, kind: Kind::Event, body }]);
    }
}

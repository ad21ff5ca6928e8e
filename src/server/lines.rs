//! Log lines and tool calls of rooms become telemetry of their sessions.

use crate::clock::Clock;
use crate::id::SessionId;
use crate::room::world::{LineSink, SpanSink, ToolSpan};
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

/// Status of a span that ended well, and of one that did not (OpenTelemetry's `StatusCode`).
const STATUS_OK: u8 = 1;
const STATUS_ERROR: u8 = 2;
/// Kind of a span that serves a request (OpenTelemetry's `SpanKind`).
const KIND_SERVER: u8 = 2;

/// Keeps tool calls in the form that spans of OTLP have.
pub(super) struct KeptSpans(pub Telemetry);

impl SpanSink for KeptSpans {
    fn span(&self, session: SessionId, span: &ToolSpan) {
        let nanos = (span.ended - span.started).num_nanoseconds().unwrap_or(i64::MAX).max(0);
        let body = json!({
            "trace_id": hex::encode(span.trace_id),
            "span_id": hex::encode(span.span_id),
            "parent_span_id": span.parent.map(hex::encode),
            "span_name": span.name,
            "span_kind": KIND_SERVER,
            "created_at": span.started,
            "ended_at": span.ended,
            "duration": nanos,
            "status_code": if span.error.is_some() { STATUS_ERROR } else { STATUS_OK },
            "status_message": span.error.as_deref().unwrap_or_default(),
            "span_attributes": span.attributes,
            "events": [],
            "scope_name": "meshagent.room",
            "resource_attributes": {"service.name": "meshagent"},
        });
        self.0.add(vec![Record { session, kind: Kind::Span, body }]);
    }
}

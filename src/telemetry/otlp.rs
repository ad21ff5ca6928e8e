//! OTLP requests (opentelemetry-proto 1.x, protobuf or JSON) as records of a session. Field names of the records are
//! those that the official command line tool reads (`session traces|metrics|logs`).

use super::{Kind, Record};
use crate::id::SessionId;
use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    HistogramDataPoint, Metric, NumberDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value, json};

/// Deepest nesting of an attribute's value that is kept.
const DEPTH_MAX: usize = 8;

/// Spans of a request.
#[must_use]
pub fn spans(session: SessionId, request: &ExportTraceServiceRequest) -> Vec<Record> {
    let mut records = vec![];
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            let place = place(resource.resource.as_ref(), scope.scope.as_ref());
            records.extend(scope.spans.iter().map(|span| Record {
                session,
                kind: Kind::Span,
                body: with(span_body(span), &place),
            }));
        }
    }
    records
}

/// Data points of a request.
#[must_use]
pub fn metrics(session: SessionId, request: &ExportMetricsServiceRequest) -> Vec<Record> {
    let mut records = vec![];
    for resource in &request.resource_metrics {
        for scope in &resource.scope_metrics {
            let place = place(resource.resource.as_ref(), scope.scope.as_ref());
            for metric in &scope.metrics {
                let points = points(metric).into_iter();
                records.extend(points.map(|body| Record {
                    session,
                    kind: Kind::Metric,
                    body: with(body, &place),
                }));
            }
        }
    }
    records
}

/// Log lines of a request, as events of type `otel.log`.
#[must_use]
pub fn logs(session: SessionId, request: &ExportLogsServiceRequest) -> Vec<Record> {
    let mut records = vec![];
    for resource in &request.resource_logs {
        for scope in &resource.scope_logs {
            let place = place(resource.resource.as_ref(), scope.scope.as_ref());
            records.extend(scope.log_records.iter().map(|line| {
                let nanos =
                    if line.time_unix_nano == 0 { line.observed_time_unix_nano } else { line.time_unix_nano };
                let at = time(nanos);
                let data = json!({
                    "log": line.body.as_ref().map(|body| value(body, 0)),
                    "severity_text": line.severity_text,
                    "severity_number": line.severity_number,
                    "log_attributes": attributes(&line.attributes),
                    "trace_id": id(&line.trace_id),
                    "span_id": id(&line.span_id),
                });
                let body = json!({"type": "otel.log", "created_at": at, "data": with(data, &place)});
                Record { session, kind: Kind::Event, body }
            }));
        }
    }
    records
}

fn span_body(span: &Span) -> Value {
    let status = span.status.clone().unwrap_or_default();
    let events: Vec<Value> = span
        .events
        .iter()
        .map(|event| {
            json!({"name": event.name, "at": time(event.time_unix_nano), "attributes": attributes(&event.attributes)})
        })
        .collect();
    json!({
        "trace_id": id(&span.trace_id),
        "span_id": id(&span.span_id),
        "parent_span_id": id(&span.parent_span_id),
        "span_name": span.name,
        "span_kind": span.kind,
        "created_at": time(span.start_time_unix_nano),
        "ended_at": time(span.end_time_unix_nano),
        "duration": span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        "status_code": status.code,
        "status_message": status.message,
        "span_attributes": attributes(&span.attributes),
        "events": events,
    })
}

fn points(metric: &Metric) -> Vec<Value> {
    let numbers = |kind: &str, points: &[NumberDataPoint]| {
        points.iter().map(|point| number(metric, kind, point)).collect::<Vec<_>>()
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => numbers("gauge", &gauge.data_points),
        Some(Data::Sum(sum)) => numbers("sum", &sum.data_points),
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.iter().map(|point| distribution(metric, point)).collect()
        }
        // Exponential histograms and summaries: no client of the platform makes or shows them.
        _ => vec![],
    }
}

fn head(metric: &Metric, kind: &str, from: u64, to: u64, of: &[KeyValue]) -> Map<String, Value> {
    let body = json!({
        "metric_name": metric.name,
        "metric_unit": metric.unit,
        "metric_description": metric.description,
        "kind": kind,
        "created_at": time(from),
        "ended_at": time(to),
        "metric_attributes": attributes(of),
    });
    match body {
        Value::Object(body) => body,
        _ => Map::new(),
    }
}

fn number(metric: &Metric, kind: &str, point: &NumberDataPoint) -> Value {
    let mut body = head(metric, kind, point.start_time_unix_nano, point.time_unix_nano, &point.attributes);
    let value = match point.value {
        Some(number_data_point::Value::AsInt(value)) => value.into(),
        Some(number_data_point::Value::AsDouble(value)) => value.into(),
        None => Value::Null,
    };
    body.insert("value".into(), value);
    Value::Object(body)
}

fn distribution(metric: &Metric, point: &HistogramDataPoint) -> Value {
    let mut body =
        head(metric, "histogram", point.start_time_unix_nano, point.time_unix_nano, &point.attributes);
    body.insert("count".into(), point.count.into());
    body.insert("sum".into(), json!(point.sum));
    body.insert("min".into(), json!(point.min));
    body.insert("max".into(), json!(point.max));
    body.insert("bucket_counts".into(), json!(point.bucket_counts));
    body.insert("explicit_bounds".into(), json!(point.explicit_bounds));
    Value::Object(body)
}

/// What all records of a scope share.
fn place(resource: Option<&Resource>, scope: Option<&InstrumentationScope>) -> Map<String, Value> {
    let mut place = Map::new();
    place.insert("scope_name".into(), scope.map(|scope| scope.name.clone()).into());
    place.insert("resource_attributes".into(), attributes(resource.map_or(&[][..], |r| &r.attributes)));
    place
}

fn with(mut body: Value, place: &Map<String, Value>) -> Value {
    if let Value::Object(body) = &mut body {
        body.extend(place.clone());
    }
    body
}

fn attributes(of: &[KeyValue]) -> Value {
    let pairs =
        of.iter().map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Value::Null, |v| value(v, 0))));
    Value::Object(pairs.collect())
}

fn value(any: &AnyValue, depth: usize) -> Value {
    use any_value::Value as Any;
    match &any.value {
        _ if depth > DEPTH_MAX => Value::Null,
        Some(Any::StringValue(text)) => text.clone().into(),
        Some(Any::BoolValue(value)) => (*value).into(),
        Some(Any::IntValue(value)) => (*value).into(),
        Some(Any::DoubleValue(value)) => (*value).into(),
        Some(Any::BytesValue(bytes)) => id(bytes),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|one| value(one, depth + 1)).collect(),
        Some(Any::KvlistValue(list)) => {
            let pairs = list.values.iter().map(|pair| {
                (pair.key.clone(), pair.value.as_ref().map_or(Value::Null, |v| value(v, depth + 1)))
            });
            Value::Object(pairs.collect())
        }
        _ => Value::Null,
    }
}

fn time(nanos: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// Lower-case hexadecimal; null for nothing.
fn id(bytes: &[u8]) -> Value {
    if bytes.is_empty() { Value::Null } else { hex::encode(bytes).into() }
}

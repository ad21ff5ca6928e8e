//! The OTLP receiver, and what it took in the answers about sessions.

use super::Platform;
use axum::http::{Method, StatusCode};
use meshagent::app::token::Mint;
use meshagent::server::{Options, Server};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};

/// OTLP in JSON: one span, as exporters write it.
fn spans() -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "demo"}}]},
        "scopeSpans": [{"scope": {"name": "lib"}, "spans": [{
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "parentSpanId": "",
            "name": "work", "kind": 1, "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1500000000",
            "attributes": [{"key": "n", "value": {"intValue": "3"}}],
        }]}],
    }]})
}

async fn started(p: &Platform) -> (String, String) {
    p.ok(Method::POST, "/rooms", Some(json!({"name": "den"}))).await;
    let token =
        p.ok(Method::POST, "/rooms/den/connect", Some(json!({}))).await["jwt"].as_str().unwrap().to_owned();
    let sessions = p.ok(Method::GET, "/sessions", None).await;
    (sessions["sessions"][0]["id"].as_str().unwrap().to_owned(), token)
}

#[tokio::test]
async fn spans_metrics_and_logs_belong_to_the_session_of_the_participant() {
    let p = Platform::new().await;
    let (session, token) = started(&p).await;
    let (status, answer) = p.send(Method::POST, "/v1/traces", Some(&token), Some(spans())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let listed = p.ok(Method::GET, &format!("/sessions/{session}/spans"), None).await;
    let span = &listed["spans"][0];
    assert_eq!(span["span_name"], "work");
    assert_eq!(span["trace_id"], "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(span["parent_span_id"], Value::Null);
    assert_eq!(span["duration"], 500_000_000);
    assert_eq!(span["span_attributes"], json!({"n": 3}));
    assert_eq!(span["resource_attributes"], json!({"service.name": "demo"}));

    let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "count", "unit": "1", "sum": {"dataPoints": [{"asInt": "7", "timeUnixNano": "2000000000"}], "aggregationTemporality": 2, "isMonotonic": true}},
        {"name": "took", "unit": "ms", "histogram": {"dataPoints": [{"count": "2", "sum": 3.0, "bucketCounts": ["1", "1"], "explicitBounds": [1.0], "timeUnixNano": "2000000000"}], "aggregationTemporality": 2}},
    ]}]}]});
    p.send(Method::POST, "/v1/metrics", Some(&token), Some(metrics)).await;
    let listed = p.ok(Method::GET, &format!("/sessions/{session}/metrics"), None).await;
    assert_eq!((&listed["metrics"][0]["value"], &listed["metrics"][0]["kind"]), (&json!(7), &json!("sum")));
    assert_eq!(listed["metrics"][1]["bucket_counts"], json!([1, 1]));

    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": "3000000000", "severityText": "INFO", "body": {"stringValue": "hello"}},
    ]}]}]});
    p.send(Method::POST, "/v1/logs", Some(&token), Some(logs)).await;
    let events = p.ok(Method::GET, &format!("/sessions/{session}/events"), None).await;
    let line = events["events"].as_array().unwrap().iter().find(|e| e["type"] == "otel.log").unwrap().clone();
    assert_eq!((&line["data"]["log"], &line["data"]["severity_text"]), (&json!("hello"), &json!("INFO")));
}

#[tokio::test]
async fn an_address_given_to_a_service_needs_no_credential_and_reaches_one_session() {
    let p = Platform::new().await;
    let (session, _) = started(&p).await;
    let id = meshagent::id::SessionId::new(p.project, session.parse().unwrap());
    let endpoint = p.ingest.endpoint("", id);
    let (status, answer) = p.send(Method::POST, &format!("{endpoint}/v1/traces"), None, Some(spans())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let listed = p.ok(Method::GET, &format!("/sessions/{session}/spans"), None).await;
    assert_eq!(listed["spans"].as_array().unwrap().len(), 1);
    let (status, _) = p.send(Method::POST, "/otel/AAAA/v1/traces", None, Some(spans())).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_no_telemetry_is_refused() {
    let p = Platform::new().await;
    let (session, token) = started(&p).await;
    for (path, bearer, expected) in [
        ("/v1/traces", Some(p.key.as_str()), StatusCode::FORBIDDEN),
        ("/v1/nothing", Some(token.as_str()), StatusCode::NOT_FOUND),
        ("/v1/traces", None, StatusCode::UNAUTHORIZED),
    ] {
        let (status, answer) = p.send(Method::POST, path, bearer, Some(spans())).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
    let (status, answer) =
        p.send(Method::POST, "/v1/traces", Some(&token), Some(json!({"resourceSpans": 3}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let listed = p.ok(Method::GET, &format!("/sessions/{session}/spans"), None).await;
    assert_eq!(listed["spans"], json!([]));
}

#[tokio::test]
async fn grpc_exporters_use_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start(Options::new(dir.path().to_owned(), "127.0.0.1:0".parse().unwrap())).await.unwrap();
    let project = server.connection().project_id.parse().unwrap();
    let actor = meshagent::app::Actor::new("test", "setup");
    let body = json!({"name": "den"});
    let url = server.connection().api_url.clone();
    let made: Value = reqwest::Client::new()
        .post(format!("{url}/accounts/projects/{project}/rooms"))
        .bearer_auth(&server.connection().api_key)
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let room = meshagent::id::RoomId::new(project, made["id"].as_str().unwrap().parse().unwrap());
    let session = server.app().start_session(&actor, room, 1).await.unwrap();
    let mut mint = Mint::new(project, "agent");
    mint.room = Some("den".to_owned());
    let token = server.app().mint(mint).await.unwrap();

    let mut client = TraceServiceClient::connect(url.clone()).await.unwrap();
    let span =
        Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "grpc".to_owned(), ..Span::default() };
    let message = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    };
    let refused = client.export(message.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    client.export(request).await.unwrap();
    let answer: Value = reqwest::Client::new()
        .get(format!("{url}/accounts/projects/{project}/sessions/{}/spans", session.uuid()))
        .bearer_auth(server.connection().api_key.clone())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["spans"][0]["span_name"], "grpc", "{answer}");
    drop(client);
    server.stop().await;
}

//! An endpoint that answers from a script, in the language it is asked in: Responses, Chat Completions or Messages.

use axum::body::Bytes;
use axum::extract::{Json, Path, State};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// One item per request; what was asked is kept.
#[derive(Clone)]
pub struct Endpoint {
    /// Base URL.
    pub url: String,
    script: Arc<Mutex<(VecDeque<Value>, Vec<Value>)>>,
}

impl Endpoint {
    pub async fn start(items: Vec<Value>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let endpoint = Self { url, script: Arc::new(Mutex::new((items.into(), Vec::new()))) };
        let app = axum::Router::new()
            .route("/v1/responses", axum::routing::post(respond))
            .route("/v1/chat/completions", axum::routing::post(complete))
            .route("/v1/messages", axum::routing::post(message))
            .route("/v1/images/{what}", axum::routing::post(image))
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        endpoint
    }

    pub fn asked(&self) -> Vec<Value> {
        self.script.lock().unwrap().1.clone()
    }
}

impl Endpoint {
    fn next(&self, asked: Value) -> Value {
        let mut script = self.script.lock().unwrap();
        script.1.push(asked);
        script.0.pop_front().expect("a request more than the script has")
    }
}

/// A PNG of one pixel, in Base64.
pub const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

async fn image(State(endpoint): State<Endpoint>, Path(what): Path<String>, body: Bytes) -> Json<Value> {
    endpoint.script.lock().unwrap().1.push(json!({"what": what, "body": String::from_utf8_lossy(&body)}));
    Json(json!({"data": [{"b64_json": PIXEL}]}))
}

fn stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

async fn respond(State(endpoint): State<Endpoint>, Json(body): Json<Value>) -> String {
    let item = endpoint.next(body);
    stream(&[
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"usage": {"input_tokens": 5, "output_tokens": 3}}}),
    ])
}

async fn complete(State(endpoint): State<Endpoint>, Json(body): Json<Value>) -> String {
    let item = endpoint.next(body);
    let (delta, finish) = match item["type"].as_str() {
        Some("function_call") => {
            let function = json!({"name": item["name"], "arguments": item["arguments"]});
            (json!({"tool_calls": [{"index": 0, "id": item["call_id"], "function": function}]}), "tool_calls")
        }
        _ => (json!({"content": item["content"][0]["text"]}), "stop"),
    };
    let piece = |delta: Value, finish: Value| json!({"id": "c", "choices": [{"delta": delta, "finish_reason": finish}]});
    let pieces = stream(&[piece(delta, Value::Null), piece(json!({}), finish.into())]);
    pieces + "data: [DONE]\n\n"
}

async fn message(State(endpoint): State<Endpoint>, Json(body): Json<Value>) -> String {
    let item = endpoint.next(body);
    let (begin, delta, stop) = match item["type"].as_str() {
        Some("function_call") => (
            json!({"type": "tool_use", "id": item["call_id"], "name": item["name"], "input": {}}),
            json!({"type": "input_json_delta", "partial_json": item["arguments"]}),
            "tool_use",
        ),
        _ => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": item["content"][0]["text"]}),
            "end_turn",
        ),
    };
    stream(&[
        json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": begin}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ])
}

//! An OpenAI-compatible endpoint that answers from a script.

use axum::extract::{Json, State};
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
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        endpoint
    }

    pub fn asked(&self) -> Vec<Value> {
        self.script.lock().unwrap().1.clone()
    }
}

async fn respond(State(endpoint): State<Endpoint>, Json(body): Json<Value>) -> String {
    let mut script = endpoint.script.lock().unwrap();
    script.1.push(body);
    let item = script.0.pop_front().expect("a request more than the script has");
    let events = [
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"usage": {"input_tokens": 5, "output_tokens": 3}}}),
    ];
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

//! A model context protocol server over streamable HTTP, small enough to steer: it answers each request with JSON.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// What the server has and saw.
#[derive(Debug)]
pub struct Told {
    /// The tools that it lists: name and whether it only reads.
    pub tools: Vec<(&'static str, bool)>,
    /// `Authorization` that it wants, if any.
    pub wants: Option<String>,
    /// Headers of the last request.
    pub last: HeaderMap,
    /// Names of the tools that were called.
    pub called: Vec<String>,
}

/// A running server; dropped, it is gone.
#[derive(Debug)]
pub struct McpServer {
    pub address: SocketAddr,
    pub told: Arc<Mutex<Told>>,
    server: JoinHandle<()>,
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl McpServer {
    pub async fn start(tools: &[(&'static str, bool)], wants: Option<&str>) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), tools, wants).await
    }

    pub async fn at(address: SocketAddr, tools: &[(&'static str, bool)], wants: Option<&str>) -> Self {
        let told = Arc::new(Mutex::new(Told {
            tools: tools.to_vec(),
            wants: wants.map(str::to_owned),
            last: HeaderMap::new(),
            called: vec![],
        }));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/mcp", post(answer)).with_state(Arc::clone(&told));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, told, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, headers: HeaderMap, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    let mut told = told.lock().unwrap();
    told.last = headers.clone();
    if let Some(wanted) = &told.wants {
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        if given != Some(wanted) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
    }
    let Some(id) = request.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let result = match request["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"},
        }),
        "tools/list" => {
            let tool = |(name, reads): &(&str, bool)| {
                json!({"name": name, "description": format!("does {name}"), "annotations": {"readOnlyHint": reads},
                    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}})
            };
            json!({"tools": told.tools.iter().map(tool).collect::<Vec<_>>()})
        }
        "tools/call" => {
            let name = request["params"]["name"].as_str().unwrap().to_owned();
            told.called.push(name.clone());
            let text = request["params"]["arguments"]["text"].clone();
            match name.as_str() {
                "echo" => json!({"content": [{"type": "text", "text": text}]}),
                "invalid" => json!({"content": "no list"}),
                "image" => json!({"content": [{"type": "image", "data": "%%%", "mimeType": "image/png"}]}),
                "shape" => json!({"content": [], "structuredContent": {"said": text}}),
                _ => json!({"content": [{"type": "text", "text": "it broke"}], "isError": true}),
            }
        }
        "ping" => json!({}),
        _ => {
            let error =
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}});
            return axum::Json(error).into_response();
        }
    };
    axum::Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response()
}

//! A provider of the realtime protocol for whole agents: it answers in the kind that its session says, and does what its caller's
//! last words ask for. Every answer uses 30 tokens in and 20 out.
//!
//! `break` closes the connection while it speaks; `fail` ends the answer with an error; `go on` speaks until it is told to stop.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What it hears in every audio.
pub const HEARD: &str = "Good morning.";
/// What it says aloud.
pub const SAID: &str = "Good morning to you.";
/// Its voice, in bytes.
pub const SOUND: [u8; 6] = [0, 255, 7, 128, 9, 254];

/// A running provider.
#[derive(Clone)]
pub struct Realtime {
    /// Base URL.
    pub url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Realtime {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let provider = Self { url, told: Arc::default() };
        let app = Router::new().route("/v1/realtime", get(enter)).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        provider
    }

    /// Messages of this type that it was told so far, over all connections.
    pub fn told(&self, kind: &str) -> Vec<Value> {
        self.told.lock().unwrap().iter().filter(|message| message["type"] == kind).cloned().collect()
    }
}

async fn enter(State(provider): State<Realtime>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let key = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    provider.told.lock().unwrap().push(json!({"type": "dial", "key": key}));
    upgrade.on_upgrade(move |socket| async move {
        // The caller may have gone.
        let _ = talk(provider, socket).await;
    })
}

struct Talk {
    socket: WebSocket,
    aloud: bool,
    /// What the caller said last.
    last: String,
    items: usize,
    endless: bool,
}

async fn talk(provider: Realtime, socket: WebSocket) -> Option<()> {
    let mut talk = Talk { socket, aloud: false, last: String::new(), items: 0, endless: false };
    talk.send(json!({"type": "session.created", "session": {"model": "gpt-realtime"}})).await?;
    loop {
        let Message::Text(text) = talk.socket.recv().await?.ok()? else { continue };
        let message: Value = serde_json::from_str(&text).ok()?;
        provider.told.lock().unwrap().push(message.clone());
        talk.hear(&message).await?;
    }
}

impl Talk {
    async fn send(&mut self, event: Value) -> Option<()> {
        self.socket.send(Message::Text(event.to_string().into())).await.ok()
    }

    async fn hear(&mut self, message: &Value) -> Option<()> {
        match message["type"].as_str()? {
            "session.update" => {
                self.aloud = message["session"]["output_modalities"][0] == "audio";
                self.send(json!({"type": "session.updated", "session": message["session"]})).await
            }
            "conversation.item.create" => {
                if message["item"]["role"] == "user" {
                    self.last = message["item"]["content"][0]["text"].as_str()?.to_owned();
                }
                self.items += 1;
                Some(())
            }
            "input_audio_buffer.commit" => {
                self.items += 1;
                self.last.clear();
                let item_id = format!("heard_{}", self.items);
                self.send(json!({"type": "input_audio_buffer.committed", "item_id": item_id})).await?;
                let kind = "conversation.item.input_audio_transcription.completed";
                self.send(json!({"type": kind, "item_id": item_id, "content_index": 0, "transcript": HEARD}))
                    .await
            }
            "response.create" => self.answer().await,
            "response.cancel" if std::mem::take(&mut self.endless) => self.done("cancelled", json!([])).await,
            _ => Some(()),
        }
    }

    async fn done(&mut self, status: &str, output: Value) -> Option<()> {
        let error =
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "told to fail"}});
        let details = if status == "failed" { error } else { Value::Null };
        let usage = json!({"total_tokens": 50, "input_tokens": 30, "output_tokens": 20,
            "input_token_details": {"cached_tokens": 10, "audio_tokens": 15, "text_tokens": 15}});
        self.send(json!({"type": "response.done", "response": {"id": "r", "status": status, "output": output,
            "status_details": details, "usage": usage}}))
            .await
    }

    async fn answer(&mut self) -> Option<()> {
        self.items += 1;
        let id = format!("said_{}", self.items);
        self.send(json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}}))
            .await?;
        if self.last.contains("fail") {
            return self.done("failed", json!([])).await;
        }
        if !self.aloud {
            let text = format!("You said: {}", self.last);
            let kind = "response.output_text";
            self.send(
                json!({"type": format!("{kind}.delta"), "item_id": id, "content_index": 0, "delta": text}),
            )
            .await?;
            self.send(
                json!({"type": format!("{kind}.done"), "item_id": id, "content_index": 0, "text": text}),
            )
            .await?;
            let content = json!([{"type": "output_text", "text": text}]);
            return self.done("completed", json!([{"type": "message", "id": id, "content": content}])).await;
        }
        let of = json!({"response_id": "r", "item_id": id, "content_index": 0});
        let about = |kind: &str, key: &str, value: &str| {
            let mut event = of.clone();
            event["type"] = json!(format!("response.output_audio{kind}"));
            event[key] = json!(value);
            event
        };
        self.send(about("_transcript.delta", "delta", SAID)).await?;
        self.send(about(".delta", "delta", &STANDARD.encode(SOUND))).await?;
        if self.last.contains("break") {
            return None;
        }
        if self.last.contains("go on") {
            self.endless = true;
            return Some(());
        }
        self.send(about(".done", "none", "")).await?;
        self.send(about("_transcript.done", "transcript", SAID)).await?;
        let content = json!([{"type": "output_audio", "transcript": SAID}]);
        self.done("completed", json!([{"type": "message", "id": id, "content": content}])).await
    }
}

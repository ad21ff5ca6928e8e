//! A stand-in for a provider of models, in this process: it speaks Responses, whole and as a stream.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Events of one stream.
pub(super) const EVENTS: usize = 50;
/// Events of a stream that carry no text: the item's begin and end, and the end of the answer.
const FRAME_EVENTS: usize = 3;
const DELTA: &str = "a few words of text ";

/// Serves on loopback; every answer begins after `hold`.
pub(super) async fn serve(hold: Duration) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    let router = Router::new().route("/v1/responses", post(answer)).with_state(hold);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn answer(State(hold): State<Duration>, body: Bytes) -> Response {
    tokio::time::sleep(hold).await;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let usage = json!({"input_tokens": 500, "output_tokens": EVENTS, "total_tokens": 500 + EVENTS,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}});
    let texts = EVENTS - FRAME_EVENTS;
    let item = json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": DELTA.repeat(texts), "annotations": []}]});
    let response = json!({"id": "resp_1", "object": "response", "created_at": 0, "status": "completed",
        "model": asked["model"], "output": [item], "usage": usage, "parallel_tool_calls": true,
        "tool_choice": "auto", "tools": []});
    if asked["stream"] != true {
        return Json(response).into_response();
    }
    let begun = json!({"type": "response.output_item.added", "output_index": 0, "sequence_number": 0,
        "item": {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}});
    let delta = json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
        "content_index": 0, "sequence_number": 1, "delta": DELTA, "logprobs": []});
    let ended =
        json!({"type": "response.output_item.done", "output_index": 0, "sequence_number": 2, "item": item});
    let last = json!({"type": "response.completed", "sequence_number": 3, "response": response});
    let deltas = std::iter::repeat_n(delta.to_string(), texts);
    let events =
        std::iter::once(begun.to_string()).chain(deltas).chain([ended.to_string(), last.to_string()]);
    let lines = events.map(|event| Ok::<_, std::convert::Infallible>(format!("data: {event}\n\n")));
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(futures_util::stream::iter(lines)))
        .into_response()
}

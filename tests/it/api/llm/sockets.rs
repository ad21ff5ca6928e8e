//! The WebSocket form.

use super::{KEY, LIMIT, Rig};
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The stand-in's socket: tells its credential, then answers each request with what it used.
pub(super) async fn upgraded(parts: &Parts) -> Option<Response> {
    let mut own = parts.clone();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut own, &()).await.ok()?;
    let text =
        |name: &str| own.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let hello = json!({"type": "hello", "authorization": text("authorization"), "headers": format!("{:?}", own.headers)});
    Some(upgrade.on_upgrade(move |mut socket| async move {
        let _ = socket.send(Message::text(hello.to_string())).await;
        while let Some(Ok(Message::Text(text))) = socket.recv().await {
            let asked: Value = serde_json::from_str(&text).unwrap();
            if asked["model"] == "endless" {
                let part = json!({"type": "response.output_text.delta", "delta": "a"});
                let _ = socket.send(Message::text(part.to_string())).await;
                continue;
            }
            let usage = json!({"input_tokens": 3, "output_tokens": 4});
            if asked["type"] == "input_audio_buffer.append" {
                // It heard the end of what was said; the error is about something else.
                let done = json!({"type": "response.done", "response": {"usage": usage}});
                for said in [json!({"type": "response.created"}), json!({"type": "error"}), done] {
                    let _ = socket.send(Message::text(said.to_string())).await;
                }
                continue;
            }
            let told = json!({"type": "response.completed",
                "response": {"model": asked["model"], "usage": usage, "asked": asked}});
            let _ = socket.send(Message::text(told.to_string())).await;
        }
    }))
}

pub(super) async fn dial(rig: &Rig, path: &str, bearer: &str) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{}{path}", rig.here).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
    tokio::time::timeout(LIMIT, tokio_tungstenite::connect_async(request))
        .await
        .unwrap()
        .map(|(socket, _)| socket)
}

pub(super) async fn next(socket: &mut Socket) -> Value {
    let message = tokio::time::timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

pub(super) async fn ask(socket: &mut Socket, model: &str) -> Value {
    let asked = json!({"type": "response.create", "model": model, "input": []});
    socket.send(tungstenite::Message::text(asked.to_string())).await.unwrap();
    next(socket).await
}

#[tokio::test]
async fn responses_over_a_socket_are_checked_and_counted_one_by_one() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", Some(&["openai/m*"])).await;
    let mut socket = dial(&rig, "/openai/v1/responses", &ann).await.unwrap();
    let hello = next(&mut socket).await;
    assert_eq!(hello["authorization"], format!("Bearer {KEY}"));
    assert!(!hello["headers"].as_str().unwrap().contains(&ann));
    for _ in 0..2 {
        assert_eq!(ask(&mut socket, "m1").await["type"], "response.completed");
    }
    let refused = ask(&mut socket, "o3").await;
    assert_eq!((&refused["type"], &refused["status"]), (&json!("error"), &json!(403)), "{refused}");
    assert_eq!(ask(&mut socket, "m2").await["response"]["model"], "m2", "the socket lives on");
    for bad in [
        "nonsense",
        r#"{"type":"response.create","model":"m1","model":"o3"}"#,
        r#"{"type":"response.create"}"#,
    ] {
        socket.send(tungstenite::Message::text(bad)).await.unwrap();
        assert_eq!(next(&mut socket).await["status"], 400, "{bad}");
    }
    let rows = rig.usage("").await;
    let of = |model: &str| rows.iter().find(|row| row["model"] == model).unwrap().clone();
    assert_eq!((&of("m1")["requests"], &of("m1")["total_tokens"]), (&json!(2), &json!(14)));
    assert_eq!(of("m2")["total_tokens"], 7);
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_realtime_socket_names_its_model_in_the_address() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", Some(&["openai/gpt-realtime"])).await;
    let refused = dial(&rig, "/openai/v1/realtime?model=other", &ann).await.unwrap_err();
    assert!(matches!(&refused, tungstenite::Error::Http(answer) if answer.status() == 403), "{refused}");
    assert!(dial(&rig, "/openai/v1/realtime", &ann).await.is_err());
    assert!(dial(&rig, "/openai/v1/chat/completions", &ann).await.is_err(), "no socket there");
    assert!(dial(&rig, "/openai/v1/realtime?model=gpt-realtime", "nonsense").await.is_err());
    let mut socket = dial(&rig, "/openai/v1/realtime?model=gpt-realtime", &ann).await.unwrap();
    next(&mut socket).await;
    let other =
        json!({"type": "session.update", "session": {"audio": {"transcription": {"model": "other"}}}});
    socket.send(tungstenite::Message::text(other.to_string())).await.unwrap();
    assert_eq!(next(&mut socket).await["status"], 403);
    let create = json!({"type": "response.create"});
    socket.send(tungstenite::Message::text(create.to_string())).await.unwrap();
    assert_eq!(next(&mut socket).await["type"], "response.completed");
    assert_eq!(rig.usage("").await[0]["model"], "gpt-realtime");
}

#[tokio::test]
async fn a_budget_stops_a_socket_that_is_open() {
    let rig = Rig::new().await;
    let limits = json!({"limits": [{"per": "hour", "tokens": 14}]});
    rig.platform.ok(axum::http::Method::PUT, "/settings/budgets", Some(limits)).await;
    let ann = rig.token("ann", None).await;
    let mut socket = dial(&rig, "/openai/v1/responses", &ann).await.unwrap();
    next(&mut socket).await;
    assert_eq!(ask(&mut socket, "m").await["type"], "response.completed");
    assert_eq!(ask(&mut socket, "m").await["type"], "response.completed");
    let refused = ask(&mut socket, "m").await;
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!(402), &json!("budget-exhausted")));
}

#[tokio::test]
async fn an_answer_that_is_left_is_estimated_and_there_is_one_at_a_time() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", None).await;
    let mut socket = dial(&rig, "/openai/v1/responses", &ann).await.unwrap();
    next(&mut socket).await;
    assert_eq!(ask(&mut socket, "endless").await["type"], "response.output_text.delta");
    let refused = ask(&mut socket, "m").await;
    assert_eq!((&refused["type"], &refused["status"]), (&json!("error"), &json!(400)), "{refused}");
    drop(socket);
    let row = rig.counted("endless").await;
    assert_eq!((&row["requests"], &row["estimated_requests"]), (&json!(1), &json!(1)));
    assert_eq!(row["output_tokens"], 1);
    assert!(row["input_tokens"].as_u64().unwrap() > 5, "{row}");
}

#[tokio::test]
async fn no_message_names_a_model_that_is_not_allowed() {
    let rig = Rig::new().await;
    let ann = rig.token("ann", Some(&["openai/m"])).await;
    for (path, message) in [
        ("realtime?model=m", json!({"type": "conversation.item.create", "item": {"model": "other"}})),
        ("realtime?model=m", json!({"type": "response.create", "response": {"model": "other"}})),
        ("responses", json!({"type": "response.create", "model": "m", "tools": [{"model": "other"}]})),
    ] {
        let mut socket = dial(&rig, &format!("/openai/v1/{path}"), &ann).await.unwrap();
        next(&mut socket).await;
        socket.send(tungstenite::Message::text(message.to_string())).await.unwrap();
        assert_eq!(next(&mut socket).await["status"], 403, "{message}");
    }
}

//! `room.call` against a webhook that checks what it gets.

use super::client::error;
use super::harness::{Edge, WEBHOOK_SECRET};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use meshagent::wire::Content;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use tokio::sync::mpsc;

async fn webhook(status: StatusCode) -> (SocketAddr, mpsc::Receiver<(HeaderMap, String)>) {
    let (sender, receiver) = mpsc::channel(8);
    let handler = move |headers: HeaderMap, body: String| async move {
        sender.send((headers, body)).await.unwrap();
        status
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/webhook", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, receiver)
}

#[tokio::test]
async fn a_service_is_called_with_a_token_and_a_signature_it_can_check() {
    let edge = Edge::start().await;
    let (address, mut calls) = webhook(StatusCode::OK).await;
    let api = json!({"agents": {}, "queues": {"send": ["q"]}});
    let mut a = edge.join_as(&json!({"name": "a", "api": api})).await;
    let call = json!({
        "name": "helper", "url": format!("http://{address}/webhook"), "arguments": {"ü": 1.0, "n": 1e16},
        "api": {"queues": {}, "admin": {}},
    });
    assert_eq!(a.request("room.call", call).await, Content::Empty);
    let (headers, body) = calls.recv().await.unwrap();
    let event: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(event["event"], "room.call");
    assert_eq!(
        (&event["data"]["room_name"], &event["data"]["room_url"]),
        (&json!("room"), &json!("http://test/rooms/room"))
    );
    assert_eq!(event["data"]["arguments"], json!({"ü": 1.0, "n": 1e16}));
    assert!(body.contains(r#""arguments": {"n": 1e+16, "\u00fc": 1.0}"#), "{body}");
    // The caller may only send to `q`, so the called may too.
    assert_eq!(event["data"]["token"], json!(["room", "helper", {"queues": {"send": ["q"]}}]).to_string());
    let signature = headers["meshagent-signature"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(signature, &DecodingKey::from_secret(WEBHOOK_SECRET), &rules)
        .unwrap()
        .claims;
    let digest: String = Sha256::digest(body.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(claims["sha256"], json!(digest));
}

#[tokio::test]
async fn calls_that_cannot_be_made_say_why() {
    let edge = Edge::start().await;
    let (address, _calls) = webhook(StatusCode::UNAUTHORIZED).await;
    let mut a = edge.join("a").await;
    let cases = [
        (json!({"url": "http://x"}), 1002, "field `name` is missing"),
        (
            json!({"name": "n", "url": format!("http://{address}/webhook")}),
            1008,
            "answered the call with HTTP 401",
        ),
        (
            json!({"name": "n", "url": "http://localhost:1/webhook"}),
            1001,
            "`localhost` is not a public address",
        ),
        (json!({"name": "n", "url": "http://169.254.169.254/latest"}), 1001, "is not a public address"),
        (json!({"name": "n", "url": "http://127.0.0.1:1/webhook"}), 1008, "could not be called"),
        (json!({"name": "n", "url": "ws://example.com/webhook"}), 1007, "over a socket it dialled"),
    ];
    for (header, code, text) in cases {
        let (got, said) = error(a.request("room.call", header).await);
        assert_eq!(got, code, "{said}");
        assert!(said.contains(text), "{said}");
    }
}

//! `room.call` against a webhook that checks what it gets.

use super::client::error;
use super::harness::{Edge, WEBHOOK_SECRET, room_id};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use meshagent::room::world::EndReason;
use meshagent::wire::{Assembler, Content, encode, pack, unpack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const PATIENCE: Duration = Duration::from_secs(30);

type Accepted = WebSocketStream<tokio::net::TcpStream>;

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

/// The service is the HTTP server, and takes part over the socket that it accepts.
#[tokio::test]
async fn a_service_takes_part_over_the_socket_that_the_room_dials() {
    let edge = Edge::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut a = edge.join("a").await;
    let call = json!({"name": "helper", "url": format!("ws://{address}/webhook"), "api": {"queues": {}}});
    let accepted = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut headers = None;
        let keep = |request: &Request, response: Response| {
            headers = Some(request.headers().clone());
            Ok(response)
        };
        let socket = accept_hdr_async(stream, keep).await.unwrap();
        (socket, headers.unwrap())
    };
    let (answer, (mut socket, headers)) = tokio::join!(a.request("room.call", call), accepted);
    assert_eq!(answer, Content::Empty);
    let text = headers["meshagent-webhook"].to_str().unwrap();
    let event: Value = serde_json::from_str(text).unwrap();
    assert_eq!((&event["event"], &event["data"]["room_name"]), (&json!("room.call"), &json!("room")));
    assert!(headers["meshagent-signature"].to_str().unwrap().starts_with("Bearer "));

    let mut assembler = Assembler::default();
    let mut next = async |socket: &mut Accepted| loop {
        let Ws::Binary(packet) = socket.next().await.unwrap().unwrap() else { continue };
        if let Some(message) = assembler.push(&packet).unwrap() {
            return message;
        }
    };
    let connected = next(&mut socket).await;
    assert_eq!(connected.kind, "connected");
    assert_eq!(unpack(&connected.payload).unwrap().0["attributes"]["name"], "helper");
    assert_eq!(next(&mut socket).await.kind, "room_ready");
    let names = || -> Vec<String> {
        edge.hub.roster(room_id("room")).into_iter().map(|present| present.name).collect()
    };
    assert!(names().contains(&"helper".to_owned()));
    // It may do what it was called with, and no more.
    for (tool, wanted) in [("queues", "json"), ("storage", "error")] {
        let request = json!({
            "toolkit": tool, "tool": "list", "participant_id": null, "on_behalf_of_id": null,
            "arguments": {"type": "json", "json": {"path": ""}}, "tool_call_id": tool,
        });
        for packet in encode(7, "room.invoke_tool", &pack(&request, b"")) {
            socket.send(Ws::Binary(packet)).await.unwrap();
        }
        let answer = loop {
            let message = next(&mut socket).await;
            if message.kind == "__response__" {
                break unpack(&message.payload).unwrap().0;
            }
        };
        assert_eq!(answer["type"], wanted, "{tool}: {answer:?}");
    }
    drop(socket);
    let gone = async {
        while names().contains(&"helper".to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the service is still in the room");
}

/// The service takes its time to accept, and the session ends meanwhile: its room stays shut.
#[tokio::test]
async fn a_service_that_is_dialled_opens_no_session() {
    let edge = Edge::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut a = edge.join("a").await;
    let url = format!("ws://{}/webhook", listener.local_addr().unwrap());
    let accepted = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (room, session) = edge.hub.sessions()[0];
        assert!(edge.hub.end(room, session, EndReason::Stopped).await);
        tokio_tungstenite::accept_async(stream).await.unwrap()
    };
    let begun = a.send("room.call", json!({"name": "helper", "url": url, "api": {}}), b"");
    let (_, mut socket) = tokio::join!(begun, accepted);
    // The room lets go of the socket without a word.
    let next = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the service is kept");
    assert!(!matches!(next, Some(Ok(Ws::Binary(_)))), "{next:?}");
    assert!(edge.hub.live(room_id("room")).is_none());
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
        (
            json!({"name": "n", "url": "ws://localhost:1/webhook"}),
            1001,
            "`localhost` is not a public address",
        ),
        (json!({"name": "n", "url": "ws://127.0.0.1:1/webhook"}), 1008, "could not be called"),
        (
            json!({"name": "n", "url": format!("ws://{address}/webhook")}),
            1008,
            "answered the upgrade with HTTP 405",
        ),
        (
            json!({"name": "n", "url": "ws://127.0.0.1:1/", "arguments": {"long": "x".repeat(9000)}}),
            1002,
            "send fewer arguments",
        ),
        (json!({"name": "n", "url": "ftp://127.0.0.1/"}), 1002, "not ftp"),
    ];
    for (header, code, text) in cases {
        let (got, said) = error(a.request("room.call", header).await);
        assert_eq!(got, code, "{said}");
        assert!(said.contains(text), "{said}");
    }
}

//! Conversations that do not come through the room: sockets and child processes.

use super::{Running, config};
use crate::agent::config::{WebSocketAuth, WebSocketConfig};
use crate::agent::pack::{pack, unpack};
use crate::client::room::Token;
use crate::client::room::fake::FakeRoom;
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

const LIMIT: Duration = Duration::from_secs(20);

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(text: &str) -> Value {
    json!({"type": "meshagent.agent.thread.start", "message_id": "m", "content": [{"type": "text", "text": text}]})
}

fn is(message: &Value, kind: &str) -> bool {
    message["type"] == format!("meshagent.agent.{kind}")
}

#[tokio::test]
async fn a_socket_of_the_agents_own_carries_conversations() {
    let room = FakeRoom::start().await;
    let port = free_port();
    let mut config = config(&room, &[&format!("websocket:{port}")]);
    config.websocket = WebSocketConfig { auth: WebSocketAuth::Jwt, secret: Some(Token::new("s3cret")) };
    let agent = Running::start(config);
    let claims = json!({"name": "ann", "grants": [{"name": "agent", "scope": "bob"}]});
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(b"s3cret")).unwrap();
    let request = |token: &str| {
        let mut request = format!("ws://127.0.0.1:{port}/messages").into_client_request().unwrap();
        let protocols = format!("meshagent-msgpack, meshagent-token.{token}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request
    };
    let connect = async {
        loop {
            match tokio_tungstenite::connect_async(request(&token)).await {
                Ok(connected) => return connected,
                Err(Error::Io(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let (mut socket, answer) = tokio::time::timeout(LIMIT, connect).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "meshagent-msgpack");
    let refused = tokio_tungstenite::connect_async(request("x.y.z")).await.unwrap_err();
    assert!(matches!(&refused, Error::Http(answer) if answer.status() == 401), "{refused}");
    let healthy = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await.unwrap();
    assert_eq!(healthy.text().await.unwrap(), "ok\n");

    socket.send(Message::Binary(pack(&start("over a socket")).into())).await.unwrap();
    let talk = async {
        let mut kinds = Vec::new();
        loop {
            let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
            let message = unpack(&bytes).unwrap().0;
            if is(&message, "text_content.delta") {
                assert!(message["text"].as_str().unwrap().contains("> over a socket"), "{message}");
            }
            let ended = is(&message, "turn.ended");
            kinds.push(message["type"].as_str().unwrap().replace("meshagent.agent.", ""));
            if ended {
                return kinds;
            }
        }
    };
    let kinds = tokio::time::timeout(LIMIT, talk).await.unwrap();
    assert_eq!(kinds[0], "connection.status");
    let order = ["thread.started", "turn.start.accepted", "turn.started", "text_content.delta", "turn.ended"];
    let at =
        order.map(|kind| kinds.iter().position(|k| k == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}")));
    assert!(at.is_sorted(), "{kinds:?}");

    socket.send(Message::Text("{}".into())).await.unwrap();
    let closed = async {
        loop {
            if let Message::Close(frame) = socket.next().await.unwrap().unwrap() {
                return u16::from(frame.unwrap().code);
            }
        }
    };
    assert_eq!(tokio::time::timeout(LIMIT, closed).await.unwrap(), 1003, "a text is no message");
    agent.stop().await;
}

#[tokio::test]
async fn a_door_that_asks_nobody_is_shut_to_pages_and_to_messages_that_are_too_large() {
    let room = FakeRoom::start().await;
    let port = free_port();
    let mut config = config(&room, &[&format!("websocket:{port}")]);
    config.websocket.auth = WebSocketAuth::None;
    let agent = Running::start(config);
    let request = |header: &'static str, value: &str| {
        let mut request = format!("ws://127.0.0.1:{port}/messages").into_client_request().unwrap();
        request.headers_mut().insert(header, value.parse().unwrap());
        request
    };
    let connect = async {
        loop {
            match tokio_tungstenite::connect_async(request("origin", "http://127.0.0.1:3000")).await {
                Ok((socket, _)) => return socket,
                Err(Error::Io(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let mut socket = tokio::time::timeout(LIMIT, connect).await.unwrap();
    for (header, value) in [("origin", "https://page.example"), ("host", "page.example")] {
        let refused = tokio_tungstenite::connect_async(request(header, value)).await.unwrap_err();
        assert!(matches!(&refused, Error::Http(answer) if answer.status() == 403), "{refused}");
    }
    let large = vec![0xc0; crate::agent::pack::MESSAGE_BYTES_MAX + 1];
    // It may be cut off before all of it is sent.
    let _ = socket.send(Message::Binary(large.into())).await;
    let cut = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(LIMIT, cut).await.expect("the connection ends");
    agent.stop().await;
}

/// What is in a file, once it is there.
async fn written(file: &std::path::Path) -> String {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_child_process_brings_conversations() {
    let room = FakeRoom::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    // The program says where its socket is and leaves the talking to the test.
    let script = format!(
        "sleep 60 & echo \"$MESHAGENT_CHANNEL_URL $MESHAGENT_CHANNEL_CAPABILITY $! $MESHAGENT_ROOM\" > {0}.new; \
         env | cut -d= -f1 >> {0}.new; mv {0}.new {0}; exec sleep 60",
        file.display()
    );
    let spec = format!("command:{}", json!(["sh", "-c", script]));
    let agent = Running::start(config(&room, &[&spec]));
    let text = tokio::time::timeout(LIMIT, written(&file)).await.unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let names: Vec<&str> = text.lines().skip(1).collect();
    assert!(names.contains(&"MESHAGENT_TOKEN") && names.contains(&"PATH"), "{names:?}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the agent has what the program has not");
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    let path = words[0].strip_prefix("unix://").unwrap();
    let mut stranger = UnixStream::connect(path).await.unwrap();
    stranger.write_all(&pack(&json!({"capability": "guessed"}))).await.unwrap();
    assert_eq!(stranger.read(&mut [0; 1]).await.unwrap(), 0, "it is turned away");

    let mut stream = UnixStream::connect(path).await.unwrap();
    let sender = json!({"id": "u1", "attributes": {"name": "ann"}});
    let said = [
        pack(&json!({"capability": words[1]})),
        pack(&json!({"no": "data"})),
        pack(&json!({"data": start("by a child"), "sender": sender})),
    ];
    stream.write_all(&said.concat()).await.unwrap();
    let talk = async {
        let mut bytes = Vec::new();
        loop {
            while let Ok((message, used)) = unpack(&bytes) {
                bytes.drain(..used);
                assert_eq!(
                    (&message["to_participant_id"], &message["sender"]["id"]),
                    (&json!("u1"), &json!("u1"))
                );
                let data = &message["data"];
                if is(data, "text_content.delta") {
                    return data["text"].as_str().unwrap().to_owned();
                }
            }
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).await.unwrap();
            assert!(n > 0, "the agent hung up");
            bytes.extend_from_slice(&piece[..n]);
        }
    };
    let text = tokio::time::timeout(LIMIT, talk).await.unwrap();
    assert!(text.contains("> by a child"), "{text}");
    agent.stop().await;
    assert!(!std::path::Path::new(path).exists(), "the socket goes with the channel");
    let started = format!("/proc/{}/stat", words[2]);
    let gone = async {
        // Nobody may have waited for it so far.
        while std::fs::read_to_string(&started).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("what the program started ends with it");
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_the_agent_with_its_name() {
    let room = FakeRoom::start().await;
    let agent = Running::start(config(&room, &["command:/no/such/program"]));
    let error = agent.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("/no/such/program") && error.contains("check its name"), "{error}");
}

#[tokio::test]
async fn a_thread_that_cannot_be_opened_answers_and_is_tried_again() {
    // This room keeps no datasets.
    let room = FakeRoom::start().await;
    let port = free_port();
    let mut config = config(&room, &[&format!("websocket:{port}")]);
    config.websocket.auth = WebSocketAuth::None;
    config.threads.stored = true;
    let agent = Running::start(config);
    let connect = async {
        loop {
            match tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/messages")).await {
                Ok((socket, _)) => return socket,
                Err(Error::Io(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let mut socket = tokio::time::timeout(LIMIT, connect).await.unwrap();
    let thread = "dataset://agents/bob/threads/x";
    let open =
        json!({"type": "meshagent.agent.thread.open", "message_id": "o", "thread_id": thread, "load": true});
    let turn =
        json!({"type": "meshagent.agent.turn.start", "message_id": "t", "thread_id": thread, "content": []});
    for (said, answer) in [(&open, "thread.loaded"), (&turn, "turn.start.rejected"), (&open, "thread.loaded")]
    {
        socket.send(Message::Binary(pack(said).into())).await.unwrap();
        let heard = async {
            let mut told = None;
            loop {
                let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() else { continue };
                let message = unpack(&bytes).unwrap().0;
                if is(&message, "thread.event") {
                    told = message["event"]["details"][0].as_str().map(str::to_owned);
                }
                if is(&message, answer) {
                    assert_eq!(message["source_message_id"], said["message_id"]);
                    return told.or_else(|| message["error"]["message"].as_str().map(str::to_owned));
                }
            }
        };
        let told = tokio::time::timeout(LIMIT, heard).await.unwrap().expect("a reason");
        assert!(told.contains("cannot be opened"), "{told}");
    }
    agent.stop().await;
}

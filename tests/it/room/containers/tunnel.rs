//! Tunnels to ports of containers.

use super::rig::{PATIENCE, Rig, run};
use crate::room::client::refusal;
use futures_util::{SinkExt, StreamExt};
use meshagent::client::room::Token;
use meshagent::client::tunnel::{self, Tunnels};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A container that answers each connection with what it gets.
async fn echo(rig: &Rig) -> String {
    let mut a = rig.join("room", "ann").await;
    let id = run(&mut a, json!({"command": "nc -ll -p 7000 -e cat", "name": "echo"})).await;
    std::mem::forget(a);
    id
}

async fn tunnels(rig: &Rig, id: &str, api: &Value) -> Tunnels {
    let token = Token::new(rig.token("room", "ann", api).await);
    Tunnels { base: format!("http://{}", rig.address), token, container: id.to_owned(), port: 7000 }
}

/// Opens a tunnel; the program in the container may still be starting.
async fn opened(tunnels: &Tunnels) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = tunnels.open().await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_a_container_is_one_of_this_machine() {
    let Some(rig) = Rig::start().await else { return };
    let id = echo(&rig).await;
    let tunnels = tunnels(&rig, &id, &json!({"tunnels": {"ports": ["7000"]}})).await;
    opened(&tunnels).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let serving = tokio::spawn(tunnel::serve(listener, tunnels.clone()));
    // More than all buffers between the two ends hold, both ways at once.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let (mut from, mut to) = TcpStream::connect(local).await.unwrap().into_split();
    let out = sent.clone();
    let writing = tokio::spawn(async move {
        to.write_all(&out).await.unwrap();
        to
    });
    let mut got = vec![0; sent.len()];
    tokio::time::timeout(PATIENCE, from.read_exact(&mut got)).await.unwrap().unwrap();
    assert!(got == sent, "bytes were changed");
    drop(writing.await.unwrap());
    serving.abort();

    // By name, with text frames that mean nothing.
    let by_name = Tunnels { container: "echo".into(), ..tunnels };
    let mut socket = by_name.open().await.unwrap();
    socket.send(Message::text("not bytes")).await.unwrap();
    socket.send(Message::Binary(b"bytes".as_slice().into())).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::Binary(b"bytes".as_slice().into()));
    rig.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_need_their_grant_a_port_that_answers_and_a_container_of_the_room() {
    let Some(rig) = Rig::start().await else { return };
    let id = echo(&rig).await;
    let all = json!({"tunnels": {}});
    opened(&tunnels(&rig, &id, &all).await).await;
    let other = Token::new(rig.token("elsewhere", "ann", &all).await);
    for (path, token, status) in [
        (format!("{id}/7000/"), rig.token("room", "ann", &json!({"containers": {}})).await, 403),
        (format!("{id}/7000/"), rig.token("room", "ann", &json!({"tunnels": {"ports": ["80"]}})).await, 403),
        (format!("{id}/7000/"), "nonsense".to_owned(), 403),
        (format!("{id}/7000/"), other.reveal().to_owned(), 404),
        (format!("{id}/7001/"), rig.token("room", "ann", &all).await, 502),
        (format!("{id}/0/"), rig.token("room", "ann", &all).await, 400),
        (format!("{id}/70000/"), rig.token("room", "ann", &all).await, 400),
        ("nobody-there/7000/".to_owned(), rig.token("room", "ann", &all).await, 404),
    ] {
        let mut request = format!("ws://{}/tunnel/{path}", rig.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (found, text) = refusal(tokio_tungstenite::connect_async(request).await.unwrap_err());
        assert_eq!(found.as_u16(), status, "{path}: {text}");
        assert!(text.contains("message"), "{text}");
    }
    rig.server.stop().await;
}

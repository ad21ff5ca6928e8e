//! Getting in: where the token comes from, and refusals before the upgrade.

use super::client::{Client, connect, refusal};
use super::harness::{Edge, token};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

#[tokio::test]
async fn a_browser_hands_its_token_over_as_a_sub_protocol_and_gets_it_back() {
    let edge = Edge::start().await;
    let protocol = format!("meshagent-room.{}", token(&json!({"name": "web"})));
    let mut request = format!("ws://{}/rooms/room", edge.address).into_client_request().unwrap();
    let value = HeaderValue::from_str(&protocol).unwrap();
    request.headers_mut().insert("sec-websocket-protocol", value);
    let (socket, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol.as_str());
    Client::on(socket).await;
}

#[tokio::test]
async fn a_token_may_be_in_the_query_and_the_path_may_begin_with_two_slashes() {
    let edge = Edge::start().await;
    let token = token(&json!({"name": "old"}));
    for path in ["/rooms/room", "//rooms/room"] {
        let url = format!("ws://{}{path}?v=0.55.1&token={token}", edge.address);
        let (socket, response) = connect_async(url).await.unwrap();
        assert!(response.headers().get("sec-websocket-protocol").is_none());
        Client::on(socket).await;
    }
}

#[tokio::test]
async fn refusals_come_before_the_upgrade_and_say_what_to_do() {
    let edge = Edge::start().await;
    let good = token(&json!({"name": "a"}));
    let cases = [
        ("room", "zz", StatusCode::FORBIDDEN, "mint another"),
        ("gone", &good, StatusCode::NOT_FOUND, "create it"),
        ("off", &good, StatusCode::LOCKED, "enable it"),
        ("starting", &good, StatusCode::SERVICE_UNAVAILABLE, "connect again"),
    ];
    for (room, token, status, text) in cases {
        let (got, body) = refusal(connect(edge.address, room, token).await.unwrap_err());
        assert_eq!(got, status, "{room}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(text), "{room}: {message}");
    }
    let (status, body) =
        refusal(connect_async(format!("ws://{}/rooms/room", edge.address)).await.unwrap_err());
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("Authorization: Bearer"), "{body}");
}

#[tokio::test]
async fn a_plain_request_is_no_upgrade() {
    let edge = Edge::start().await;
    let url = format!("http://{}/rooms/room?token={}", edge.address, token(&json!({"name": "a"})));
    let response = reqwest::get(url).await.unwrap();
    assert!(response.status().is_client_error(), "{}", response.status());
}

#[tokio::test]
async fn a_client_is_forwarded_to_the_server_that_hosts_the_session() {
    let (near, far) = (Edge::start().await, Edge::start().await);
    *near.keeper.far.lock().unwrap() = Some(format!("http://{}/rooms/far", far.address));
    let mut client = Client::enter(near.address, "far", &token(&json!({"name": "a"}))).await;
    let sent = json!({"name": "q", "create": true, "message": {"n": 1}});
    client.invoke("queues", "send", sent).await;
    assert_eq!(far.queues.list(super::harness::room_id("far")).await.unwrap().len(), 1);
    assert!(near.queues.list(super::harness::room_id("far")).await.unwrap().is_empty());
    drop(far);
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_503_so_that_clients_come_back() {
    let edge = Edge::start().await;
    *edge.keeper.far.lock().unwrap() = Some("ws://127.0.0.1:1/rooms/far".into());
    let (status, _) = refusal(connect(edge.address, "far", &token(&json!({"name": "a"}))).await.unwrap_err());
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

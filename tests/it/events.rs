//! What happened is told to those who asked for it, however often the server dies in between.

use crate::support::server::Server;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use meshagent::client::rest::{Bearer, Rest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_mins(1);

pub fn rest(server: &Server) -> Rest {
    Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap()
}

/// What a command prints; it must succeed.
pub fn command(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_meshagent"))
        .args(arguments)
        .env("HOME", server.data_dir())
        .env("MESHAGENT_API_URL", &server.url)
        .env("MESHAGENT_PROJECT_ID", &server.project_id)
        .env("MESHAGENT_API_KEY", &server.api_key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Killed at once after the answer to each change: what was acknowledged is told, once.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_of_every_service_over_kills() {
    let mut server = Server::start(&[]);
    let base = ["accounts", "projects", &server.project_id.clone(), "rooms"].map(str::to_owned);
    let rooms: Vec<&str> = base.iter().map(String::as_str).collect();
    rest(&server).post(&rooms, &json!({"name": "desk"})).await.unwrap();
    let services = [&rooms[..], &["desk", "services"]].concat();
    let service = |name: &str, annotations: Value| {
        json!({"version": "v1", "kind": "Service", "metadata": {"name": name},
            "agents": [{"name": name, "annotations": annotations}]})
    };
    let wrong = service("clerk", json!({"meshagent.events.service.create": "news"}));
    let refused = rest(&server).post(&services, &wrong).await.unwrap_err().to_string();
    assert!(refused.contains("there are `service.created`, `service.updated`"), "{refused}");
    let clerk = service("clerk", json!({"meshagent.events.service.created": "news"}));
    rest(&server).post(&services, &clerk).await.unwrap();
    for n in 0..4 {
        rest(&server).post(&services, &service(&format!("s{n}"), json!({}))).await.unwrap();
        server.kill_9();
        server.restart();
    }
    let mut names = Vec::new();
    for _ in 0..5 {
        let said =
            command(&server, &["room", "queue", "receive", "--room", "desk", "--queue", "news", "--wait"]);
        let item: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(item["event"], "service.created", "{said}");
        names.push(item["data"]["service"]["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["clerk", "s0", "s1", "s2", "s3"]);
}

/// A receiver that answers as told; what it is sent comes out of the channel.
async fn receiver(answers: Vec<u16>) -> (SocketAddr, mpsc::Receiver<(HeaderMap, String)>) {
    let (sender, calls) = mpsc::channel(64);
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let handler = move |headers: HeaderMap, body: String| async move {
        let answer = answers.lock().unwrap().pop_front().unwrap_or(200);
        let _ = sender.try_send((headers, body));
        StatusCode::from_u16(answer).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/hook", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, calls)
}

async fn call(calls: &mut mpsc::Receiver<(HeaderMap, String)>) -> (HeaderMap, Value) {
    let (headers, body) = tokio::time::timeout(LIMIT, calls.recv()).await.expect("no call came").unwrap();
    (headers, serde_json::from_str(&body).unwrap())
}

fn event_of(call: &Value) -> String {
    format!("{} {}", call["event"].as_str().unwrap(), call["data"]["room_name"].as_str().unwrap())
}

/// Waits until the deliveries of a webhook are as asked.
async fn until_deliveries(server: &Server, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let project = rest(server).project(&server.project_id);
    let wait = async {
        loop {
            let all = project.webhook_deliveries(id).await.unwrap();
            if fits(&all) {
                return all;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the deliveries did not become so")
}

fn count(of: &Value) -> usize {
    of.as_array().unwrap().len()
}

/// The receiver fails first, the server is killed while calls wait, and each room is told of in order.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_called_in_order_over_failures_and_kills() {
    let mut server = Server::start(&["--allow-host", "127.0.0.1"]);
    let (address, mut calls) = receiver(vec![503, 500]).await;
    let url = format!("http://{address}/hook");
    let made = command(
        &server,
        &[
            "webhook",
            "create",
            "--name",
            "ops",
            "--url",
            &url,
            "--event",
            "room.started",
            "--event",
            "room.ended",
            "-o",
            "json",
        ],
    );
    let id = serde_json::from_str::<Value>(&made).unwrap()["id"].as_str().unwrap().to_owned();
    let project = rest(&server).project(&server.project_id);
    command(&server, &["rooms", "create", "--name", "desk"]);
    project.connect("desk").await.unwrap();
    let (headers, first) = call(&mut calls).await;
    assert_eq!(event_of(&first), "room.started desk");
    assert!(first["data"]["room_url"].as_str().unwrap().ends_with("/rooms/desk"));
    signed(&server, &headers, &first).await;
    // The try failed: it is on record, and the next one comes by itself, after a kill too.
    until_deliveries(&server, &id, |all| all["waiting"][0]["attempts"] == 1).await;
    server.kill_9();
    server.restart();
    // Of the killed server's session the end is told, and then the start of the next; before that, the first again.
    let mut again = 0;
    let ended = loop {
        let (_, next) = call(&mut calls).await;
        if event_of(&next) != "room.started desk" {
            break next;
        }
        assert_eq!(next["data"]["delivery_id"], first["data"]["delivery_id"], "the same call");
        again += 1;
    };
    assert!(again >= 2, "one try was answered with 503, one with 500");
    assert_eq!(event_of(&ended), "room.ended desk");
    let project = rest(&server).project(&server.project_id);
    project.connect("desk").await.unwrap();
    assert_eq!(event_of(&call(&mut calls).await.1), "room.started desk");
    let session = project.sessions(1, None).await.unwrap().remove(0).id;
    project.kill_session(&session).await.unwrap();
    assert_eq!(event_of(&call(&mut calls).await.1), "room.ended desk");
    until_deliveries(&server, &id, |all| count(&all["waiting"]) == 0).await;
    let shown: Value =
        serde_json::from_str(&command(&server, &["webhook", "get", &id, "-o", "json"])).unwrap();
    assert_eq!((&shown["delivered"], &shown["abandoned"]), (&json!(4), &json!(0)));
}

/// What cannot be called is a dead letter with its reason, and goes out when it is corrected and replayed.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_are_dead_letters_to_replay() {
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let (address, mut calls) = receiver(vec![410]).await;
    let project = rest(&server).project(&server.project_id);
    for (body, why) in [
        (json!({"name": "w", "url": "file:///etc/passwd", "events": ["room.started"]}), "not file"),
        (json!({"name": "w", "url": "http://u:p@h/", "events": ["room.started"]}), "a user or a password"),
        (json!({"name": "w", "url": "nothing", "events": ["room.started"]}), "is no URL"),
        (
            json!({"name": "w", "url": "http://h/", "events": ["room.opened"]}),
            "there is no event `room.opened`",
        ),
        (json!({"name": "w", "url": "http://h/", "events": []}), "needs events"),
        (json!({"name": " ", "url": "http://h/", "events": ["room.ended"]}), "needs a name"),
        (
            json!({"name": "w", "url": "http://h/", "events": ["room.ended"], "action": "x"}),
            "leave out `action`",
        ),
        (
            json!({"name": "w", "url": "http://h/", "events": ["room.ended"], "payload": {}}),
            "leave out `payload`",
        ),
    ] {
        let said = project.create_webhook(&body).await.unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    // As the npm SDK sends it.
    let body = json!({"name": "ops", "description": "", "url": "http://localhost:1/hook",
        "events": ["room.started"], "action": "", "payload": null});
    let made = project.create_webhook(&body).await.unwrap();
    let id = made["id"].as_str().unwrap();
    command(&server, &["rooms", "create", "--name", "desk"]);
    project.connect("desk").await.unwrap();
    let all = until_deliveries(&server, id, |all| count(&all["dead"]) == 1).await;
    assert!(
        all["dead"][0]["reason"].as_str().unwrap().contains("`localhost` is not a public address"),
        "{all}"
    );
    let listed = command(&server, &["webhook", "deliveries", id]);
    assert!(listed.contains("dead") && listed.contains("room.started"), "{listed}");

    command(&server, &["webhook", "update", id, "--url", &format!("http://{address}/hook")]);
    assert_eq!(project.replay_webhook(id, &[]).await.unwrap(), 1);
    assert_eq!(event_of(&call(&mut calls).await.1), "room.started desk");
    // The receiver said that it wants no more: no further try.
    until_deliveries(&server, id, |all| count(&all["dead"]) == 1 && count(&all["waiting"]) == 0).await;
    command(&server, &["webhook", "replay", id]);
    assert_eq!(event_of(&call(&mut calls).await.1), "room.started desk");
    until_deliveries(&server, id, |all| count(&all["dead"]) + count(&all["waiting"]) == 0).await;
    command(&server, &["webhook", "delete", id]);
    assert!(project.webhook(id).await.unwrap_err().is_not_found());
}

/// Checks the signature as the clients' webhook server does: over the event as Python writes it.
async fn signed(server: &Server, headers: &HeaderMap, event: &Value) {
    let secret = rest(server).project(&server.project_id).webhook_secret().await.unwrap();
    let token = headers["meshagent-signature"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    let key = DecodingKey::from_secret(secret.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
    let text = meshagent::net::python_json::dumps(event);
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(claims["sha256"], json!(digest));
}

//! What happened is told to those who asked for it, however often the server dies in between.

use crate::support::server::Server;
use meshagent::client::rest::{Bearer, Rest};
use serde_json::{Value, json};
use std::process::Command;

fn rest(server: &Server) -> Rest {
    Rest::new(&server.url, Some(Bearer::new(server.api_key.clone()))).unwrap()
}

/// What a command prints; it must succeed.
fn command(server: &Server, arguments: &[&str]) -> String {
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

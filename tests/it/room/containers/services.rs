//! Services in containers: started, watched, restarted, never twice, whatever happens to the server.

use crate::support::podman::{self, IMAGE};
use crate::support::server::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// A service of the test image.
fn service(name: &str, command: &str) -> Value {
    json!({
        "version": "v1", "kind": "Service", "metadata": {"name": name},
        "ports": [{"num": 8000, "liveness": "/seen"}],
        "container": {"image": IMAGE, "command": command, "template": "agent", "private": false},
    })
}

struct Api {
    client: reqwest::Client,
    base: String,
    key: String,
}

impl Api {
    fn new(server: &Server) -> Self {
        let base = format!("{}/accounts/projects/{}", server.url, server.project_id);
        Self { client: reqwest::Client::new(), base, key: server.api_key.clone() }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let sent = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.key).json(body);
        let answer = sent.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Somebody in the room, by a token of the connect endpoint.
    async fn enter(&self, server: &Server, room: &str) -> crate::room::client::Client {
        let connection = self.post(&format!("/rooms/{room}/connect"), &json!({})).await;
        let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
        crate::room::client::Client::enter(address, room, connection["jwt"].as_str().unwrap()).await
    }
}

/// The state of the room's only service, once it is as wanted.
async fn state(client: &mut crate::room::client::Client, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = crate::room::client::json_of(client.invoke("services", "list", json!({})).await);
        let state = listed["service_states"][0].clone();
        if wanted(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "{state:#}");
    }
}

fn is_ready(state: &Value) -> bool {
    state["state"] == "running" && state["status"]["ports"][0]["liveness_status"] == "ready"
}

async fn containers(client: &mut crate::room::client::Client) -> Vec<Value> {
    super::rig::list(client, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_runs_in_one_container_through_ends_and_kills() {
    let Some(engine) = tokio::task::spawn_blocking(podman::engine).await.unwrap() else { return };
    let address = engine.address();
    let mut server =
        tokio::task::spawn_blocking(move || Server::start(&["--container-engine", &address])).await.unwrap();
    let api = Api::new(&server);
    api.post("/rooms", &json!({"name": "room"})).await;
    let command = "sh -c 'echo hello from $MESHAGENT_ROOM; touch /data/seen; httpd -f -p 8000 -h /data'";
    api.post("/rooms/room/services", &service("web", command)).await;
    let mut client = api.enter(&server, "room").await;
    let ready = state(&mut client, is_ready).await;
    let id = ready["container_id"].as_str().unwrap().to_owned();
    let running = containers(&mut client).await;
    assert_eq!((running.len(), running[0]["id"].as_str()), (1, Some(id.as_str())), "{running:?}");
    assert_eq!(running[0]["service_id"], ready["service_id"]);
    assert_eq!(running[0]["name"], "web");
    let files = json!({"path": "seen"});
    let stat = crate::room::client::json_of(client.invoke("storage", "exists", files).await);
    assert_eq!(stat["exists"], true, "the room's files are at /data");
    assert!(super::rig::logs(&mut client, &id, false).await.contains("hello from room"));

    // It ends and is started again, after a while.
    let kill = json!({"container_id": id, "force": true});
    client.invoke("containers", "stop_container", kill).await;
    let again = state(&mut client, |state| is_ready(state) && state["container_id"] != json!(id)).await;
    assert!(again["restart_count"].as_u64().unwrap() >= 1, "{again:#}");
    assert_eq!(containers(&mut client).await.len(), 1);

    // The server is killed; the container goes on without it, and there is one again afterwards.
    drop(client);
    server.kill_9();
    let mut server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    })
    .await
    .unwrap();
    let api = Api::new(&server);
    let mut client = api.enter(&server, "room").await;
    state(&mut client, is_ready).await;
    assert_eq!(containers(&mut client).await.len(), 1, "never twice");
    server.kill_9();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_service_says_what_to_install() {
    let start = || Server::start(&["--container-engine", "unix:///nowhere/at/all.sock"]);
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let api = Api::new(&server);
    api.post("/rooms", &json!({"name": "room"})).await;
    api.post("/rooms/room/services", &service("web", "httpd -f")).await;
    let mut client = api.enter(&server, "room").await;
    let failed = state(&mut client, |state| state["last_start_error"].is_string()).await;
    let text = failed["last_start_error"].as_str().unwrap();
    assert!(text.contains("apt-get install podman") && text.contains("/nowhere/at/all.sock"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_demand_runs_when_somebody_asks() {
    let Some(engine) = tokio::task::spawn_blocking(podman::engine).await.unwrap() else { return };
    let address = engine.address();
    let server =
        tokio::task::spawn_blocking(move || Server::start(&["--container-engine", &address])).await.unwrap();
    let api = Api::new(&server);
    api.post("/rooms", &json!({"name": "room"})).await;
    let mut spec = service("job", "sh -c 'echo $WHO; exit 4'");
    spec["container"]["on_demand"] = json!(true);
    spec["ports"] = json!([]);
    api.post("/rooms/room/services", &spec).await;
    let mut client = api.enter(&server, "room").await;
    state(&mut client, |state| state["state"] == "on_demand").await;
    let env = json!([{"key": "WHO", "value": "somebody"}]);
    let input = json!({"service_id": "job", "env": env});
    let started = crate::room::client::json_of(client.invoke("containers", "run_service", input).await);
    let id = started["container_id"].as_str().unwrap();
    let ended = client.invoke("containers", "wait_for_exit", json!({"container_id": id})).await;
    assert_eq!(crate::room::client::json_of(ended)["exit_code"], 4);
    assert_eq!(super::rig::logs(&mut client, id, false).await, "somebody\n");
    let (code, text) =
        client.fails("containers", "run_service", json!({"service_id": "nobody", "env": []})).await;
    assert_eq!(code, 7001, "{text}");
}

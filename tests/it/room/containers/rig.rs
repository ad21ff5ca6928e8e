//! A whole server beside a Podman of this test process.

use crate::room::client::{Client, json_of};
use crate::support::podman::{self, IMAGE};
use bytes::Bytes;
use meshagent::app::token::Mint;
use meshagent::server::{Options, Server};
use meshagent::wire::{Content, Control};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long things may take that nobody announces.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct Rig {
    pub server: Server,
    pub address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Rig {
    /// `None`, said aloud, without Podman.
    pub async fn start() -> Option<Self> {
        let engine = tokio::task::spawn_blocking(podman::engine).await.unwrap()?;
        Some(Self::with(vec![engine.address()]).await)
    }

    pub async fn with(engines: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().to_owned(), "127.0.0.1:0".parse().unwrap());
        options.containers.addresses = engines;
        let server = Server::start(options).await.unwrap();
        let address = server.connection().api_url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { server, address, dir }
    }

    pub async fn token(&self, room: &str, name: &str, api: &Value) -> String {
        let mut mint = Mint::new(self.server.connection().project_id.parse().unwrap(), name);
        mint.room = Some(room.to_owned());
        mint.api = Some(serde_json::from_value(api.clone()).unwrap());
        self.server.app().mint(mint).await.unwrap()
    }

    /// Somebody with what an agent gets by default, and tunnels.
    pub async fn join(&self, room: &str, name: &str) -> Client {
        let mut api = serde_json::to_value(meshagent::spec::ApiScope::agent_default()).unwrap();
        api["tunnels"] = json!({});
        Client::enter(self.address, room, &self.token(room, name, &api).await).await
    }

    /// The folder of a room's files.
    pub fn files(&self, room: &str) -> PathBuf {
        let project = self.server.connection().project_id.parse().unwrap();
        let world = self.server.app().world();
        let (id, _) = world.room_named(project, room).unwrap();
        meshagent::volume::Volume::new(self.dir.path()).folder(id, "files")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Runs the test image with these fields besides; the container's id.
pub async fn run(client: &mut Client, fields: Value) -> String {
    let mut input = json!({"image": IMAGE, "env": [], "ports": [], "credentials": [], "template": "none"});
    input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let answer = json_of(client.invoke("containers", "run", input).await);
    answer["container_id"].as_str().unwrap().to_owned()
}

/// Runs a shell line to its end; its exit code and what it wrote.
pub async fn line(client: &mut Client, fields: Value, line: &str) -> (i64, String) {
    let mut all = json!({"command": format!("sh -c {}", quoted(line))});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let id = run(client, all).await;
    let ended = json_of(client.invoke("containers", "wait_for_exit", json!({"container_id": id})).await);
    let text = logs(client, &id, false).await;
    assert_eq!(
        client.invoke("containers", "delete_container", json!({"container_id": id})).await,
        Content::Empty
    );
    (ended["exit_code"].as_i64().unwrap(), text)
}

pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The log of a container or a job to its end.
pub async fn logs(client: &mut Client, id: &str, follow: bool) -> String {
    let call = format!("logs-{id}-{follow}");
    let start = json!({"kind": "start", "request_id": "r", "container_id": id, "follow": follow});
    let request = client.open("containers", "logs", &call).await;
    client.item(&call, Content::binary(start, Bytes::new())).await;
    assert_eq!(client.answer(request).await, Content::Control(Control::Open));
    let mut text = String::new();
    loop {
        match client.chunk(&call).await {
            Content::Binary { headers, data } => {
                assert_eq!(headers["channel"], 1);
                text.push_str(std::str::from_utf8(&data).expect("each piece is UTF-8"));
            }
            Content::Control(Control::Close { status: 1000, .. }) => return text,
            other => panic!("{other:?}"),
        }
    }
}

/// The room's containers.
pub async fn list(client: &mut Client, all: bool) -> Vec<Value> {
    let answer = json_of(client.invoke("containers", "list_containers", json!({"all": all})).await);
    answer["containers"].as_array().unwrap().clone()
}

//! A server under test, as a child process.

use super::{Options, failed};
use crate::bench::BenchError;
use crate::bench::process::Used;
use crate::client::token::{Participant, sign};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a start may take; the peer's first start installs it.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// Pause between two looks for readiness.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The room that is measured.
const ROOM: &str = "fanout";

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Kind {
    Ours,
    Peer,
}

/// A running server.
pub(in crate::bench) struct Contestant {
    pub kind: Kind,
    pub name: String,
    pub address: SocketAddr,
    pid: u32,
    api_key: String,
    project: String,
    child: Child,
    _folder: Option<Folder>,
}

/// A folder that goes when dropped.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Deserialize)]
struct Connection {
    api_url: String,
    project_id: String,
    api_key: String,
}

#[derive(Deserialize)]
struct Listening {
    version: String,
    port: u16,
    pid: u32,
}

impl Contestant {
    /// `None` for a peer that is not to be measured.
    pub async fn start(kind: Kind, options: &Options) -> Result<Option<Self>, BenchError> {
        match (kind, &options.peer_script) {
            (Kind::Ours, _) => Self::ours(&options.program).await.map(Some),
            (Kind::Peer, Some(script)) => Self::peer(script, "node ws").await.map(Some),
            (Kind::Peer, None) => Ok(None),
        }
    }

    pub async fn ours(program: &Path) -> Result<Self, BenchError> {
        use crate::clock::{IdSource, System};
        let path = std::env::temp_dir().join(format!("meshagent-fanout-{}", System.fresh().simple()));
        Self::ours_in(program, &path, &[]).await
    }

    /// On a fresh data directory, which goes with it, with these variables in its environment.
    pub async fn ours_in(program: &Path, dir: &Path, env: &[(&str, String)]) -> Result<Self, BenchError> {
        const NAME: &str = "meshagent";
        std::fs::create_dir(dir).map_err(|error| failed(NAME, error))?;
        let folder = Folder(dir.to_owned());
        let log = std::fs::File::create(folder.0.join("server.log")).map_err(|error| failed(NAME, error))?;
        let child = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&folder.0)
            .env_remove("MESHAGENT_API_KEY")
            .env_remove("MESHAGENT_DATABASE_URL")
            .env("MESHAGENT_LOG", "error")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(NAME, error))?;
        let pid = child.id().unwrap_or_default();
        let ready = async {
            loop {
                let file = std::fs::read(folder.0.join("connection.json")).ok();
                if let Some(connection) = file.and_then(|f| serde_json::from_slice::<Connection>(&f).ok()) {
                    return connection;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let connection = tokio::time::timeout(READY_LIMIT, ready)
            .await
            .map_err(|_| failed(NAME, "the server did not become ready"))?;
        let address = connection.api_url.trim_start_matches("http://").parse();
        let address = address.map_err(|error| failed(NAME, error))?;
        let name = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            kind: Kind::Ours,
            name,
            address,
            pid,
            api_key: connection.api_key,
            project: connection.project_id,
            child,
            _folder: Some(folder),
        })
    }

    /// The server that a script starts: it prints its version, port and process id as JSON.
    pub async fn peer(script: &Path, name: &str) -> Result<Self, BenchError> {
        let child = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(name, format!("{}: {error}", script.display())));
        let mut child = child?;
        let output = child.stdout.take().ok_or_else(|| failed(name, "it has no output"))?;
        let line = tokio::time::timeout(READY_LIMIT, BufReader::new(output).lines().next_line()).await;
        let line = line.map_err(|_| failed(name, "it did not become ready"))?;
        let line = line.map_err(|error| failed(name, error))?.unwrap_or_default();
        let listening: Listening = serde_json::from_str(&line).map_err(|error| failed(name, error))?;
        Ok(Self {
            kind: Kind::Peer,
            name: format!("{name} {}", listening.version),
            address: SocketAddr::from(([127, 0, 0, 1], listening.port)),
            pid: listening.pid,
            api_key: String::new(),
            project: String::new(),
            child,
            _folder: None,
        })
    }

    pub fn project(&self) -> &str {
        &self.project
    }

    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Path and query that a participant asks for.
    pub fn path(&self, name: &str) -> Result<String, BenchError> {
        if self.kind == Kind::Peer {
            return Ok("/".to_owned());
        }
        // Receivers that may not list participants are not told of each other: an audience, not a meeting.
        self.way_in(name, json!({"messaging": {"list": false}}))
    }

    /// The same for a participant with this api scope.
    pub fn way_in(&self, name: &str, api: serde_json::Value) -> Result<String, BenchError> {
        if self.kind == Kind::Peer {
            return Ok("/".to_owned());
        }
        let participant =
            Participant { name: name.to_owned(), room: Some(ROOM.to_owned()), role: None, api: Some(api) };
        let token = sign(&self.api_key, &participant).map_err(|error| failed(&self.name, error))?;
        Ok(format!("/rooms/{ROOM}?token={token}"))
    }

    /// What it has used so far.
    pub fn used(&self) -> Used {
        Used::of(self.pid)
    }

    pub async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

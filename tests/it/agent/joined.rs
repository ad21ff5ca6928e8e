//! `meshagent process join` as a child process, and a participant beside it.

use crate::support::server::Server;
use meshagent::client::room::{Options, RoomClient, Token, ToolkitFilter, room_url};
use meshagent::client::token::{Participant, sign};
use meshagent::spec::ApiScope;
use serde_json::json;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(2);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Both streams.
    pub said: String,
}

/// The command, with the way to the server in its environment.
pub fn program(server: &Server, arguments: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshagent"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", server.data_dir())
        .env("MESHAGENT_API_URL", &server.url)
        .env("MESHAGENT_API_KEY", &server.api_key)
        .env("MESHAGENT_PROJECT_ID", &server.project_id)
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn command(server: &Server, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    let out = program(server, arguments, env).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    Ended { code: out.status.code(), said: String::from_utf8_lossy(&said).into_owned() }
}

/// A running agent named `support-agent`; killed when dropped.
#[derive(Debug)]
pub struct Joined(Child);

impl Joined {
    pub fn start(server: &Server, room: &str, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let join = ["process", "join", "--room", room, "--agent-name", "support-agent"];
        let all = [&join, flags].concat();
        Self(program(server, &all, env).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until its toolkit is in the room.
    pub async fn until(&mut self, room: &RoomClient) {
        let filter = ToolkitFilter {
            participant_name: Some("support-agent".into()),
            timeout_s: Some(1),
            ..Default::default()
        };
        let there = async {
            while !room.list_toolkits(&filter).await.unwrap().iter().any(|t| t.name == "support-agent") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, there).await.expect("the agent never came");
    }

    /// Asks it to stop, as a runtime does, and waits.
    pub fn terminate(&mut self) -> Ended {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let code = self.0.wait().unwrap().code();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        Ended { code, said }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A token with all rights that an agent has, but those that `api` names in another way.
pub fn token(server: &Server, name: &str, room: &str, api: serde_json::Value) -> String {
    let mut scope = json!(ApiScope::agent_default());
    for (toolkit, grants) in api.as_object().unwrap() {
        scope[toolkit] = grants.clone();
    }
    let participant =
        Participant { name: name.into(), room: Some(room.into()), role: None, api: Some(scope) };
    sign(&server.api_key, &participant).unwrap()
}

/// A participant with all rights that an agent has.
pub async fn client(server: &Server, name: &str, room: &str) -> RoomClient {
    let api = Some(json!(ApiScope::agent_default()));
    let participant = Participant { name: name.into(), room: Some(room.into()), role: None, api };
    let token = Token::new(sign(&server.api_key, &participant).unwrap());
    RoomClient::connect(Options::new(room_url(&server.url, room), token)).await.unwrap()
}

/// Waits until the room has a file with this text.
pub async fn file(room: &RoomClient, path: &str, text: &str) {
    // Listening before looking: what is written in between is heard.
    let mut pushes = room.pushes();
    let there = async {
        while !room.storage().exists(path).await.unwrap() {
            while pushes.recv().await.unwrap().kind != "storage.file.updated" {}
        }
    };
    tokio::time::timeout(LIMIT, there).await.unwrap_or_else(|_| panic!("{path} was never written"));
    assert_eq!(room.storage().read(path, 1000).await.unwrap().0, text);
}

/// A prompt whose fenced block `builtin/echo` carries out.
pub fn echo_call(path: &str, text: &str) -> String {
    let call = json!({"tool": "write_file", "arguments": {"path": path, "text": text, "overwrite": true}});
    format!("Write it.\n```tool\n{call}\n```\n")
}

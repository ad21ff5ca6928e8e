//! `meshagent mcp …` between a room and the official SDKs: their scripts are in `tests/conformance`.

use crate::agent::joined::{Joined, client};
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use meshagent::client::room::{RoomClient, RoomError, Target, ToolkitFilter};
use meshagent::wire::Content;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ROOM: &str = "support";
const LIMIT: Duration = Duration::from_mins(2);

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name);
    path.to_str().unwrap().to_owned()
}

/// `meshagent mcp …` as a child process, killed when dropped.
struct Mcp(Child);

impl Drop for Mcp {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn program(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshagent"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", server.data_dir())
        .env("MESHAGENT_API_URL", &server.url)
        .env("MESHAGENT_API_KEY", &server.api_key)
        .env("MESHAGENT_PROJECT_ID", &server.project_id)
        .arg("mcp");
    command
}

impl Mcp {
    /// Starts it and waits for a line of its standard error that begins so; gives the rest of that line.
    fn start(mut command: Command, line: &str) -> (Self, String) {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let rest = loop {
            let Some(Ok(next)) = lines.next() else { panic!("it ended; it said {said:?}") };
            if let Some(rest) = next.strip_prefix(line) {
                break rest.to_owned();
            }
            said.push(next);
        };
        // Whoever writes to a pipe that nobody reads is stopped.
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), rest)
    }
}

async fn called(room: &RoomClient, tool: &str, arguments: Value) -> Result<Content, RoomError> {
    room.invoke(&Target::new("sdk", tool), Content::Json(arguments)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_server_of_standard_streams_is_a_toolkit_of_the_room() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let room = client(&server, "ann", ROOM).await;
    let started = format!("'{}' '{}' stdio", python.python.display(), script("mcp_server.py"));
    let mut command = program(&server);
    command.args(["stdio", "--room", ROOM, "--toolkit-name", "sdk", "--command", &started]);
    let (bridge, _) = Mcp::start(command, "Toolkit sdk with 7 tools is in room support");
    let sum = called(&room, "add", json!({"a": 40, "b": 2})).await.unwrap();
    assert_eq!(sum, Content::Json(json!({"result": "python says 42"})));
    let error = called(&room, "fails", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("the python tool broke"), "{error}");
    let error = called(&room, "big", json!({})).await.unwrap_err().to_string();
    assert!(error.len() < 10_000, "{}", error.len());
    let sum = called(&room, "add", json!({"a": 1, "b": 1})).await;
    assert!(sum.is_ok(), "what was too big did no harm: {sum:?}");
    called(&room, "turn", json!({})).await.unwrap();
    let changed = async {
        loop {
            let all = room.list_toolkits(&ToolkitFilter::default()).await.unwrap();
            let toolkit = all.iter().find(|toolkit| toolkit.name == "sdk");
            let text = toolkit.map(|toolkit| toolkit.tools["greet"]["description"].to_string());
            if text.is_some_and(|text| text.contains("attacker")) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, changed).await.expect("the room never heard of the change");
    drop(bridge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typescript_server_over_http_is_a_toolkit_of_the_room() {
    let Some(node) = clients::mcp() else { return };
    let server = Server::start(&[]);
    let room = client(&server, "ann", ROOM).await;
    let mut sdk = Command::new(&node.node);
    sdk.args([&script("mcp-server.mjs"), "http"]).env("NODE_MODULES", node.folder.join("node_modules"));
    let mut sdk = Script::start(sdk);
    let url = format!("http://127.0.0.1:{}/mcp", sdk.must_tell("listening "));
    let mut command = program(&server);
    command.args(["http", "--room", ROOM, "--toolkit-name", "sdk", "--url", &url, "-H", "X-Team: a"]);
    let (_bridge, _) = Mcp::start(command, "Toolkit sdk with 5 tools is in room support");
    let sum = called(&room, "add", json!({"a": 40, "b": 2})).await.unwrap();
    assert_eq!(sum, Content::Text("typescript says 42".into()));
    let shape = called(&room, "shape", json!({})).await.unwrap();
    assert_eq!(shape, Content::Json(json!({"sides": 3})));
    let error = called(&room, "fails", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("the typescript tool broke"), "{error}");
}

const AGENT: [&str; 4] = ["--channel", "toolkit:support-agent", "--model", "builtin/echo"];
const TOOL: &str = "run_support_agent_task";
const ASKED: &str = r#"{"prompt": "say forty-two"}"#;

/// An MCP client runs our program itself and talks to it over its standard streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_client_calls_an_agent_over_standard_streams() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let room = client(&server, "ann", ROOM).await;
    let mut agent = Joined::start(&server, ROOM, &AGENT, &[]);
    agent.until(&room).await;
    let mut used = Command::new(&python.python);
    used.args([&script("mcp_client.py"), TOOL, ASKED, "stdio", env!("CARGO_BIN_EXE_meshagent")]);
    used.args(["mcp", "serve", "--room", ROOM, "--toolkit", "support-agent"]);
    for (name, value) in program(&server).get_envs() {
        used.env(name, value.unwrap_or_default());
    }
    let mut used = Script::start(used);
    used.must_say("tools run_support-agent_task run_support_agent_task");
    let said = used.must_tell("text ");
    assert!(said.contains("> say forty-two"), "{said}");
    used.must_say("done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_typescript_client_calls_an_agent_over_http() {
    let Some(node) = clients::mcp() else { return };
    let server = Server::start(&[]);
    let room = client(&server, "ann", ROOM).await;
    let mut agent = Joined::start(&server, ROOM, &AGENT, &[]);
    agent.until(&room).await;
    let mut command = program(&server);
    let toolkits = ["--toolkit", "support-agent", "--toolkit", "queues"];
    command.args(["serve", "--room", ROOM, "--listen", "127.0.0.1:0"]).args(toolkits);
    let (_serving, url) = Mcp::start(command, "Serving MCP clients at ");
    let ask = |tool: &str| {
        let mut used = Command::new(&node.node);
        used.args([&script("mcp-client.mjs"), tool, ASKED, "http", &url]);
        used.env("NODE_MODULES", node.folder.join("node_modules"));
        Script::start(used)
    };
    let mut used = ask(&format!("support-agent__{TOOL}"));
    assert!(used.must_tell("tools ").contains("queues__send"));
    let said = used.must_tell("text ");
    assert!(said.contains("> say forty-two"), "{said}");
    used.must_say("done");
    let said = ask("no_such_tool").must_tell("error ");
    assert!(said.contains("there is no tool `no_such_tool`"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_standard_streams_is_served_over_http_to_those_who_have_the_token() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let started = format!("'{}' '{}' stdio", python.python.display(), script("mcp_server.py"));
    let mut command = program(&server);
    command.args(["http-proxy", "--command", &started]).env("MESHAGENT_MCP_TOKEN", "s3cret");
    let (_serving, url) = Mcp::start(command, "Serving MCP clients at ");
    let mut used = Command::new(&python.python);
    let script = script("mcp_client.py");
    used.args([&script, "add", r#"{"a": 40, "b": 2}"#, "http", &url]).env("MCP_BEARER", "s3cret");
    assert_eq!(Script::start(used).must_tell("text "), "python says 42");
    for bearer in [None, Some("Bearer wrong"), Some("s3cret")] {
        let mut request = reqwest::Client::new().post(&url).body("{}");
        if let Some(bearer) = bearer {
            request = request.header("authorization", bearer);
        }
        assert_eq!(request.send().await.unwrap().status(), 401, "{bearer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_clients_of_the_older_way_are_brought_together() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let room = client(&server, "ann", ROOM).await;
    let mut sdk = Command::new(&python.python);
    sdk.args([&script("mcp_server.py"), "sse"]).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut sdk = Script::start(sdk);
    let url = format!("http://127.0.0.1:{}/sse", sdk.must_tell("listening "));
    let mut command = program(&server);
    command.args(["sse", "--room", ROOM, "--toolkit-name", "sdk", "--url", &url]);
    let (_bridge, _) = Mcp::start(command, "Toolkit sdk with 7 tools is in room support");
    let sum = called(&room, "add", json!({"a": 40, "b": 2})).await.unwrap();
    assert_eq!(sum, Content::Json(json!({"result": "python says 42"})));
    let error = called(&room, "fails", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("the python tool broke"), "{error}");

    let started = format!("'{}' '{}' stdio", python.python.display(), script("mcp_server.py"));
    let mut command = program(&server);
    command.args(["sse-proxy", "--command", &started]);
    let (_serving, url) = Mcp::start(command, "Serving MCP clients at ");
    let mut used = Command::new(&python.python);
    used.args([&script("mcp_client.py"), "add", r#"{"a": 40, "b": 2}"#, "sse", &url]);
    assert_eq!(Script::start(used).must_tell("text "), "python says 42");
    let foreign = reqwest::Client::new().get(&url).header("origin", "https://evil.test").send();
    assert_eq!(foreign.await.unwrap().status(), 403);
    let lost = format!("{url}/messages?session_id=00000000-0000-0000-0000-000000000000");
    assert_eq!(reqwest::Client::new().post(&lost).body("{}").send().await.unwrap().status(), 404);
}

#[test]
fn what_cannot_be_is_refused_with_the_next_step() {
    let server = Server::start(&[]);
    for (arguments, code, said) in [
        (&["serve", "--room", ROOM][..], 2, "--toolkit"),
        (&["serve", "--toolkit", "x"], 2, "pass --room ROOM"),
        (&["serve", "--room", ROOM, "--toolkit", "x", "--listen", "0.0.0.0:0"], 2, "MESHAGENT_MCP_TOKEN"),
        (&["stdio", "--room", ROOM, "--command", "/no/such/program"], 1, "cannot be started"),
        (&["stdio", "--room", ROOM, "--command", "'"], 2, "a quote in it is not closed"),
        (&["stdio", "--room", ROOM, "--command", "x", "-e", "s3cret"], 2, "NAME=VALUE"),
        (
            &["http", "--room", ROOM, "--url", "http://127.0.0.1:9/mcp"],
            1,
            "does not answer as an MCP server: Client error",
        ),
        (&["http", "--room", ROOM, "--url", "nowhere"], 1, "the address is no URL"),
        (&["sse", "--room", ROOM, "--url", "http://127.0.0.1:9/sse"], 1, "does not answer as an MCP server"),
    ] {
        let out = program(&server).args(arguments).output().unwrap();
        let all = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(all.contains(said) && !all.contains("s3cret"), "{arguments:?}: {all}");
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {all}");
    }
}

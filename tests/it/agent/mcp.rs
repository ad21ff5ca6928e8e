//! An agent with `--mcp` and servers made with the official SDKs: their scripts are in `tests/conformance`.

use super::ROOM;
use super::joined::{Joined, client};
use crate::support::clients;
use crate::support::mcp::McpServer;
use crate::support::script::Script;
use crate::support::server::Server;
use meshagent::agent::message::Body;
use meshagent::agent::session::Session;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(2);
const FLAGS: [&str; 7] =
    ["--channel", "chat", "--channel", "toolkit:support-agent", "--model", "builtin/echo", "--mcp"];
/// The test's servers are on this machine, and their tools may take a moment only.
const ENV: [(&str, &str); 2] = [("MESHAGENT_ALLOW_HOSTS", "127.0.0.1"), ("MESHAGENT_MCP_TIMEOUT", "2")];

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

/// A server of the official Python SDK and where it is.
fn python() -> Option<(Script, String)> {
    let python = clients::python()?;
    let mut command = Command::new(&python.python);
    command.arg(script("mcp_server.py")).arg("http").env("PYTHONDONTWRITEBYTECODE", "1");
    Some(listening(command))
}

/// A server of the official TypeScript SDK and where it is.
fn typescript() -> Option<(Script, String)> {
    let node = clients::mcp()?;
    let mut command = Command::new(&node.node);
    command.arg(script("mcp-server.mjs")).arg("http").env("NODE_MODULES", node.folder.join("node_modules"));
    Some(listening(command))
}

fn listening(command: Command) -> (Script, String) {
    let mut server = Script::start(command);
    let port = server.must_tell("listening ");
    (server, format!("http://127.0.0.1:{port}/mcp"))
}

/// An agent, and a conversation with it.
struct Talk {
    session: Session,
    thread: Option<String>,
    servers: Value,
    agent: Joined,
    server: Server,
}

impl Talk {
    async fn start(servers: Value) -> Self {
        let server = Server::start(&[]);
        let room = client(&server, "ann", ROOM).await;
        let mut agent = Joined::start(&server, ROOM, &FLAGS, &ENV);
        agent.until(&room).await;
        let session = Session::in_room(room, "support-agent").await.unwrap();
        assert_eq!(session.attributes["supports_mcp"], json!(true));
        Self { session, thread: None, servers, agent, server }
    }

    /// The same agent, started anew.
    async fn restart_agent(&mut self) {
        assert_eq!(self.agent.terminate().code, Some(0));
        let room = client(&self.server, "ann", ROOM).await;
        self.agent = Joined::start(&self.server, ROOM, &FLAGS, &ENV);
        self.agent.until(&room).await;
        self.session = Session::in_room(room, "support-agent").await.unwrap();
        self.thread = None;
    }

    async fn say(&self, body: Value) {
        let body: Body = serde_json::from_value(body).unwrap();
        self.session.say(body).await.unwrap();
    }

    /// Has the echo call a tool; all that is said until `last`.
    async fn call(
        &mut self,
        toolkit: &str,
        tool: &str,
        arguments: Value,
        last: &str,
    ) -> Vec<Map<String, Value>> {
        let call = json!({"toolkit": toolkit, "tool": tool, "arguments": arguments});
        let content = json!([{"type": "text", "text": format!("Go.\n```tool\n{call}\n```\n")}]);
        let mcp = json!({"servers": self.servers});
        match self.thread.clone() {
            None => {
                let kind = "meshagent.agent.thread.start";
                self.say(json!({"type": kind, "content": content, "mcp": mcp})).await;
            }
            Some(thread) => {
                let kind = "meshagent.agent.turn.start";
                self.say(json!({"type": kind, "thread_id": thread, "content": content, "mcp": mcp})).await;
            }
        }
        self.until(last).await
    }

    async fn until(&mut self, last: &str) -> Vec<Map<String, Value>> {
        let mut heard = Vec::new();
        let kind = format!("meshagent.agent.{last}");
        let all = async {
            loop {
                let message = self.session.hear().await.unwrap();
                if let Some(thread) = message.get("thread_id").and_then(Value::as_str) {
                    self.thread = Some(thread.to_owned());
                }
                let done = message["type"] == json!(kind);
                heard.push(message);
                if done {
                    return;
                }
            }
        };
        assert!(
            !tokio::time::timeout(LIMIT, all).await.is_err(),
            "`{last}` was never said; what was: {heard:?}"
        );
        heard
    }

    /// What a call came to, as the model saw it.
    async fn answer(&mut self, toolkit: &str, tool: &str, arguments: Value) -> String {
        let heard = self.call(toolkit, tool, arguments, "turn.ended").await;
        assert_eq!(heard.last().unwrap().get("error").filter(|e| !e.is_null()), None, "{heard:?}");
        text(&heard)
    }

    async fn judge(&self, asked: &Map<String, Value>, verdict: &str) {
        self.say(
            json!({"type": format!("meshagent.agent.tool_call.{verdict}"), "thread_id": asked["thread_id"],
            "turn_id": asked["turn_id"], "item_id": asked["item_id"]}),
        )
        .await;
    }
}

fn text(heard: &[Map<String, Value>]) -> String {
    let deltas = heard.iter().filter(|m| m["type"] == "meshagent.agent.text_content.delta");
    deltas.filter_map(|m| m["text"].as_str()).collect()
}

fn notices(heard: &[Map<String, Value>]) -> String {
    let events = heard.iter().filter(|m| m["type"] == "meshagent.agent.thread.event");
    events.map(|m| m["event"]["summary"].to_string()).collect()
}

fn trusted(label: &str, url: &str) -> Value {
    json!({"server_label": label, "server_url": url, "require_approval": "never"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_of_the_official_python_sdk_are_used() {
    let Some((_script, url)) = python() else { return };
    let mut talk = Talk::start(json!([trusted("py", &url)])).await;
    assert!(talk.answer("py", "add", json!({"a": 40, "b": 2})).await.contains("> python says 42"));
    let failed = talk.answer("py", "fails", json!({})).await;
    assert!(failed.contains("the python tool broke"), "{failed}");
    let hung = talk.answer("py", "hangs", json!({})).await;
    assert!(hung.contains("did not answer within 2 s"), "{hung}");
    let big = talk.answer("py", "big", json!({})).await;
    assert!(big.contains("unable to complete tool call") && big.len() < 100_000, "{}", &big[..500]);
    let wrong = talk.answer("py", "add", json!({"a": "x"})).await;
    assert!(wrong.contains("validation error"), "{wrong}");
    assert!(talk.answer("py", "picture", json!({})).await.contains("Tool picture answered"));
    let again = talk.answer("py", "add", json!({"a": 1, "b": 1})).await;
    assert!(again.contains("> python says 2"), "the server is still of use: {again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_of_the_official_typescript_sdk_are_used() {
    let Some((_script, url)) = typescript() else { return };
    let mut server = trusted("ts", &url);
    server["allowed_tools"] = json!(["add", "fails", "shape"]);
    let mut talk = Talk::start(json!([server])).await;
    assert!(talk.answer("ts", "add", json!({"a": 40, "b": 2})).await.contains("> typescript says 42"));
    assert!(talk.answer("ts", "fails", json!({})).await.contains("the typescript tool broke"));
    assert!(talk.answer("ts", "shape", json!({})).await.contains(r#"> {"sides":3}"#));
    let hidden = talk.answer("ts", "greet", json!({"name": "x"})).await;
    assert!(hidden.contains("there is no tool `greet`"), "{hidden}");
}

/// With `never` nothing is asked, until the server describes the tool otherwise: then every call is, until one is let
/// through.
async fn a_tool_that_changes_is_asked_about(url: &str) {
    let mut talk = Talk::start(json!([trusted("wiki", url)])).await;
    let greet = json!({"name": "ann"});
    assert!(talk.answer("wiki", "greet", greet.clone()).await.contains("> hello ann"));
    assert!(talk.answer("wiki", "turn", json!({})).await.contains("> turned"));
    let heard = talk.call("wiki", "greet", greet.clone(), "tool_call.approval_requested").await;
    assert!(notices(&heard).contains("described otherwise"), "{heard:?}");
    talk.judge(heard.last().unwrap(), "reject").await;
    assert!(text(&talk.until("turn.ended").await).contains("not approved"));
    let heard = talk.call("wiki", "greet", greet.clone(), "tool_call.approval_requested").await;
    talk.judge(heard.last().unwrap(), "approve").await;
    assert!(text(&talk.until("turn.ended").await).contains("> hello ann"));
    assert!(
        talk.answer("wiki", "greet", greet.clone()).await.contains("> hello ann"),
        "approved as it is now"
    );
    talk.restart_agent().await;
    assert!(talk.answer("wiki", "greet", greet).await.contains("> hello ann"), "and remembered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_tool_that_changes_its_description_is_asked_about_again() {
    let Some((_script, url)) = python() else { return };
    a_tool_that_changes_is_asked_about(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typescript_tool_that_changes_its_description_is_asked_about_again() {
    let Some((_script, url)) = typescript() else { return };
    a_tool_that_changes_is_asked_about(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_asked_first_and_servers_that_are_not_there_are_named() {
    let mcp = McpServer::start(&[("echo", false), ("odd", false)], Some("Bearer s3cret-token")).await;
    let servers = json!([
        {"server_label": "own", "server_url": mcp.url(), "authorization": "s3cret-token", "headers": {"x-team": "a"}},
        {"server_label": "gone", "server_url": "http://127.0.0.1:9/mcp?key=s3cret-query"},
        {"server_label": "inside", "server_url": "http://169.254.169.254/mcp"},
        {"server_label": "support-agent"},
        {"server_label": "datetime", "server_url": mcp.url()},
        7,
    ]);
    let mut talk = Talk::start(servers).await;
    let heard = talk.call("own", "echo", json!({"text": "hi"}), "tool_call.approval_requested").await;
    let said = notices(&heard);
    for part in [
        "`gone` cannot be used",
        "`inside` cannot be used",
        "not a public address",
        "no server_url",
        "`datetime` is left out",
        "an MCP server is left out",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
    assert_eq!(mcp.told.lock().unwrap().called, Vec::<String>::new(), "nothing runs before it is approved");
    talk.judge(heard.last().unwrap(), "approve").await;
    assert!(text(&talk.until("turn.ended").await).contains("> hi"));
    assert_eq!(mcp.told.lock().unwrap().last["x-team"], "a");
    let thread = talk.thread.clone().unwrap();
    let stored = ["process", "messages", "--room", ROOM, "--thread-id", &thread, "-o", "json"];
    let stored = super::command(&talk.server, &stored, &[]);
    assert!(stored.said.contains("127.0.0.1") && !stored.said.contains("s3cret-token"), "{}", stored.said);
}

/// What an agent saw before it was started anew counts too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_changes_while_the_agent_is_away_is_asked_about() {
    let mcp = McpServer::start(&[("echo", false)], None).await;
    let mut talk = Talk::start(json!([trusted("own", &mcp.url())])).await;
    assert!(talk.answer("own", "echo", json!({"text": "hi"})).await.contains("> hi"));
    mcp.told.lock().unwrap().tools = vec![("echo", true)];
    talk.restart_agent().await;
    let heard = talk.call("own", "echo", json!({"text": "hi"}), "tool_call.approval_requested").await;
    assert!(notices(&heard).contains("described otherwise"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_protocol_does_not_have_is_told_and_the_turn_goes_on() {
    let tools = [("invalid", false), ("image", false), ("odd", false), ("echo", false)];
    let mcp = McpServer::start(&tools, None).await;
    let mut talk = Talk::start(json!([trusted("own", &mcp.url())])).await;
    for (tool, said) in
        [("invalid", "unable to complete tool call"), ("image", "not valid Base64"), ("odd", "it broke")]
    {
        let answer = talk.answer("own", tool, json!({})).await;
        assert!(answer.contains(said), "{tool}: {answer}");
    }
    assert!(talk.answer("own", "echo", json!({"text": "hi"})).await.contains("> hi"));
}

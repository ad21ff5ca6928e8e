//! The official chat clients with our agent. What the scripts check is in `tests/conformance/chat.{py,cjs}`.

use super::agents::stand_in;
use super::command_line::Tool;
use super::llm::{node, script};
use super::room_client::environment;
use crate::agent::joined::{self, Joined};
use crate::support::clients;
use crate::support::realtime::Realtime;
use crate::support::script::Script;
use crate::support::server::Server;
use std::process::Command;

const ROOM: &str = "conformance";
const FLAGS: [&str; 6] = ["--channel", "chat", "--model", "builtin/echo", "--require-toolkit", "queues"];

fn holds(case: &str) {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let _agent = Joined::start(&server, ROOM, &FLAGS, &[]);
    let mut command = Command::new(&python.python);
    command.arg(script("chat.py")).arg(case).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

#[test]
fn python_chats_over_streams() {
    holds("streams");
}

#[test]
fn python_chats_over_single_messages() {
    holds("unary");
}

#[test]
fn python_lists_renames_and_deletes_threads() {
    holds("lists");
}

#[test]
fn python_steers_and_interrupts() {
    holds("steers");
}

#[test]
fn npm_chats_queues_jobs_and_calls_the_agent_as_a_tool() {
    let Some(npm) = clients::node() else { return };
    let server = Server::start(&[]);
    let more = ["--channel", "queue:jobs", "--channel", "toolkit:support-agent", "--storage"];
    let _agent = Joined::start(&server, ROOM, &[&FLAGS[..], &more].concat(), &[]);
    let mut command = node(npm, "chat.cjs");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

#[test]
fn the_official_command_line_uses_our_agent_and_reads_its_threads() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let _agent = Joined::start(&server, ROOM, &FLAGS, &[]);
    let tool = Tool::new(python, &server);
    let at = ["--room", ROOM, "--agent-name", "support-agent"];
    let used = [&["process", "use"], &at[..], &["--message", "hello from the command line"]].concat();
    tool.run(&used, "> hello from the command line");
    let listed = tool
        .run(&[&["process", "threads"], &at[..], &["-o", "json"]].concat(), "Hello From The Command Line");
    let threads: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let path = threads[0]["path"].as_str().unwrap();
    let thread = ["--thread-id", path];
    let said =
        tool.run(&[&["process", "messages"], &at[..], &thread].concat(), "hello from the command line");
    assert!(said.contains("support-agent ["), "{said}");
    tool.run(
        &["process", "grep", "COMMAND LINE", "--room", ROOM, "--thread-id", path],
        "hello from the command line",
    );
}

#[test]
fn python_has_a_document_open_that_our_agent_writes() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let flags = ["--channel", "toolkit:support-agent", "--model", "builtin/echo", "--document-authoring"];
    let _agent = Joined::start(&server, ROOM, &flags, &[]);
    let mut command = Command::new(&python.python);
    command.arg(script("documents.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

fn speaks(case: &str) {
    let Some(python) = clients::python() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(Realtime::start());
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let set = ["llm", "provider", "set", "openai", "--no-key", "--base-url", &provider.url];
    assert_eq!(joined::command(&server, &set, &[]).code, Some(0));
    let flags = ["--channel", "chat", "--model", "gpt-realtime", "--decision-model", "builtin/echo"];
    let _agent = Joined::start(&server, ROOM, &flags, &[]);
    let mut command = Command::new(&python.python);
    command.arg(script("voice.py")).arg(case).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

#[test]
fn python_speaks_over_streams() {
    speaks("streams");
}

#[test]
fn python_speaks_over_single_messages() {
    speaks("unary");
}

/// The provider that others wrote; it hears nothing, but speaks the protocol.
#[test]
fn a_model_that_speaks_is_written_to_by_aimock() {
    let Some(models) = clients::models() else { return };
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let (_stand_in, url) = stand_in(models);
    let base = format!("{url}/v1");
    let set = ["llm", "provider", "set", "openai", "--no-key", "--base-url", &base];
    assert_eq!(joined::command(&server, &set, &[]).code, Some(0));
    let run = ["process", "run", "--room", ROOM, "--agent-name", "a", "--model", "gpt-realtime", "--storage"];
    let asked = joined::command(&server, &[&run[..], &["--message", "write notes.md"]].concat(), &[]);
    assert_eq!(asked.code, Some(0), "{}", asked.said);
    assert!(asked.said.contains("(1 tools used)"), "{}", asked.said);
    let got = joined::command(&server, &["room", "storage", "get", "--room", ROOM, "notes.md"], &[]);
    assert!(got.said.contains("by the model"), "{}", got.said);
}

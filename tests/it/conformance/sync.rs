//! Documents edited by the Python and the npm SDK at once. The two halves are `tests/conformance/sync.{py,cjs}`.

use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

fn start(mut command: Command, case: &str, server: &Server) -> Script {
    command
        .arg(case)
        .env("MESHAGENT_API_URL", &server.url)
        .env("MESHAGENT_API_KEY", &server.api_key)
        .env("MESHAGENT_PROJECT_ID", &server.project_id)
        .env("MESHAGENT_ROOM", "documents")
        .env("MESHAGENT_DISABLE_VERSION_CHECK", "1");
    Script::start(command)
}

fn python(case: &str, server: &Server) -> Option<Script> {
    let mut command = Command::new(&clients::python()?.python);
    command.arg(script("sync.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(start(command, case, server))
}

fn node(case: &str, server: &Server) -> Option<Script> {
    let node = clients::node()?;
    let mut command = Command::new(&node.node);
    command.arg(script("sync.cjs")).env("NODE_PATH", node.folder.join("node_modules"));
    Some(start(command, case, server))
}

#[test]
fn python_documents() {
    let server = Server::start(&[]);
    if let Some(mut script) = python("basics", &server) {
        script.must_say("done");
    }
}

#[test]
fn npm_documents() {
    let server = Server::start(&[]);
    if let Some(mut script) = node("basics", &server) {
        script.must_say("done");
    }
}

#[test]
fn a_document_is_the_same_byte_by_byte_after_kill_9() {
    let mut server = Server::start(&[]);
    if let Some(mut script) = python("kept", &server) {
        script.must_say("up");
        server.kill_9();
        server.restart();
        script.must_say("done");
    }
}

#[test]
fn both_sdks_edit_one_document_through_kill_9_and_see_the_same() {
    let mut server = Server::start(&[]);
    let (Some(mut python), Some(mut node)) = (python("shared", &server), node("shared", &server)) else {
        return;
    };
    python.must_say("up");
    node.must_say("up");
    server.kill_9();
    python.must_say("edited while the server was away");
    server.restart();
    let states = [python.must_tell("state "), node.must_tell("state ")];
    assert_eq!(states[0], states[1], "both see the same notes in the same order");
    node.must_say("done");
    python.must_say("done");
}

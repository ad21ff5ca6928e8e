//! Every method of the SDKs' memory clients. What they check is in `tests/conformance/memory.{py,cjs}`.

use super::room_client::environment;
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use std::path::Path;
use std::process::Command;

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

fn python(case: &str, server: &Server) -> Option<Script> {
    let python = clients::python()?;
    let mut command = Command::new(&python.python);
    command.arg(script("memory.py")).arg(case).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, server);
    Some(Script::start(command))
}

fn node(case: &str, server: &Server) -> Option<Script> {
    let node = clients::node()?;
    let mut command = Command::new(&node.node);
    command.arg(script("memory.cjs")).arg(case).env("NODE_PATH", node.folder.join("node_modules"));
    environment(&mut command, server);
    Some(Script::start(command))
}

#[test]
fn python_memory() {
    let server = Server::start(&[]);
    if let Some(mut script) = python("methods", &server) {
        script.must_say("done");
    }
}

#[test]
fn npm_memory() {
    let server = Server::start(&[]);
    if let Some(mut script) = node("methods", &server) {
        script.must_say("done");
    }
}

#[test]
fn memory_that_was_acknowledged_survives_kill_9() {
    let mut server = Server::start(&[]);
    if let Some(mut script) = python("survives", &server) {
        script.must_say("up");
        server.kill_9();
        server.restart();
        script.must_say("done");
    }
}

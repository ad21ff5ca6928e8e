//! The containers clients of the Python and npm SDKs. What they check is in `tests/conformance/containers.{py,cjs}`.

use super::room_client::environment;
use crate::support::podman::{self, IMAGE};
use crate::support::script::Script;
use crate::support::server::Server;
use crate::support::{clients, post};
use std::path::Path;
use std::process::Command;

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

fn python(case: &str) -> Option<Command> {
    let python = clients::python()?;
    let mut command = Command::new(&python.python);
    command.arg(script("containers.py")).arg(case).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

fn node(case: &str) -> Option<Command> {
    let node = clients::node()?;
    let mut command = Command::new(&node.node);
    command.arg(script("containers.cjs")).arg(case).env("NODE_PATH", node.folder.join("node_modules"));
    Some(command)
}

/// A server with an engine, and the command told of it and of the files in the folder; `None` without an engine.
pub(super) fn prepared(command: &mut Command) -> Option<(Server, Option<tempfile::TempDir>)> {
    let server = server()?;
    let folder = tell(command, &server);
    Some((server, Some(folder)))
}

/// Runs a case against this server.
fn holds(server: &Server, command: Option<Command>) {
    let Some(mut command) = command else { return };
    let _folder = tell(&mut command, server);
    Script::start(command).must_say("done");
}

fn tell(command: &mut Command, server: &Server) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (program, context) = (folder.path().join("busybox"), folder.path().join("context.tar"));
    std::fs::write(&program, podman::program()).unwrap();
    std::fs::write(&context, podman::context()).unwrap();
    environment(command, server);
    command
        .env("MESHAGENT_TEST_IMAGE", IMAGE)
        .env("MESHAGENT_TEST_PROGRAM", program)
        .env("MESHAGENT_TEST_CONTEXT", context);
    folder
}

fn server() -> Option<Server> {
    let engine = podman::engine()?;
    Some(Server::start(&["--container-engine", &engine.address()]))
}

#[test]
fn python_containers() {
    let Some(server) = server() else { return };
    holds(&server, python("everything"));
}

#[test]
fn npm_containers() {
    let Some(server) = server() else { return };
    holds(&server, node("everything"));
}

#[test]
fn services_on_demand_run_by_both() {
    let Some(server) = server() else { return };
    post(&server, "/rooms", &serde_json::json!({"name": "conformance"}));
    let job = serde_json::json!({
        "version": "v1", "kind": "Service", "metadata": {"name": "job"}, "ports": [],
        "container": {"image": IMAGE, "command": "sh -c 'echo $WHO; exit 4'", "on_demand": true},
    });
    post(&server, "/rooms/conformance/services", &job);
    holds(&server, python("services"));
    holds(&server, node("services"));
}

#[test]
fn python_containers_without_an_engine() {
    let server = Server::start(&["--container-engine", "unix:///nowhere/at/all.sock"]);
    let Some(mut command) = python("missing") else { return };
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

//! The RoomClients of the Python and npm SDKs. What they check is in `tests/conformance/room.{py,cjs}`.

use crate::support::script::Script;
use crate::support::server::Server;
use crate::support::{clients, postgres};
use std::path::Path;
use std::process::Command;

const ROOM: &str = "conformance";

fn python(case: &str, server: &Server) -> Option<Script> {
    let python = clients::python()?;
    let mut command = Command::new(&python.python);
    command.arg(script("room.py")).arg(case).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(start(command, server))
}

fn node(case: &str, server: &Server) -> Option<Script> {
    let node = clients::node()?;
    let mut command = Command::new(&node.node);
    command.arg(script("room.cjs")).arg(case).env("NODE_PATH", node.folder.join("node_modules"));
    Some(start(command, server))
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

/// What the scripts read.
pub(super) fn environment(command: &mut Command, server: &Server) {
    command
        .env("MESHAGENT_API_URL", &server.url)
        .env("MESHAGENT_API_KEY", &server.api_key)
        .env("MESHAGENT_PROJECT_ID", &server.project_id)
        .env("MESHAGENT_ROOM", ROOM)
        .env("MESHAGENT_DISABLE_VERSION_CHECK", "1");
}

fn start(mut command: Command, server: &Server) -> Script {
    environment(&mut command, server);
    Script::start(command)
}

/// Runs a case from start to end.
fn holds(arguments: &[&str], started: impl FnOnce(&Server) -> Option<Script>) {
    let server = Server::start(arguments);
    if let Some(mut script) = started(&server) {
        script.must_say("done");
    }
}

/// Runs the `reconnect` case, and kills and restarts the server in the middle of it.
fn survives(arguments: &[&str], started: impl FnOnce(&Server) -> Option<Script>) {
    let mut server = Server::start(arguments);
    if let Some(mut script) = started(&server) {
        script.must_say("up");
        server.kill_9();
        server.restart();
        script.must_say("done");
    }
}

#[test]
fn python_connects_through_rest() {
    holds(&[], |server| python("connect", server));
}

#[test]
fn python_queues() {
    holds(&[], |server| python("queues", server));
}

#[test]
fn python_messaging() {
    holds(&[], |server| python("messaging", server));
}

#[test]
fn python_storage() {
    holds(&[], |server| python("storage", server));
}

#[test]
fn python_hosted_toolkits() {
    holds(&[], |server| python("hosted", server));
}

#[test]
fn python_streams_between_participants() {
    holds(&[], |server| python("streams", server));
}

#[test]
fn python_services_and_the_other_small_toolkits() {
    for case in ["others", "services"] {
        holds(&[], |server| python(case, server));
    }
}

#[test]
fn python_comes_back_after_kill_9() {
    survives(&[], |server| python("reconnect", server));
}

#[test]
fn npm_queues() {
    holds(&[], |server| node("queues", server));
}

#[test]
fn npm_messaging() {
    holds(&[], |server| node("messaging", server));
}

#[test]
fn npm_storage() {
    holds(&[], |server| node("storage", server));
}

#[test]
fn npm_hosted_toolkits() {
    holds(&[], |server| node("hosted", server));
}

#[test]
fn npm_secrets() {
    holds(&[], |server| node("secrets", server));
}

#[test]
fn npm_services_and_the_other_small_toolkits() {
    for case in ["others", "services"] {
        holds(&[], |server| node(case, server));
    }
}

#[test]
fn npm_comes_back_after_kill_9() {
    survives(&[], |server| node("reconnect", server));
}

#[test]
fn python_on_postgres() {
    for case in ["connect", "queues", "hosted"] {
        let Some(url) = postgres::blocking_database() else { return };
        holds(&["--database-url", &url], |server| python(case, server));
    }
}

#[test]
fn python_on_postgres_comes_back_after_kill_9() {
    let Some(url) = postgres::blocking_database() else { return };
    survives(&["--database-url", &url], |server| python("reconnect", server));
}

#[test]
fn tokens_for_calls_are_what_other_readers_of_tokens_expect() {
    let Some(python) = clients::python() else { return };
    let keys = [
        ("LIVEKIT_API_KEY", "devkey"),
        ("LIVEKIT_API_SECRET", "a secret of the livekit server, long enough"),
    ];
    let server = Server::start_with(&["--livekit-url", "wss://calls.example:7880"], &keys);
    let mut command = Command::new(&python.python);
    command.arg(script("livekit.py")).env("PYTHONDONTWRITEBYTECODE", "1").envs(keys);
    start(command, &server).must_say("done");
}

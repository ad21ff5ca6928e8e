//! The table clients of the SDKs, method by method. What they check is in `tests/conformance`.

use super::room_client::environment;
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

/// Runs `script CASE` of `tests/conformance` with the Python SDK until it says `done`.
fn python(script: &str, case: &str) {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let mut command = Command::new(&python.python);
    command.arg(self::script(script)).arg(case).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

#[test]
fn python_sqlite() {
    python("sqlite.py", "sqlite");
}

#[test]
fn python_datasets() {
    python("datasets.py", "datasets");
}

#[test]
fn npm_datasets() {
    let Some(node) = clients::node() else { return };
    let server = Server::start(&[]);
    let mut command = Command::new(&node.node);
    command.arg(script("datasets.cjs")).arg("datasets").env("NODE_PATH", node.folder.join("node_modules"));
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

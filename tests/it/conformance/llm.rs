//! OpenAI's and Anthropic's own SDKs, Python and npm, through the proxy of models; the provider is played by aimock.

use super::room_client::environment;
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

pub(super) fn node(models: &clients::NodeClients, name: &str) -> Command {
    let mut command = Command::new(&models.node);
    command.arg(script(name)).env("NODE_PATH", models.folder.join("node_modules"));
    command
}

/// Runs a client from start to end, beside the stand-in.
fn holds(models: &clients::NodeClients, mut client: Command) {
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let mut stand_in = Script::start(node(models, "llm-stand-in.cjs"));
    let url = stand_in.must_tell("listens on ");
    environment(&mut client, &server);
    client.env("STAND_IN", url);
    Script::start(client).must_say("done");
}

#[test]
fn the_python_sdks_of_the_providers_work_through_the_proxy() {
    let (Some(python), Some(models)) = (clients::python(), clients::models()) else { return };
    let mut command = Command::new(&python.python);
    command.arg(script("llm.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    holds(models, command);
}

#[test]
fn the_npm_sdks_of_the_providers_work_through_the_proxy() {
    let Some(models) = clients::models() else { return };
    holds(models, node(models, "llm.cjs"));
}

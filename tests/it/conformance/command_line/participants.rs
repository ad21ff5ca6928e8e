//! `room messaging`, `room agent` and `room connect`: what a person does with the others in a room.

use super::steps::{self, Step, step};
use super::{ROOM, Tool, make_room};
use crate::support::clients::{self, PythonClients};
use crate::support::script::Script;
use crate::support::server::Server;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

pub(super) const STEPS: &[&[Step]] = &[
    &[
        step("room messaging list", &["\"id\": \"<other>\"", "\"name\": \"other\""]),
        step(
            r#"room messaging send --to-participant-id <other> --type note --data '{"n":1}'"#,
            &["Message sent successfully."],
        ),
        step(r#"room messaging broadcast --data '{"n":2}'"#, &["Broadcast message sent successfully."]),
    ],
    &[
        step(
            "room agent list-toolkits",
            &["\"name\": \"queues\"", "\"name\": \"greeter\"", "\"name\": \"greet\""],
        ),
        step(
            r#"room agent invoke-tool --toolkit greeter --tool greet --arguments '{"name":"Ada"}'"#,
            &["Invoking tool...", "hello Ada"],
        ),
        step(
            "room agent invoke-tool --toolkit nobody --tool x --arguments '{}' --timeout 1",
            &["Timed out waiting for toolkit"],
        )
        .exits(1),
    ],
    &[
        step(
            r#"room connect -- sh -c 'echo "in $MESHAGENT_ROOM"; test -n "$MESHAGENT_TOKEN"'"#,
            &["in desk"],
        ),
        step("room connect -- sh -c 'exit 7'", &[]).exits(7),
    ],
];

/// A participant of the Python SDK who has messaging on and hosts a tool; says `id ID`, then what it gets.
fn other(python: &PythonClients, server: &Server) -> Script {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/participant.py");
    let mut command = Command::new(&python.python);
    command
        .arg(script)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MESHAGENT_API_URL", &server.url)
        .env("MESHAGENT_API_KEY", &server.api_key)
        .env("MESHAGENT_ROOM", ROOM);
    Script::start(command)
}

#[test]
fn participants() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let mut other = other(python, &server);
    let mut kept = BTreeMap::from([("other", other.must_tell("id "))]);
    steps::run(&Tool::new(python, &server), &mut kept, STEPS);
    // In either order: both were sent at once.
    let mut heard = [other.must_tell("got "), other.must_tell("got ")];
    heard.sort();
    assert_eq!(heard, [r#"chat.broadcast {"n": 2}"#, r#"note {"n": 1}"#]);
}

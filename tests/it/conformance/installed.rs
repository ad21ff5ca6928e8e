//! The clients that the other tests stand on.

use crate::support::clients;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn the_python_command_line_tool_is_the_version_we_promise() {
    let Some(python) = clients::python() else { return };
    let home = tempfile::tempdir().unwrap();
    let finished =
        clients::run(Command::new(&python.meshagent).arg("version").env("HOME", home.path()), LIMIT).unwrap();
    assert!(finished.stdout.contains("0.55.1"), "{}", finished.said());
}

#[test]
fn the_npm_room_client_can_be_imported() {
    let Some(node) = clients::node() else { return };
    let script = "console.log(typeof require('@meshagent/meshagent').RoomClient)";
    let finished =
        clients::run(Command::new(&node.node).args(["-e", script]).current_dir(&node.folder), LIMIT).unwrap();
    assert_eq!(finished.stdout.trim(), "function", "{}", finished.said());
}

//! The official clients give people roles in rooms and in the project. What the SDK's script checks is in
//! `tests/conformance/members.py`.

use super::command_line::Tool;
use super::llm::script;
use super::room_client::environment;
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use std::process::Command;

#[test]
fn the_official_tool_gives_and_takes_roles() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    let run = |arguments: &[&str], expected: &str| tool.run(arguments, expected);
    run(&["rooms", "create", "desk", "--no-owner"], "desk");
    let room = ["--resource-type", "room", "--resource-id", "desk"];
    let user = ["--subject-type", "user", "--subject-id", "ann@example.com"];
    run(&[&["iam", "grant"], &room[..], &user, &["--role", "operator"]].concat(), "");
    run(&[&["iam", "policy"], &room[..]].concat(), "operator");
    run(&[&["iam", "policy"], &room[..], &["-o", "json"]].concat(), "ann@example.com");
    tool.write(
        "roles.yaml",
        "version: v1\nkind: RoomRoles\nroles:\n  operator:\n    participant:\n      api: {queues: {}}\n",
    );
    run(&["project", "set-room-roles", "roles.yaml"], "");
    run(&["project", "reset-room-roles"], "");
    run(&[&["iam", "revoke"], &room[..], &user].concat(), "");
}

#[test]
fn the_official_tool_gives_and_takes_roles_in_the_project() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    let run = |arguments: &[&str], expected: &str| tool.run(arguments, expected);
    let project = ["--resource-type", "project", "--resource-id", server.project_id.as_str()];
    let user = ["--subject-type", "user", "--subject-id", "ann@example.com"];
    run(&[&["iam", "grant"], &project[..], &user, &["--role", "developer"]].concat(), "");
    run(&[&["iam", "policy"], &project[..]].concat(), "ann@example.com");
    run(&[&["iam", "policy"], &project[..], &["-o", "json"]].concat(), "service_manager");
    run(&[&["iam", "revoke"], &project[..], &user].concat(), "");
    run(&[&["iam", "policy"], &project[..]].concat(), "No direct grants");
}

#[test]
fn the_official_sdk_keeps_members_and_acts_as_one() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let mut command = Command::new(&python.python);
    command.arg(script("members.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

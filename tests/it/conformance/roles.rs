//! The official command line tool gives users roles in rooms.

use super::command_line::Tool;
use crate::support::clients;
use crate::support::server::Server;

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

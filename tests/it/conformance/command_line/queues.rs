//! `room queue`.

use super::steps::{self, Step, step};
use super::{Tool, make_room};
use crate::support::clients;
use crate::support::server::Server;

pub(super) const STEPS: &[&[Step]] = &[
    &[
        step("room queue list", &["There are no queues currently in the room"]),
        step("room queue size --queue jobs", &["Queue not found: jobs"]).exits(1),
    ],
    &[step(r#"room queue send --queue jobs --json '{"prompt": "go"}'"#, &["Connecting to room..."])],
    &[step(
        "room queue send-mail --queue jobs --subject hello --from ada@example.com --body 'dear all' --attachment a.txt",
        &["Queued email message in jobs."],
    )],
    &[
        step("room queue list", &["Name", "Size", "jobs"]),
        step("room queue list -o json", &["\"name\": \"jobs\"", "\"size\": 2"]),
        step("room queue size --queue jobs", &["2\n"]),
    ],
    &[step("room queue receive --queue jobs", &["{'prompt': 'go'}"])],
    &[step("room queue receive --queue jobs", &["'base64':"])],
    &[step("room queue receive --queue jobs", &["Queue did not contain any messages."]).exits(1)],
];

#[test]
fn queues() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);
    tool.write("a.txt", "attached");
    steps::run_all(&tool, STEPS);
}

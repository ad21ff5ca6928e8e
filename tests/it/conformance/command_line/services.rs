//! `room service` and `room developer`: services of the room as they run, and what they say.

use super::steps::{self, Step, last_word, step};
use super::{ROOM, Tool, make_room};
use crate::support::clients;
use crate::support::server::Server;
use std::collections::BTreeMap;

pub(super) const DEVELOPER: &str = "room developer";

/// All stages, for the list of what is driven.
pub(super) const ALL: &[&[Step]] = &[SERVING[0], SERVING[1], STARTED[0], STARTED[1]];

const SERVING: &[&[Step]] = &[
    &[step("service create -f worker.yaml --room desk", &["Created service: "]).keeps("service", last_word)],
    &[
        step("room service list", &["Restart_Count", "worker", "meshagent/cli:default"]),
        step("room service list -o json", &["'services': [", "'service_states': {", "<service>"]),
        step("room service describe --name nobody", &["Service not found: nobody"]).exits(1),
    ],
];

const STARTED: &[&[Step]] = &[
    &[
        step("room service describe --name worker", &["Events", "Started", "running"]),
        step("room service describe --id <service> -o json", &["'restart_count': 0"]),
    ],
    &[step("room service restart --name worker", &["Restart requested: worker (<service>)"])],
];

#[test]
fn services() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);
    tool.write("worker.yaml", WORKER);
    let mut developer = tool.start(&DEVELOPER.split(' ').collect::<Vec<_>>());
    developer.must_say("watching enabled. Press Ctrl+C to stop.");
    let mut kept = BTreeMap::new();
    steps::run(&tool, &mut kept, SERVING);
    developer.must_hear("joined the room");
    steps::run(&tool, &mut kept, STARTED);
    developer.must_hear("joined the room");
    let list = ["room", "service", "list", "--room", ROOM, "-o", "json"];
    tool.eventually(&list, "'state': 'running'");
}

const WORKER: &str = "
version: v1
kind: Service
metadata:
  name: worker
agents:
- name: worker
ports: []
container:
  image: meshagent/cli:default
  command: meshagent process join --agent-name worker --channel toolkit:worker --model builtin/echo
  environment:
  - name: MESHAGENT_TOKEN
    token:
      identity: worker
      role: agent
";

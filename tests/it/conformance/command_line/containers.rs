//! `room container`, on a Podman of the tests' own.

use super::steps::{self, Step, last_word, step};
use super::{Tool, make_room};
use crate::support::server::Server;
use crate::support::{clients, podman};

pub(super) const STEPS: &[&[Step]] = &[
    &[
        step("room container list", &["[]"]),
        step(
            "room container run --image local/test:1 --container-name worker --env WHO=ada \
             --command \"sh -c 'echo started; sleep 1000'\"",
            &["Container started: "],
        )
        .keeps("worker", last_word),
        step("room container run --image local/missing:1 --command ls", &[]).exits(1),
    ],
    &[
        step("room container list", &["'id': '<worker>'", "'name': 'worker'", "local/test:1"]),
        step("room container list -a --output table", &["Containers", "ServiceID", "worker"]),
        step("room container log --id <worker>", &["started\n"]),
        step(
            "room container exec --container-id <worker> --command 'sh -c \"echo $WHO; exit 9\"'",
            &["ada\n"],
        )
        .exits(9),
        step("room container exec --container-id <worker> --command 'echo through'", &["through\n"]),
        step("room container image list", &["local/test"]),
    ],
    &[step("room container stop --id <worker>", &["Stopped"])],
    &[
        step("room container list", &["[]"]),
        step("room container exec --container-id <worker> --command ls", &[]).exits(1),
    ],
];

#[test]
fn containers() {
    let Some(python) = clients::python() else { return };
    let Some(engine) = podman::engine() else { return };
    let server = Server::start(&["--container-engine", &engine.address()]);
    make_room(&server);
    steps::run_all(&Tool::new(python, &server), STEPS);
}

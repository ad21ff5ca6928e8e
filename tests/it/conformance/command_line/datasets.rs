//! `room dataset`, and the tables beside it: `room sqlite`, `room memory`.

use super::steps::{self, Step, step};
use super::{Tool, make_room};
use crate::support::clients;
use crate::support::server::Server;

pub(super) const STEPS: &[&[Step]] = &[
    &[
        step("room dataset table", &["No tables found."]),
        step("room dataset create -t bare", &[]).exits(2),
        step("room dataset inspect -t nothing", &["table `nothing` does not exist"]).exits(1),
    ],
    &[step("room dataset create -t notes -c 'id int, text text'", &["Created table: notes"])],
    &[
        step("room dataset table", &["notes"]),
        step("room dataset inspect -t notes", &["notes\nid: int64\ntext: string"]),
        step(
            r#"room dataset insert -t notes --json '[{"id":1,"text":"one"},{"id":2,"text":"two"}]'"#,
            &["Inserted 2 record(s) into notes"],
        ),
    ],
    &[step(
        r#"room dataset merge -t notes --on id --json '[{"id":2,"text":"zwei"},{"id":3,"text":"drei"}]'"#,
        &["Merged 2 record(s) into notes on id"],
    )],
    &[
        step("room dataset search -t notes --where 'id = 2'", &["\"id\": 2", "\"text\": \"zwei\""]),
        step("room dataset search -t notes --select id --limit 1 --no-pretty", &["{\"id\": "]),
        step(
            r#"room dataset update -t notes --where 'id = 1' --values-json '{"text":"eins"}'"#,
            &["Updated notes where id = 1"],
        ),
    ],
    &[
        step(r#"room dataset search -t notes --where-json '{"id":1}'"#, &["\"text\": \"eins\""]),
        step("room dataset delete -t notes --where 'id = 3'", &["Deleted from notes where id = 3"]),
    ],
    &[step("room dataset sql -t notes -q 'select count(*) as n from notes' --format json", &["\"n\": 2"])],
    &[step("room dataset drop -t notes", &["Dropped table: notes"])],
    &[
        step("room dataset drop -t notes", &["table `notes` does not exist"]).exits(1),
        step("room dataset drop -t notes --ignore-missing", &["Dropped table: notes"]),
    ],
];

const BESIDE: &[&[Step]] = &[
    &[step("room sqlite database create -d shop", &["shop"]), step("room memory create -m past", &["past"])],
    &[
        step("room sqlite create -d shop -t items -c 'id int, name text'", &["items"]),
        step("room memory ingest-text -m past --text 'Ada wrote programs for Charles.'", &["entity"]),
    ],
    &[
        step(r#"room sqlite insert -d shop -t items --json '[{"id":1,"name":"tea"}]'"#, &["1"]),
        step("room memory recall -m past -q Ada", &["Ada"]),
    ],
    &[
        step("room sqlite sql -d shop -q 'select name from items' --format json", &["\"name\": \"tea\""]),
        step("room sqlite table -d shop", &["items"]),
        step("room memory list", &["past"]),
    ],
];

fn all(stages: &[&[Step]]) {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    steps::run_all(&Tool::new(python, &server), stages);
}

#[test]
fn datasets() {
    all(STEPS);
}

#[test]
fn databases_and_memories() {
    all(BESIDE);
}

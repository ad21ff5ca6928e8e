//! `room storage`, and `files`, which is the same by another name.

use super::steps::{self, Step, step};
use super::{ROOM, Tool, make_room};
use crate::support::clients;
use crate::support::server::Server;

pub(super) const STEPS: &[&[Step]] = &[
    &[
        step("room storage exists room://a.txt", &["'room://a.txt' does NOT exist"]),
        step("files exists room://a.txt", &["'room://a.txt' does NOT exist"]),
    ],
    &[
        step("room storage cp a.txt room://deep/a.txt", &["Copied 'a.txt' to 'deep/a.txt'"]),
        step("files cp a.txt room://flat.txt", &["Copied 'a.txt' to 'flat.txt'"]),
    ],
    &[
        step("room storage exists room://deep/a.txt", &["'room://deep/a.txt' exists"]),
        step("room storage get room://deep/a.txt", &["first line\n"]),
        step("files get room://flat.txt", &["first line\n"]),
        step("room storage ls -r room://", &["deep/\n", "  a.txt\n", "flat.txt\n"]),
        step("files ls 'room://*.txt'", &["flat.txt\n"]),
        step("room storage presign room://flat.txt", &["\"url\":\"http"]),
    ],
    &[step("files cp room://flat.txt room://deep/b.txt", &["Copied 'flat.txt' to 'deep/b.txt'"])],
    &[
        step("room storage rm room://deep", &[]).exits(2),
        step("files rm room://flat.txt", &["Removed 'flat.txt'"]),
    ],
    &[step("room storage rm -r room://deep", &["Removed 'deep'"])],
    &[step("files exists room://deep/b.txt", &["does NOT exist"])],
];

#[test]
fn files() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);
    tool.write("a.txt", "first line");
    steps::run_all(&tool, STEPS);
}

#[test]
fn large_files_and_folders_come_back_unchanged() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);

    let content: String = (0..200_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    tool.write("in.txt", &content);
    tool.run(&["room", "storage", "cp", "--room", ROOM, "in.txt", "room://deep/er/file.txt"], "Copied");
    tool.run(&["room", "storage", "cp", "room://deep/er/file.txt", "out.txt"], "Copied");
    assert!(tool.read("out.txt") == content, "the file came back changed");
    tool.run(&["room", "storage", "cp", "-r", "room://deep", "tree"], "Copied");
    assert!(tool.read("tree/er/file.txt") == content, "the folder came back changed");
}

//! Inside a room: queues, files, tools, messages.

use super::Person;
use crate::support::server::Server;
use std::fs;

fn desk() -> (Server, Person) {
    let server = Server::start(&[]);
    let person = Person::of(&server).with("MESHAGENT_ROOM", "desk");
    person.run(&["rooms", "create", "desk"]).ok();
    (server, person)
}

#[test]
fn queues_take_and_give_and_fail_with_a_code() {
    let (_server, person) = desk();
    assert_eq!(person.run(&["room", "queue", "list"]).ok().stderr, "No queues found.\n");
    person.run(&["room", "queue", "send", "--queue", "jobs", "--json", r#"{"n": 1}"#]).ok();
    let file = person.file("item.json", r#"{"n": 2}"#);
    person.run(&["room", "queue", "send", "--queue", "jobs", "--file", &file]).ok();
    assert_eq!(person.run(&["room", "queue", "list"]).ok().stdout, "Name  Size\njobs  2\n");
    person.run(&["room", "queue", "size", "--queue", "jbos"]).fails(1, &["did you mean `jobs`?"]);
    assert_eq!(person.run(&["room", "queue", "receive", "--queue", "jobs"]).json()["n"], 1);

    let leased = person.run(&["room", "queue", "lease", "--queue", "jobs", "--lease-ms", "60000"]).json();
    assert_eq!(leased["message"]["n"], 2);
    person
        .run(&["room", "queue", "receive", "--queue", "jobs"])
        .fails(1, &["queue `jobs` is empty", "--wait"]);
    let (item, token) = (leased["item_id"].as_str().unwrap(), leased["lease_token"].as_str().unwrap());
    let done = ["room", "queue", "ack", "--queue", "jobs", "--item-id", item, "--lease-token", token];
    person.run(&done).ok();
    assert_eq!(person.run(&done).code, 1, "acknowledged only once");
    let dead = ["room", "queue", "dead", "--queue", "jobs"];
    assert_eq!(person.run(&dead).ok().stderr, "No dead letters found.\n");
    let replayed = person.run(&[&dead[..], &["--replay"]].concat()).ok();
    assert_eq!(replayed.stderr, "Put back into queue jobs: 0\n");
    person
        .run(&["room", "queue", "send", "--queue", "jobs", "--room", "nowhere", "--json", "{}"])
        .fails(1, &["there is no room `nowhere`"]);
}

#[test]
fn tools_are_called_and_a_failing_one_fails_the_command() {
    let (_server, person) = desk();
    let call = |toolkit: &str, tool: &str, arguments: &str| {
        let words = ["room", "agent", "invoke-tool", "--timeout", "0", "--toolkit", toolkit, "--tool", tool];
        person.run(&[&words[..], &["--arguments", arguments]].concat())
    };
    let answer = call("storage", "exists", r#"{"path": "nothing.txt"}"#).json();
    assert_eq!(answer["type"], "json");
    assert_eq!(answer["json"]["exists"], false);
    call("storage", "exist", "{}").fails(1, &["did you mean `exists`?"]);
    call("strage", "exists", "{}").fails(1, &["Timed out waiting", "did you mean `storage`?"]);
    call("queues", "receive", r#"{"name": "none", "create": false, "wait": false}"#).fails(1, &["none"]);
}

#[test]
fn files_go_in_and_out_and_a_failed_download_leaves_the_old_file() {
    let (_server, person) = desk();
    person.file("docs/a.txt", "first");
    person.file("docs/deep/b.bin", "\u{0}binary\u{1}");
    let storage = |arguments: &[&str]| person.run(&[&["room", "storage"][..], arguments].concat());
    storage(&["cp", "docs", "room://in"]).fails(1, &["is a folder", "-r"]);
    storage(&["cp", "-r", "docs", "room://in"]).ok();
    assert_eq!(storage(&["ls", "-r"]).ok().stdout, "in/\nin/a.txt\nin/deep/\nin/deep/b.bin\n");
    assert_eq!(storage(&["ls", "in/*.txt"]).ok().stdout, "a.txt\n");
    assert_eq!(storage(&["get", "in/a.txt"]).ok().stdout, "first");
    // Not taken for `in/a.txt` and `a.txt`.
    for path in ["in/../in/a.txt", "in/./a.txt", "../in/a.txt"] {
        storage(&["rm", path]).fails(1, &["is not a path in room storage", "`.` and `..`"]);
        storage(&["get", path]).fails(1, &["is not a path in room storage"]);
    }
    assert_eq!(storage(&["exists", "in/a.txt"]).ok().stdout, "true\n");
    let gone = storage(&["exists", "in/none"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (1, "false\n"));

    storage(&["cp", "-r", "room://in", "out"]).ok();
    assert_eq!(fs::read(person.home().join("out/deep/b.bin")).unwrap(), b"\0binary\x01");
    let kept = person.file("kept.txt", "old");
    storage(&["cp", "room://in/none.txt", &kept]).fails(1, &["there is no `in/none.txt` in room desk"]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
    storage(&["cp", "room://in/a.txt", &kept]).ok();
    assert_eq!(fs::read_to_string(&kept).unwrap(), "first");

    storage(&["rm", "in"]).fails(1, &["is a folder", "-r"]);
    storage(&["rm", "-r", "in"]).ok();
    assert_eq!(storage(&["ls"]).ok().stderr, "No files found.\n");
    storage(&["cp", "a", "b"]).fails(2, &["both paths are on this machine", "room://"]);
}

#[test]
fn messages_reach_only_those_who_are_there() {
    let (_server, person) = desk();
    assert_eq!(person.run(&["room", "messaging", "list"]).json(), serde_json::json!([]));
    let words =
        ["room", "messaging", "send", "--to-participant-id", "ghost", "--type", "chat", "--data", "{}"];
    person.run(&words).fails(1, &["there is no participant with messaging `ghost`"]);
    person.run(&["room", "messaging", "broadcast", "--data", "{}"]).ok();
    assert_eq!(person.run(&["room", "service", "list"]).ok().stderr, "No services found.\n");
}

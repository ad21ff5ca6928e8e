//! Resources by the commands of their noun, and by `apply`, `get`, `describe`, `wait` and `delete`.

use super::Person;
use crate::support::server::Server;

const DOCUMENTS: &str = "\
version: v1
kind: ScheduledTask
metadata:
  name: daily
  annotations: {meshagent.room: desk}
schedule: 1 day
queue: {name: jobs, payload: {prompt: hello}}
---
version: v1
kind: Room
metadata: {name: desk}
---
version: v1
kind: Mailbox
address: desk@mail.example
room: desk
queue: mail
---
version: v1
kind: Service
metadata:
  name: web
  annotations: {meshagent.room: desk}
external: {url: 'http://127.0.0.1:9'}
";

#[test]
fn apply_makes_what_is_missing_changes_what_differs_and_leaves_the_rest() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let file = person.file("all.yaml", DOCUMENTS);
    let planned = person.run(&["apply", "-f", &file, "--dry-run"]).ok();
    assert!(planned.stdout.contains("room/desk created (dry run)"), "{planned:#?}");
    person.run(&["rooms", "get", "desk"]).fails(1, &["there is no room `desk`"]);

    let made = person.run(&["apply", "-f", &file]).ok().stdout;
    assert_eq!(
        made,
        "room/desk created\nservice/web created\nscheduledtask/daily created\nmailbox/desk@mail.example created\n"
    );
    let again = person.run(&["apply", "-f", &file]).ok().stdout;
    assert_eq!(again, made.replace("created", "unchanged"));
    let file =
        person.file("all.yaml", &DOCUMENTS.replace("1 day", "2 days").replace("queue: mail", "queue: post"));
    let changed = person.run(&["apply", "-f", &file]).ok().stdout;
    assert!(changed.contains("scheduledtask/daily configured"), "{changed}");
    assert!(changed.contains("mailbox/desk@mail.example configured"), "{changed}");
    assert!(changed.contains("room/desk unchanged"), "{changed}");

    let get = |arguments: &[&str]| person.run(arguments).json();
    assert_eq!(get(&["get", "mailbox/desk@mail.example", "-o", "json"])["queue"], "post");
    assert_eq!(get(&["get", "task", "daily", "-o", "json"])["spec"]["schedule"], "2 days");
    assert_eq!(
        get(&["get", "services", "--room", "desk", "-o", "json"])["services"][0]["metadata"]["name"],
        "web"
    );
    let described = person.run(&["describe", "room/desk"]).ok().stdout;
    assert!(described.contains("room.created"), "{described}");
    assert!(described.contains("open_calls: 4096") && described.contains("participants: 0"), "{described}");
    person.run(&["wait", "room/desk", "--timeout", "20s"]).ok();
    person.run(&["wait", "room/other", "--timeout", "10ms"]).fails(1, &["timed out", "it is not there"]);
    person.run(&["delete", "mailbox/desk@mail.example"]).ok();
    person.run(&["delete", "mailbox/desk@mail.example"]).fails(1, &["there is no mailbox"]);
    person.run(&["delete", "mailbox/desk@mail.example", "--ignore-not-found"]).ok();
    person.run(&["wait", "mailbox/desk@mail.example", "--for=delete", "--timeout", "5s"]).ok();
}

#[test]
fn apply_changes_nothing_when_one_document_cannot_be() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.file("specs/a.yaml", "version: v1\nkind: Room\nmetadata: {name: early}\n");
    person.file("specs/b.yaml", "version: v1\nkind: Project\nmetadata: {name: p}\n");
    person.run(&["apply", "-f", "specs"]).fails(1, &["nothing was changed", "b.yaml:1: Project `p`"]);
    person.run(&["rooms", "get", "early"]).fails(1, &["there is no room `early`"]);
}

#[test]
fn services_are_made_found_replaced_switched_and_deleted() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.run(&["rooms", "create", "desk"]).ok();
    let file = person.file(
        "s.yaml",
        "version: v1\nkind: Service\nmetadata:\n  name: web\n  annotations: {meshagent.service.id: web}\nexternal: {url: 'http://127.0.0.1:9'}\n",
    );
    person.run(&["service", "validate", "-f", &file]).ok();
    person.run(&["service", "create", "-f", &file]).fails(2, &["--room"]);
    let id = person.run(&["service", "create", "-f", &file, "--room", "desk"]).ok().stdout.trim().to_owned();
    person
        .run(&["service", "create", "-f", &file, "--room", "desk"])
        .fails(1, &["service `web` is there already", &id, "--replace"]);
    let replaced = person.run(&["service", "create", "-f", &file, "--room", "desk", "--replace"]).ok();
    assert_eq!(replaced.stdout.trim(), id);
    person.run(&["service", "disable", "web", "--room", "desk"]).ok();
    assert_eq!(person.run(&["service", "get", &id, "--room", "desk"]).json()["enabled"], false);
    let listed = person.run(&["service", "list", "--room", "desk"]).ok().stdout;
    assert!(listed.contains("web") && listed.contains("false"), "{listed}");
    person.run(&["service", "get", "wbe", "--room", "desk"]).fails(1, &["did you mean `web`?"]);
    person.run(&["service", "delete", "web", "--room", "desk"]).ok();
    let none = person.run(&["service", "list", "--room", "desk"]).ok();
    assert_eq!(none.stderr, "No services found.\n");
}

#[test]
fn rooms_accounts_projects_and_the_log_answer() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let room = person.run(&["rooms", "create", "desk", "--metadata", r#"{"a": 1}"#]).json();
    person.run(&["rooms", "create", "desk"]).fails(1, &["there is a room `desk` already", "--if-not-exists"]);
    person.run(&["rooms", "create", "Desk!"]).fails(1, &["a-z, 0-9"]);
    person.run(&["rooms", "update", "--name", "desk", "--new-name", "bench", "--disabled"]).ok();
    person
        .run(&["room", "queue", "list", "--room", "bench"])
        .fails(1, &["room `bench` is disabled", "--enabled"]);
    let same = person.run(&["rooms", "get", "--id", room["id"].as_str().unwrap()]).json();
    assert_eq!((same["name"].as_str(), same["metadata"]["a"].as_i64()), (Some("bench"), Some(1)));
    person.run(&["rooms", "get", "bnech"]).fails(1, &["did you mean `bench`?"]);
    person.run(&["rooms", "delete", "bench"]).ok();
    assert_eq!(person.run(&["rooms", "list"]).ok().stderr, "No rooms found.\n");

    let project = person.run(&["project", "list", "-o", "json"]).json();
    assert_eq!(project["projects"][0]["id"], server.project_id.as_str());
    person.run(&["project", "activate", &server.project_id]).ok();
    let key =
        person.run(&["service-account", "api-key", "create", "ci", "--service-account", "default"]).ok();
    assert!(key.stdout.starts_with("ma-"), "a key is printed once, alone on stdout");
    let keys =
        person.run(&["service-account", "api-key", "list", "--service-account", "default"]).ok().stdout;
    assert!(keys.contains("ci") && !keys.contains(key.stdout.trim()), "and never again");
    let second = Person::of(&server).with("MESHAGENT_API_KEY", key.stdout.trim());
    second.run(&["rooms", "list"]).ok();

    let events = person.run(&["events", "-o", "json", "--kind", "room."]).json();
    let kinds: Vec<&str> =
        events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["room.created", "room.updated", "room.deleted"]);
}

#[test]
fn a_stopped_servers_log_verifies_and_moves_to_another_directory() {
    let mut server = Server::start(&[]);
    let person = Person::of(&server);
    person.run(&["rooms", "create", "desk"]).ok();
    let dir = server.data_dir().display().to_string();
    person.run(&["log", "verify", "--data-dir", &dir]).fails(1, &["is in use by another server"]);
    server.kill_9();
    let verdict = person.run(&["log", "verify", "--data-dir", &dir, "-o", "json"]).json();
    assert_eq!(verdict["sound"], true, "{verdict}");
    let export = person.home().join("log.jsonl").display().to_string();
    person.run(&["log", "export", "--data-dir", &dir, &export]).ok();
    let copy = person.home().join("copy").display().to_string();
    person.run(&["log", "import", "--data-dir", &copy, &export]).ok();
    let second = person.run(&["log", "verify", "--data-dir", &copy, "-o", "json"]).json();
    assert_eq!(second["report"]["events"], verdict["report"]["events"]);
    let again = person.run(&["log", "import", "--data-dir", &copy, &export]).ok();
    assert!(again.stderr.contains("Imported 0 events"), "{again:#?}");
}

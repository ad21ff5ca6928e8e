//! Feeds from publishing to the file in the room, with the server killed in between; loggers of models.

use super::Person;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longest wait for a batch.
const LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(200);

/// All lines of the files below a folder of a room, once there are as many.
fn lines(person: &Person, room: &str, folder: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let listed = person.run(&["room", "storage", "ls", "--room", room, folder]);
        let files: Vec<&str> =
            listed.stdout.split_whitespace().filter(|word| word.ends_with(".jsonl")).collect();
        let mut found = vec![];
        for file in files {
            let path = format!("{folder}/{}", file.rsplit('/').next().unwrap());
            let text = person.run(&["room", "storage", "get", "--room", room, &path]).stdout;
            found.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        if found.len() >= count || Instant::now() > deadline {
            return found;
        }
        std::thread::park_timeout(PAUSE);
    }
}

#[test]
fn what_is_published_is_written_into_the_room_whatever_happens_to_the_server() {
    let mut server = Server::start(&[]);
    let person = Person::of(&server);
    person.run(&["rooms", "create", "den"]).ok();
    let made = person
        .run(&[
            "feed",
            "create",
            "-n",
            "orders",
            "--message-schema",
            r#"{"required": ["id"], "type": "object"}"#,
        ])
        .json();
    let feed = made["id"].as_str().unwrap();
    let subscribed =
        person.run(&["subscription", "create", "--feed-id", feed, "--room", "den", "--path", "logs"]).json();
    assert_eq!(subscribed["room"], "den");
    person.run(&["feed", "send", feed, "--message", r#"{"id": 1}"#]).ok();
    person.run(&["feed", "send", feed, "--message", "1"]).fails(1, &["message 0 does not fit"]);
    person.run(&["feed", "send", feed, "--message", "{"]).fails(2, &["no JSON"]);
    let file = server.data_dir().join("many.jsonl");
    std::fs::write(&file, "{\"id\": 2}\n\n{\"id\": 3}\n").unwrap();
    person.run(&["feed", "send-batch", feed, "--jsonl-file", file.to_str().unwrap()]).ok();
    // Before the batch is due.
    server.kill_9();
    server.restart();
    let found = lines(&person, "den", "logs", 3);
    assert_eq!(found, [json!({"id": 1}), json!({"id": 2}), json!({"id": 3})]);
    // Before, while and after what waits is written.
    for round in 0..6_u64 {
        std::fs::write(&file, format!("{{\"id\": {}}}\n{{\"id\": {}}}\n", 10 + round, 20 + round)).unwrap();
        person.run(&["feed", "send-batch", "orders", "--jsonl-file", file.to_str().unwrap()]).ok();
        server.kill_9();
        server.restart();
        if round % 2 == 1 {
            let wanted = 5 + 2 * usize::try_from(round).unwrap();
            assert_eq!(lines(&person, "den", "logs", wanted).len(), wanted, "round {round}");
        }
    }
    let mut ids: Vec<u64> =
        lines(&person, "den", "logs", 15).iter().map(|one| one["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    let wanted: Vec<u64> = [1, 2, 3].into_iter().chain(10..16).chain(20..26).collect();
    assert_eq!(ids, wanted, "nothing that was answered is lost, nothing is there twice");
    person.run(&["feed", "update", feed, "--paused"]).ok();
    person.run(&["feed", "send", feed, "--message", r#"{"id": 4}"#]).fails(1, &["paused"]);
    person.run(&["feed", "update", feed, "--resume", "--clear-message-schema"]).ok();
    assert_eq!(person.run(&["feed", "get", feed]).json()["message_schema"], Value::Null);
    let listed = person.run(&["feed", "list", "-o", "json"]).json();
    assert_eq!(listed["feeds"][0]["name"], "orders");
    let id = subscribed["id"].as_str().unwrap();
    let logger = person.run(&["llm", "logger", "create", "--feed-id", feed, "-f", "status >= `400`"]).json();
    person.run(&["llm", "logger", "create", "--feed-id", feed, "-f", "status >="]).fails(1, &["JMESPath"]);
    person.run(&["feed", "delete", feed]).fails(1, &["logger"]);
    person.run(&["llm", "logger", "update", logger["id"].as_str().unwrap(), "--paused"]).ok();
    assert_eq!(person.run(&["llm", "logger", "list", "-o", "json"]).json()["loggers"][0]["paused"], true);
    person.run(&["llm", "logger", "delete", logger["id"].as_str().unwrap()]).ok();
    person.run(&["subscription", "delete", "--feed-id", feed, id]).ok();
    person.run(&["feed", "delete", feed]).ok();
    person.run(&["feed", "get", feed]).fails(1, &["no such feed"]);
}

const DOCUMENTS: &str = "version: v1\nkind: Room\nmetadata: {name: desk}\n---\n\
    version: v1\nkind: Feed\nmetadata: {name: orders}\nmessage_schema: {type: object}\n---\n\
    version: v1\nkind: Subscription\nmetadata: {name: to-desk}\nfeed: orders\nroom: desk\npath: logs\n";

#[test]
fn feeds_are_applied_shown_explained_and_exported() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.file("specs/all.yaml", DOCUMENTS);
    let applied = person.run(&["apply", "-f", "specs", "--wait", "--timeout", "20s"]).ok().stdout;
    assert!(applied.contains("subscription/to-desk created"), "{applied}");
    assert!(person.run(&["get", "feeds"]).ok().stdout.contains("orders"));
    let shown = person.run(&["get", "subscription/to-desk", "-o", "json"]).json();
    assert_eq!(
        (&shown["feed"], &shown["room"], &shown["path"]),
        (&json!("orders"), &json!("desk"), &json!("logs"))
    );
    let history = person.run(&["history", "feed/orders"]).ok().stdout;
    assert!(history.contains("feed.created"), "{history}");
    let why = person.run(&["why", "subscription/to-desk"]).ok().stdout;
    assert!(why.contains("subscription/to-desk: ready") && why.contains("  feed/orders: ready"), "{why}");
    person.file("specs/all.yaml", &DOCUMENTS.replace("type: object", "type: array"));
    let differs = person.run(&["diff", "-f", "specs"]);
    assert!(differs.code == 1 && differs.stdout.contains("message_schema.type"), "{differs:#?}");
    person.run(&["apply", "-f", "specs"]).ok();
    person.run(&["feed", "send", "orders", "--message", "{}"]).fails(1, &["message 0 does not fit"]);
    person.run(&["export", "out"]).ok();
    person.run(&["diff", "-f", "out"]).ok();
    person.run(&["delete", "subscription/to-desk"]).ok();
    let gone = person.run(&["history", "subscription/to-desk"]).ok().stdout;
    assert!(gone.contains("feedsubscription.deleted"), "{gone}");
    person.run(&["get", "subscription/to-desk"]).fails(1, &["there is no subscription `to-desk`"]);
}

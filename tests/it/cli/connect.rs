//! `room connect`: commands of this machine in a room; and what is imported into its documents.

use super::Person;
use crate::support::server::Server;
use serde_json::json;

fn desk() -> (Server, Person) {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.run(&["rooms", "create", "desk"]).ok();
    (server, person)
}

/// The environment that a command gets, as `NAME=VALUE` lines.
fn environment(person: &Person, words: &[&str]) -> Vec<String> {
    let all = [&["room", "connect", "--room", "desk"][..], words, &["--", "/usr/bin/env"]].concat();
    person.run(&all).ok().stdout.lines().map(str::to_owned).collect()
}

fn value<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn a_command_in_a_room_gets_its_address_a_token_that_works_and_ends_as_it_ends() {
    let (server, person) = desk();
    let seen = environment(&person, &["--env", "MORE=a=b", "--env", "GROK_BASE_URL=mine"]);
    let token = value(&seen, "MESHAGENT_TOKEN").unwrap();
    for same in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROK_API_KEY", "XAI_API_KEY"] {
        assert_eq!(value(&seen, same), Some(token), "{same}");
    }
    let at = |path: &str| format!("{}{path}", server.url);
    assert_eq!(value(&seen, "MESHAGENT_API_URL"), Some(server.url.as_str()));
    assert_eq!(value(&seen, "MESHAGENT_ROOM"), Some("desk"));
    assert_eq!(value(&seen, "MESHAGENT_PROJECT_ID"), Some(server.project_id.as_str()));
    assert_eq!(value(&seen, "OPENAI_BASE_URL"), Some(at("/openai/v1").as_str()));
    assert_eq!(value(&seen, "ANTHROPIC_BASE_URL"), Some(at("/anthropic").as_str()));
    assert_eq!(value(&seen, "XAI_BASE_URL"), Some(at("/grok/v1").as_str()));
    assert_eq!((value(&seen, "MORE"), value(&seen, "GROK_BASE_URL")), (Some("a=b"), Some("mine")));

    let child = Person::new().with("MESHAGENT_API_URL", &server.url).with("MESHAGENT_ROOM", "desk");
    let child = child.with("MESHAGENT_TOKEN", token).with("MESHAGENT_PROJECT_ID", &server.project_id);
    child.run(&["room", "queue", "send", "--queue", "jobs", "--json", "{}"]).ok();
    // Within, the token serves again; it serves no other room.
    child.run(&["room", "connect", "--", "true"]).ok();
    child.run(&["room", "connect", "--room", "other", "--", "true"]).fails(1, &["no credential"]);

    let connect = |words: &[&str]| person.run(&[&["room", "connect", "--room", "desk"][..], words].concat());
    assert_eq!(connect(&["--", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(connect(&["--", "sh", "-c", "kill -9 $$"]).code, -1, "the signal is the command's own");
    connect(&["--", "no-such-program-here"]).fails(1, &["cannot start `no-such-program-here`"]);
    connect(&[]).fails(2, &["COMMAND"]);
    person.run(&["room", "connect", "--", "true"]).fails(2, &["--room"]);
    person.run(&["room", "connect", "--room", "no", "--", "true"]).fails(1, &["there is no room `no`"]);
}

#[test]
fn a_named_participant_gets_what_was_asked_for_and_no_more() {
    let (server, person) = desk();
    let narrow =
        ["--identity", "bot", "--role", "tool", "--meshagent-token", r#"{"queues": {"send": ["a"]}}"#];
    let seen = environment(&person, &[&narrow[..], &["--template", "none"]].concat());
    assert_eq!((value(&seen, "MESHAGENT_ROOM"), value(&seen, "OPENAI_API_KEY")), (None, None));
    let child = Person::new().with("MESHAGENT_API_URL", &server.url).with("MESHAGENT_ROOM", "desk");
    let child = child.with("MESHAGENT_TOKEN", value(&seen, "MESHAGENT_TOKEN").unwrap());
    child.run(&["room", "queue", "send", "--queue", "a", "--json", "{}"]).ok();
    let refused = child.run(&["room", "queue", "send", "--queue", "b", "--json", "{}"]);
    assert_eq!(refused.code, 1, "{refused:#?}");

    // Nor the key of who starts it, unless that is asked for.
    let key = |words: &[&str]| value(&environment(&person, words), "MESHAGENT_API_KEY").map(str::to_owned);
    assert_eq!(key(&narrow), None);
    assert_eq!(key(&["--template", "none"]), None);
    assert_eq!(key(&[]), None);
    assert_eq!(key(&["--env", "MESHAGENT_API_KEY=mine"]).as_deref(), Some("mine"));

    assert!(value(&environment(&person, &["--template", "none"]), "MESHAGENT_TOKEN").is_none());
    let connect = |words: &[&str]| {
        person.run(&[&["room", "connect", "--room", "desk"][..], words, &["--", "true"]].concat())
    };
    connect(&["--role", "agent"]).fails(2, &["--identity"]);
    connect(&["--meshagent-token", "full"]).fails(2, &["--identity"]);
    connect(&["--identity", ""]).fails(2, &["--identity"]);
    connect(&["--identity", "a", "--meshagent-token", "everything"]).fails(2, &["agentDefault"]);
    connect(&["--template", "web"]).fails(2, &["agent", "none"]);
    connect(&["--env", "=x"]).fails(2, &["KEY=VALUE"]);
    connect(&["--env-secret", "A=b"]).fails(2, &["--env-secret"]);
}

#[test]
fn a_claude_export_becomes_threads_once_however_often_it_is_imported() {
    let (_server, person) = desk();
    let person = person.with("MESHAGENT_ROOM", "desk");
    let talk = |id: &str, name: &str| {
        json!({"uuid": id, "name": name, "created_at": "2026-01-02T03:04:05Z", "chat_messages": [
            {"uuid": "m", "sender": "human", "text": "Hello", "created_at": "2026-01-02T03:04:06Z"}]})
    };
    let known = "0b6f7b1e-8f3e-4c70-9a3c-3d2a1b0c9d8e";
    let export = json!([talk(known, "First"), talk("other id", ""), {"name": "no id"}, 7]).to_string();
    let file = person.file("conversations.json", &export);
    let import = |words: &[&str]| person.run(&[&["room", "sync", "import", "-f", &file][..], words].concat());
    let said = import(&["--human-name", "ann"]).ok().stderr;
    assert!(said.contains("Skipping conversation 3: it is no object."), "{said}");
    assert!(said.contains("Imported 2 thread(s); skipped existing: 0; skipped invalid: 2."), "{said}");
    let path = format!(".threads/anthropic/{known}.thread");
    let thread = person.run(&["room", "sync", "get", &path]).json();
    assert_eq!(thread.pointer("/thread/properties/0/members/items/0/member/name"), Some(&json!("ann")));
    assert_eq!(thread.pointer("/thread/properties/1/messages/items/0/message/text"), Some(&json!("Hello")));
    let index = || person.run(&["room", "sync", "get", ".threads/anthropic/index.threadl"]).json();
    let listed = index();
    let threads = listed["thread_list"]["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 2);
    assert_eq!(
        (&threads[0]["thread"]["name"], &threads[0]["thread"]["path"]),
        (&json!("First"), &json!(path))
    );

    let again = import(&[]).ok().stderr;
    assert!(again.contains("Imported 0 thread(s); skipped existing: 2;"), "{again}");
    let over = import(&["--overwrite", "--limit", "1"]).ok().stderr;
    assert!(over.contains("Imported 1 thread(s); skipped existing: 0; skipped invalid: 0."), "{over}");
    assert_eq!(index(), listed);

    let broken = person.file("broken.json", "{");
    person.run(&["room", "sync", "import", "-f", &broken]).fails(1, &["no JSON array", "conversations.json"]);
    person.run(&["room", "sync", "import", "-f", "none.json"]).fails(1, &["cannot read none.json"]);
    import(&["--limit", "0"]).fails(2, &["--limit"]);
    import(&["--thread-dir", "/"]).fails(2, &["--thread-dir"]);
}

#[test]
fn volumes_and_ports_have_the_official_spelling() {
    let (_server, person) = desk();
    let none = person.run(&["room", "mounts", "list", "--room", "desk"]).ok();
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "No storage mounts are ready.\n"));
    assert_eq!(person.run(&["room", "mounts", "list", "--room", "desk", "-o", "json"]).json(), json!([]));
    let port = |words: &[&str]| person.run(&[&["port"][..], words].concat());
    port(&[]).fails(2, &["--port"]);
    port(&["-r", "desk", "-p", "0:80"]).fails(2, &["--name"]);
    for before in [&[][..], &["forward"]] {
        let words = [before, &["-r", "desk", "-n", "web", "-p", "0:80"]].concat();
        let refused = port(&words);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:#?}");
    }
}

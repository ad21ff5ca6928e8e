//! What needs no server: help, mistakes, settings, documents.

use super::Person;
use clap::CommandFactory;
use std::fs;

#[test]
fn no_arguments_show_help_and_where_to_start() {
    Person::new().run(&[]).fails(2, &["Usage: meshagent", "meshagent up -f specs/quickstart", "rooms"]);
    let help = Person::new().run(&["--help"]).ok();
    assert!(help.stdout.contains("Start here:"), "{help:#?}");
    assert!(help.stderr.is_empty(), "{help:#?}");
}

#[test]
fn near_misses_are_named() {
    let person = Person::new();
    person.run(&["romos", "list"]).fails(2, &["unrecognized subcommand 'romos'", "'rooms'"]);
    person.run(&["rooms", "creat"]).fails(2, &["'create'"]);
    person.run(&["rooms", "list", "--filtr", "x"]).fails(2, &["--filter"]);
    person.run(&["schema", "Servise"]).fails(2, &["did you mean `Service`?"]);
    person.run(&["get", "romos"]).fails(2, &["did you mean `room`?"]);
}

#[test]
fn every_command_and_flag_says_what_it_is() {
    let mut silent = Vec::new();
    let mut open = vec![(String::from("meshagent"), meshagent::cli::Cli::command())];
    while let Some((path, command)) = open.pop() {
        if command.is_hide_set() {
            continue;
        }
        if command.get_about().is_none() {
            silent.push(path.clone());
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let plain = argument.is_positional()
                || argument.get_long().is_some_and(|long| {
                    // These say it by their name.
                    matches!(long, "name" | "description" | "display-name" | "method" | "subject")
                });
            if argument.get_help().is_none() && !plain {
                silent.push(format!("{path} --{}", argument.get_id()));
            }
        }
        open.extend(command.get_subcommands().map(|sub| (format!("{path} {}", sub.get_name()), sub.clone())));
    }
    assert!(silent.is_empty(), "no help for: {silent:#?}");
}

#[test]
fn without_a_server_the_next_step_is_named() {
    Person::new().run(&["rooms", "list"]).fails(1, &["no server is known", "meshagent up", "--api-url"]);
    Person::new().run(&["env"]).fails(1, &["no server has run", "meshagent up"]);
    Person::new()
        .with("MESHAGENT_API_URL", "http://127.0.0.1:9")
        .run(&["rooms", "list"])
        .fails(1, &["no credential for http://127.0.0.1:9", "MESHAGENT_API_KEY"]);
    // Port 9 is discard; nobody listens there.
    Person::new()
        .with("MESHAGENT_API_URL", "http://127.0.0.1:9")
        .with("MESHAGENT_API_KEY", "ma-C297Ho8.THCaPD0qGwydjg-Xwx6Um0OSlebeh.NbJoeAg-s3cr3t")
        .run(&["rooms", "list"])
        .fails(1, &["cannot reach the server at http://127.0.0.1:9", "is it running?"]);
}

#[test]
fn a_missing_room_or_wrong_json_is_a_wrong_command_line() {
    let person = Person::new().with("MESHAGENT_API_URL", "http://127.0.0.1:9");
    person.run(&["room", "queue", "list"]).fails(2, &["no room is named", "MESHAGENT_ROOM"]);
    let wrong = ["room", "queue", "send", "--room", "r", "--queue", "q", "--json", "{prompt: 1}"];
    person.run(&wrong).fails(2, &["not JSON", "quote it"]);
    let wrong =
        ["scheduled-task", "add", "--room", "r", "--queue", "q", "--schedule", "1 day", "--payload", "[1]"];
    person.run(&wrong).fails(2, &["want a JSON object"]);
    let both = ["scheduled-task", "list", "--active", "--inactive"];
    person.run(&both).fails(2, &["cannot be used with"]);
}

#[test]
fn a_broken_settings_file_is_named_and_its_secrets_are_not_shown() {
    let person = Person::new();
    person.file(".meshagent/settings.json", r#"{"users": {"k": {"api_url": "u", "project": "ma-hush"}}}"#);
    let ran = person.run(&["rooms", "list"]).fails(1, &["settings.json is not a settings file", "repair it"]);
    assert!(!ran.stderr.contains("ma-hush"), "{ran:#?}");
}

#[test]
fn the_key_of_the_environment_is_never_printed() {
    let person =
        Person::new().with("MESHAGENT_API_URL", "http://127.0.0.1:9").with("MESHAGENT_API_KEY", "ma-hush");
    for arguments in [&["rooms", "list"][..], &["rooms", "list", "--help"], &["setup"], &["version"]] {
        let ran = person.run(arguments);
        assert!(!ran.stdout.contains("ma-hush") && !ran.stderr.contains("ma-hush"), "{ran:#?}");
    }
}

#[test]
fn documents_are_checked_all_at_once() {
    let person = Person::new();
    let good = "version: v1\nkind: Room\nmetadata:\n  name: a\n";
    person.file("specs/a.yaml", good);
    let valid = person.run(&["validate", "-f", "specs"]).ok();
    assert!(valid.stdout.contains("Room a is valid"), "{valid:#?}");
    person.file("specs/b.yaml", "version: v1\nkind: Room\nmetadata:\n  nam: b\n");
    person.file("specs/c.yml", "kind: Roam\n");
    person.run(&["validate", "-f", "specs"]).fails(
        1,
        &["nothing was changed", "b.yaml:4:", "did you mean `name`?", "c.yml:1:", "did you mean `Room`?"],
    );
    person.run(&["validate", "-f", "nothing.yaml"]).fails(1, &["cannot read nothing.yaml"]);
}

#[test]
fn schemas_and_completions_print() {
    let person = Person::new();
    let kinds = person.run(&["schema"]).ok();
    assert!(kinds.stdout.lines().any(|line| line == "ScheduledTask"), "{kinds:#?}");
    let schema = person.run(&["schema", "scheduledtask"]).json();
    assert!(schema["properties"]["schedule"].is_object(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        let script = person.run(&["completion", shell]).ok();
        assert!(script.stdout.contains("scheduled-task"), "{shell}");
    }
}

#[test]
fn a_token_is_signed_without_a_server() {
    let person = Person::new()
        .with("MESHAGENT_API_URL", "http://127.0.0.1:9")
        .with("MESHAGENT_API_KEY", "ma-C297Ho8.THCaPD0qGwydjg-Xwx6Um0OSlebeh.NbJoeAg-s3cr3t-with-dash");
    let spec = person.file(
        "token.yaml",
        "version: v1\nkind: ParticipantToken\nroom: r\nidentity: bot\nrole: agent\napi: {llm: {}, queues: {}}\n",
    );
    let token = person.run(&["token", "-i", &spec]).ok();
    assert_eq!(token.stdout.trim().split('.').count(), 3, "{token:#?}");
    let out = person.home().join("t.jwt").display().to_string();
    assert_eq!(person.run(&["token", "-i", &spec, "-o", &out]).ok().stdout, "");
    assert_eq!(fs::read_to_string(&out).unwrap(), token.stdout.trim());
    let bare = person.file("bare.yaml", "version: v1\nkind: ParticipantToken\nidentity: bot\napi: {}\n");
    person.run(&["token", "-i", &bare]).fails(1, &["no `llm` grant"]);
    let odd = person
        .file("odd.yaml", "version: v1\nkind: ParticipantToken\nidentity: bot\napi: {llm: {}}\nrom: r\n");
    person.run(&["token", "-i", &odd]).fails(1, &["unknown field `rom`"]);
}

#[test]
fn the_log_of_a_wrong_folder_is_not_made() {
    let person = Person::new();
    let empty = person.home().join("empty");
    fs::create_dir(&empty).unwrap();
    let dir = empty.display().to_string();
    person.run(&["log", "verify", "--data-dir", &dir]).fails(1, &["there is no database in"]);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
}

//! A repository of documents by the commands: what would change, overlays, pruning, the past and the way back.

use super::Person;
use crate::support::server::Server;

const ROOM: &str = "version: v1\nkind: Room\nmetadata: {name: desk, annotations: {team: red}}\n";
const SERVICE: &str =
    "version: v1\nkind: Service\nmetadata: {name: web, annotations: {meshagent.room: desk}}\nexternal: {}\n";

fn repository() -> (Server, Person) {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    person.file("specs/room.yaml", ROOM);
    person.file("specs/in/web.yaml", SERVICE);
    person.file("specs/in/left.yaml", "this is no document");
    person.file("specs/.meshagentignore", "left.yaml\n");
    (server, person)
}

/// What a command prints that found differences.
#[track_caller]
fn differs(person: &Person, arguments: &[&str]) -> String {
    let ran = person.run(arguments);
    assert_eq!(ran.code, 1, "{ran:#?}");
    ran.stdout
}

#[test]
fn what_would_change_is_shown_and_only_that_is_done() {
    let (_server, person) = repository();
    let shown = differs(&person, &["diff", "-f", "specs"]);
    assert!(shown.starts_with("+ room/desk\n+ service/web in room desk\nplan "), "{shown}");
    let plan: serde_json::Value =
        serde_json::from_str(&differs(&person, &["diff", "-f", "specs", "-o", "json"])).unwrap();
    let hash = plan["hash"].as_str().unwrap();
    person.run(&["apply", "-f", "specs", "--plan", "0"]).fails(1, &["the state changed", hash]);
    person.run(&["apply", "-f", "specs", "--plan", hash, "--wait", "--timeout", "20s"]).ok();
    let nothing = person.run(&["diff", "-f", "specs"]).ok();
    assert!(nothing.stdout.contains("0 to create") && nothing.stdout.contains("2 unchanged"), "{nothing:#?}");

    person.file("over/room.yaml", "kind: Room\nmetadata: {name: desk, annotations: {team: blue}}\n");
    let over = differs(&person, &["diff", "-f", "specs", "--overlay", "over"]);
    assert!(
        over.contains("- metadata.annotations.team: \"red\"\n  + metadata.annotations.team: \"blue\""),
        "{over}"
    );
    person
        .run(&["apply", "-f", "specs", "--overlay", "over", "--source", "other"])
        .fails(1, &["room.yaml:1: Room `desk`", "the source `cli` holds this field", "--force-conflicts"]);
    person.run(&["diff", "-f", "missing"]).fails(2, &["missing"]);
    person.run(&["diff"]).fails(2, &["no documents are named"]);
}

#[test]
fn an_empty_text_prunes_nothing() {
    let (_server, person) = repository();
    person.run(&["apply", "-f", "specs"]).ok();
    person.file("empty.yaml", "# specs of process spec, if it had not failed\n");
    person
        .run(&["apply", "-f", "empty.yaml", "--prune"])
        .fails(1, &["no document in", "empty.yaml", "nothing"]);
    person.run(&["validate", "-f", "empty.yaml"]).fails(1, &["no document in"]);
    assert!(person.run(&["get", "room/desk"]).ok().stdout.contains("desk"));
}

#[test]
fn services_of_one_name_are_told_apart() {
    let (_server, person) = repository();
    person.file("specs/other.yaml", &ROOM.replace("desk", "den"));
    person.file("specs/in/den.yaml", &SERVICE.replace("meshagent.room: desk", "meshagent.room: den"));
    person.run(&["apply", "-f", "specs"]).ok();
    for verb in ["why", "history", "describe"] {
        person.run(&[verb, "service/web"]).fails(1, &["web", "room"]);
        let of_den = person.run(&[verb, "service/web", "--room", "den"]).ok();
        assert!(!of_den.stdout.is_empty(), "{verb}");
    }
}

#[test]
fn what_was_changed_by_hand_is_explained() {
    let (_server, person) = repository();
    person.run(&["apply", "-f", "specs", "--source", "shop"]).ok();
    let none = person.run(&["explain", "drift"]).ok();
    assert!(none.stdout.is_empty() && none.stderr.contains("as it was applied"), "{none:#?}");
    person.run(&["rooms", "update", "desk", "--annotations", r#"{"team": "blue", "other": "mine"}"#]).ok();
    let drift = person.run(&["explain", "drift", "--source", "shop"]);
    assert_eq!(drift.code, 1, "{drift:#?}");
    assert!(
        drift.stdout.starts_with("~ room/desk: held by `shop`, changed by service-account:"),
        "{drift:#?}"
    );
    assert!(drift.stdout.contains("team: \"red\"") && drift.stdout.contains("team: \"blue\""), "{drift:#?}");
    assert!(!drift.stdout.contains("mine"), "nobody's field: {drift:#?}");
    // What changes nothing of the source's is not what changed it.
    person.run(&["rooms", "update", "desk", "--annotations", r#"{"team": "blue", "other": "yours"}"#]).ok();
    assert_eq!(person.run(&["explain", "drift", "--source", "shop"]).stdout, drift.stdout);
    person.run(&["explain", "drift", "--source", "nobody"]).fails(1, &["no source `nobody`"]);
    person.run(&["apply", "-f", "specs", "--source", "shop"]).ok();
    person.run(&["explain", "drift"]).ok();
}

#[test]
fn what_is_not_ready_is_waited_for_in_vain() {
    let (_server, person) = repository();
    person.run(&["apply", "-f", "specs"]).ok();
    let template = "version: v1\nkind: ServiceTemplate\nmetadata: {name: fails}\n\
                    container: {image: 'meshagent/cli:default', command: /nonexistent/program}\n";
    let source = template.replace('\n', "\n  ");
    let instance = "version: v1\nkind: ServiceInstance\nmetadata:\n  name: fails\n  annotations: {meshagent.room: desk}\n";
    person.file("fails.yaml", &format!("{instance}source: |\n  {source}\n"));
    person.run(&["apply", "-f", "fails.yaml", "--source", "other"]).ok();
    person
        .run(&["wait", "service-instance/fails", "--room", "desk", "--timeout", "2s"])
        .fails(1, &["timed out waiting for service-instance/fails"]);
    person.run(&["rooms", "update", "desk", "--disabled"]).ok();
    person.run(&["wait", "room/desk", "--timeout", "1s"]).fails(1, &["it is disabled"]);
}

#[test]
fn the_past_is_told_and_brought_back() {
    let (_server, person) = repository();
    person.run(&["apply", "-f", "specs"]).ok();
    let position = person.run(&["diff", "-f", "specs", "-o", "json"]).json()["base"].to_string();
    person.file("specs/room.yaml", &ROOM.replace("red", "blue"));
    person.file("specs/.meshagentignore", "in\n");
    let pruned = person.run(&["apply", "-f", "specs", "--prune"]).ok().stdout;
    assert_eq!(pruned, "room/desk configured\nservice/web deleted\n");
    let history = person.run(&["history", "room/desk"]).ok().stdout;
    assert!(
        history.contains("room.updated") && history.contains("+ metadata.annotations.team: \"blue\""),
        "{history}"
    );
    let gone = person.run(&["history", "service/web"]).ok().stdout;
    assert!(gone.contains("service.deleted"), "{gone}");
    let then = person.run(&["get", "room/desk", "--at", &position, "-o", "json"]).json();
    assert_eq!(then["metadata"]["annotations"]["team"], "red");
    let since = differs(&person, &["diff", "--from", &position]);
    assert!(since.contains("- service/web in room desk"), "{since}");
    person.run(&["rollback", "--to", &position, "--source", "nosuch"]).fails(1, &["source `nosuch`"]);
    person.run(&["apply", "-f", "specs", "--source", "git:shop"]).fails(1, &["what a git source applies"]);
    person.run(&["get", "services", "-r", "dsk"]).fails(1, &["no room `dsk`", "did you mean `desk`?"]);
    let back = person.run(&["rollback", "--to", &position]).ok();
    assert_eq!(back.stdout, "room/desk configured\nservice/web created\n");
    differs(&person, &["diff", "--from", &position]);

    person.run(&["export", "out"]).ok();
    person.run(&["diff", "-f", "out"]).ok();
    person.run(&["export", "out"]).fails(1, &["is not empty"]);
    let why = person.run(&["why", "service/web"]).ok().stdout;
    assert!(why.contains("service/web in room desk: ready") && why.contains("  room/desk: ready"), "{why}");
    person.run(&["why", "service/wbe"]).fails(1, &["did you mean `web`?"]);
    let graph = person.run(&["graph"]).ok().stdout;
    assert!(graph.contains("service/web in room desk: ready\n  needs room/desk\n"), "{graph}");
}

#[test]
fn a_secret_gets_its_value_from_beside_its_document_and_nobody_is_shown_it() {
    let fixture = |name: &str| format!("{}/tests/fixtures/age/{name}", env!("CARGO_MANIFEST_DIR"));
    let server = Server::start(&["--age-identity", &fixture("identity.txt")]);
    let person = Person::of(&server);
    let armored = std::fs::read_to_string(fixture("value.age")).unwrap().replace('\n', "\n  ");
    person.file("specs/token", "hunter2");
    person.file(
        "specs/secrets.yaml",
        &format!(
            "version: v1\nkind: Secret\nmetadata: {{name: token}}\nvalue_from: {{file: token}}\n---\n\
             version: v1\nkind: Secret\nmetadata: {{name: sealed}}\nencrypted: |\n  {armored}\n"
        ),
    );
    let shown = differs(&person, &["diff", "-f", "specs"]);
    assert!(shown.contains("+ secret/token") && shown.contains("+ secret/sealed"), "{shown}");
    person.run(&["apply", "-f", "specs", "--wait", "--timeout", "20s"]).ok();
    person.run(&["diff", "-f", "specs"]).ok();
    let token = person.file("specs/token", "hunter3");
    let changed = differs(&person, &["diff", "-f", "specs"]);
    assert!(
        changed.contains("~ secret/token") && changed.contains("fingerprint: \"hmac-sha256:"),
        "{changed}"
    );
    person.run(&["apply", "-f", "specs"]).ok();
    let told = [
        person.run(&["get", "secrets"]).ok().stdout,
        person.run(&["get", "secret/token", "-o", "json"]).ok().stdout,
        person.run(&["history", "secret/token"]).ok().stdout,
        person.run(&["why", "secret/token"]).ok().stdout,
        person.run(&["events", "-o", "json"]).ok().stdout,
        changed,
    ];
    assert!(
        told[0].contains("token") && told[0].contains("sealed") && told[0].contains("default"),
        "{}",
        told[0]
    );
    for text in told {
        assert!(!text.contains("hunter") && !text.contains("correct horse"), "{text}");
    }
    let all = person.run(&["secret", "list", "--subject", "default", "-o", "json"]).ok().json();
    assert!(all.to_string().contains("sealed"), "{all}");

    person.run(&["explain", "drift"]).ok();
    let id =
        person.run(&["get", "secret/token", "-o", "json"]).ok().json()["id"].as_str().unwrap().to_owned();
    let other = person.file("other", "hunter4");
    let new = ["secret", "add-version", &id, "--subject", "default", "--value-file", &other];
    person.run(&new).ok();
    let drift = person.run(&["explain", "drift"]);
    assert!(
        drift.code == 1 && drift.stdout.contains("secret/token") && !drift.stdout.contains("hunter"),
        "{drift:#?}"
    );
    assert!(drift.stdout.contains("fingerprint"), "{drift:#?}");

    person.run(&["export", "out"]).ok();
    let again = person.run(&["diff", "-f", "out"]).ok().stdout;
    assert!(again.contains("0 to create, 0 to update"), "{again}");
    std::fs::remove_file(token).unwrap();
    person
        .run(&["apply", "-f", "specs"])
        .fails(1, &["Secret `token`: value_from: file `token` cannot be read"]);
    person.run(&["delete", "secret/sealed"]).ok();
    person.run(&["get", "secret/sealed"]).fails(1, &["there is no secret `sealed`"]);
}

#[test]
fn a_template_is_kept_as_its_text_and_services_are_made_of_it() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let template = |image: &str| {
        format!(
            "version: v1\nkind: ServiceTemplate\nmetadata:\n  name: greeter\n\
             variables:\n- name: greeting\n  description: What everybody is told\n\
             container:\n  image: {image}\n  command: say {{{{ greeting }}}}\n  on_demand: true\n"
        )
    };
    person.file("specs/greeter.yaml", &template("first"));
    let instance = "version: v1\nkind: ServiceInstance\nmetadata: {name: morning}\ntemplate: greeter\n";
    let path = person.file("specs/morning.yaml", instance);
    person
        .run(&["apply", "-f", "specs"])
        .fails(1, &["morning.yaml:1: ServiceInstance `morning`: values.greeting", "What everybody is told"]);
    std::fs::write(path, format!("{instance}values: {{greeting: hello}}\n")).unwrap();
    person.run(&["apply", "-f", "specs", "--wait", "--timeout", "20s"]).ok();
    let made = person.run(&["get", "service/morning", "-o", "json"]).ok().json();
    assert_eq!(made["container"]["command"], "say hello", "{made}");
    person.file("specs/greeter.yaml", &template("second"));
    let changed = differs(&person, &["diff", "-f", "specs"]);
    assert!(changed.contains("~ servicetemplate/greeter") && !changed.contains("morning"), "{changed}");
    person.run(&["apply", "-f", "specs"]).ok();
    let made = person.run(&["get", "service/morning", "-o", "json"]).ok().json();
    assert_eq!(made["container"]["image"], "second", "{made}");
    person.run(&["delete", "service/morning"]).fails(1, &["made of a template by the instance `morning`"]);
    person.run(&["export", "out"]).ok();
    let again = person.run(&["diff", "-f", "out"]).ok().stdout;
    assert!(again.contains("0 to create, 0 to update"), "{again}");
    let told = person.run(&["why", "service-instance/morning"]).ok().stdout;
    assert!(told.contains("on demand") || told.contains("invoked") || told.contains("Ready"), "{told}");
    person.run(&["delete", "instance/morning"]).ok();
    person.run(&["get", "service/morning"]).fails(1, &["there is no service `morning`"]);
    let table = person.run(&["get", "templates"]).ok().stdout;
    assert!(table.contains("greeter"), "{table}");
}

/// The text doubles with every step, so that rendering it would use up the memory of the machine.
#[test]
fn a_template_that_takes_all_memory_is_refused_and_the_server_goes_on() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let bomb = "{% set a = a ~ a %}".repeat(40);
    let template = format!(
        "version: v1\nkind: ServiceTemplate\nmetadata:\n  name: greeter\n  # {{% set a = 'ab' %}}{bomb}\n\
         container:\n  image: i\n  command: say\n  on_demand: true\n"
    );
    person.file("specs/greeter.yaml", &template);
    person.file(
        "specs/morning.yaml",
        "version: v1\nkind: ServiceInstance\nmetadata: {name: morning}\ntemplate: greeter\n",
    );
    person.run(&["apply", "-f", "specs"]).fails(1, &["morning", "more than 256 MiB of memory"]);
    person.run(&["get", "service/morning"]).fails(1, &["there is no service `morning`"]);
}

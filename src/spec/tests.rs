use super::*;
use serde_json::{Value, json};
use std::fmt::Write;

fn problems(text: &str) -> Vec<String> {
    let problems = parse("a.yaml", text).map(|documents| format!("{documents:?}")).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn service(text: &str) -> Service {
    match parse("a.yaml", text)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    {
        Ok(documents) => match documents.into_iter().next() {
            Some(Document::Service(service)) => service,
            other => panic!("{other:?}"),
        },
        Err(problems) => panic!("{problems:#?}"),
    }
}

const HEAD: &str = "version: v1\nkind: Service\nmetadata: {name: s}\n";

#[test]
fn several_problems_are_reported_at_once_with_line_and_path() {
    let text = format!(
        "{HEAD}enabled: perhaps\ncontainer:\n  imge: x\n  private: 7\nports:\n- num: 8078\n  typ: http\n- num: []\n"
    );
    assert_eq!(
        problems(&text),
        [
            "a.yaml:4:1: enabled: expected true or false, found the text `perhaps`",
            "a.yaml:5:1: container.image: the field `image` is missing",
            "a.yaml:6:3: container.imge: unknown field `imge`\n  hint: did you mean `image`?",
            "a.yaml:7:3: container.private: expected true or false, found the number 7",
            "a.yaml:10:3: ports[0].typ: unknown field `typ`\n  hint: did you mean `type`?",
            "a.yaml:11:3: ports[1].num: expected `*` or a whole number from 1 to 65535, found a list",
        ]
    );
}

#[test]
fn rules_between_fields_are_placed_too() {
    let text = format!(
        "{HEAD}container:\n  image: i\n  environment:\n  - name: A\n    secret: {{id: s}}\nports:\n- num: '8078'\n"
    );
    assert_eq!(
        problems(&text),
        [
            "a.yaml:8:5: container.environment[0].secret: `run_as` is required when a variable comes from a secret\n  \
         hint: add `run_as: {email: <service account>}` to the container",
            "a.yaml:10:3: ports[0].num: port 8078 is kept for the platform\n  \
         hint: choose another number, or \"*\" for a free port",
        ]
    );
}

#[test]
fn scalars_are_read_as_leniently_as_the_clients_do_and_no_further() {
    let text = format!("{HEAD}enabled: 'yes'\nports: [{{num: '5002', host_port: 80.0}}]\n");
    let service = service(&text);
    assert!(service.enabled);
    assert_eq!(service.ports()[0].num, PortNumber::Fixed(5002));
    assert_eq!(service.ports()[0].host_port, Some(80));
    let text = format!("{HEAD}container: {{image: i, environment: [{{name: A, value: 5}}]}}\n");
    assert_eq!(
        problems(&text),
        ["a.yaml:4:47: container.environment[0].value: expected a text, found the number 5\n  \
         hint: put it in quotes: \"5\""]
    );
}

#[test]
fn a_quoted_command_that_a_terminal_wrapped_to_the_left_edge_is_read() {
    let text = format!(
        "{HEAD}container:\n  command: \"meshagent process join\n--rule 'say \\\"hi\\\"' --agent-name\nx\"\n  image: 'a\nb'\n  private: true\n"
    );
    let container = service(&text).container.unwrap();
    assert_eq!(container.command.unwrap(), "meshagent process join --rule 'say \"hi\"' --agent-name x");
    assert_eq!(container.image, "a b");
    assert!(container.private);
}

#[test]
fn text_that_is_not_yaml_says_where() {
    for (text, start) in [
        ("version: v1\nmetadata: [\n", "a.yaml:3:1: "),
        ("a: b: c\n", "a.yaml:1:5: "),
        ("a: \"x\n", "a.yaml:1:4: "),
        ("a: 1\na: 2\n", "a.yaml:2:1: "),
        ("- 1\n", "a.yaml:1:1: document: a document is a mapping"),
        (
            "kind: Servic\n",
            "a.yaml:1:1: kind: the kind `Servic` is not known\n  hint: did you mean `Service`?",
        ),
        ("version: v1\n", "a.yaml:1:1: kind: the field `kind` is missing"),
    ] {
        let found = problems(text);
        assert!(found[0].starts_with(start), "{text:?}: {found:?}");
    }
    assert_eq!(parse("a.yaml", "# nothing\n---\n").unwrap(), []);
}

#[test]
fn bombs_are_refused_quickly() {
    assert!(problems(&"[".repeat(100_000))[0].contains("recursion limit"));
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(problems(&deep)[0].contains("nested deeper than 64"), "{:?}", problems(&deep));
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        writeln!(laughs, "a{level}: &a{level} [{}]", before.trim_end_matches(", ")).unwrap();
    }
    assert!(problems(&laughs)[0].contains("more than 200000 values"), "{:?}", problems(&laughs));
    assert!(problems("a: &a [*a]\n")[0].contains("alias"), "{:?}", problems("a: &a [*a]\n"));
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    assert!(problems(&long)[0].contains("bytes"));
    let many = "---\na: 1\n".repeat(DOCUMENTS_MAX + 1);
    assert!(problems(&many)[0].contains("more than 1000 documents"));
    let wrong = (0..1000).map(|at| format!("x{at}: 1")).collect::<Vec<_>>().join("\n");
    assert_eq!(problems(&format!("{HEAD}{wrong}")).len(), PROBLEMS_MAX);
}

#[test]
fn anchors_and_merges_work() {
    let text = format!(
        "{HEAD}agents:\n- &base\n  name: one\n  description: d\n- <<: *base\n  name: two\nfiles: [{{path: p, text: !!str 5}}]\n"
    );
    let service = service(&text);
    assert_eq!(service.agents()[1].name, "two");
    assert_eq!(service.agents()[1].description.as_deref(), Some("d"));
    assert_eq!(service.files()[0].text, "5");
    assert!(
        problems(&format!("{HEAD}files: [{{path: !env p, text: t}}]\n"))[0]
            .contains("the tag `!env` is not known")
    );
    assert!(
        problems(&format!("{HEAD}files: [{{path: !template p, text: t}}]\n"))[0]
            .contains("only in a ServiceTemplate")
    );
}

#[test]
fn two_documents_with_one_name_are_refused_across_files() {
    let room = "version: v1\nkind: Room\nmetadata: {name: r}\n";
    let in_room = |room: &str| {
        format!(
            "version: v1\nkind: Service\nmetadata: {{name: s, annotations: {{meshagent.room: {room}}}}}\n"
        )
    };
    assert_eq!(parse_files(&[("a", in_room("a")), ("b", in_room("b"))]).unwrap().len(), 2, "other rooms");
    let same =
        parse_files(&[("a.yaml", room.to_owned()), ("b.yaml", format!("{HEAD}---\n{room}"))]).unwrap_err();
    assert_eq!(
        same[0].to_string(),
        "b.yaml:5:1: metadata.name: there is another Room `r` in a.yaml:1\n  \
         hint: give one of them another name, or remove it"
    );
}

#[test]
fn what_the_official_client_sends_is_accepted_with_and_without_nulls() {
    let created = json!({
        "version": "v1", "kind": "Service", "enabled": true,
        "metadata": { "name": "support-agent", "annotations": { "meshagent.service.id": "support-agent" } },
        "agents": [{ "name": "support-agent", "annotations": { "meshagent.agent.type": "ChatBot" } }],
        "ports": [],
        "container": {
            "image": "meshagent/cli:default", "template": "agent", "command": "meshagent process join",
            "environment": [{ "name": "MESHAGENT_TOKEN", "token": {
                "identity": "support-agent", "role": "agent", "api": { "livekit": {}, "queues": { "list": true } },
            } }],
            "private": true,
        },
    });
    let service: Service = from_json(created.clone()).unwrap();
    assert_eq!(service.logical_id(), Some("support-agent"));
    let mut sent = serde_json::to_value(&service).unwrap();
    assert_eq!(
        sent,
        json_with(&created, "/container/environment/0/token/api/queues", json!({ "list": true }))
    );
    sent["id"] = json!("x");
    sent["files"] = Value::Null;
    sent["external"] = Value::Null;
    sent["metadata"]["icon"] = Value::Null;
    sent["container"]["storage"] = Value::Null;
    let updated: Service = from_json(sent).unwrap();
    assert_eq!(Service { id: None, ..updated }, service);
}

fn json_with(value: &Value, pointer: &str, part: Value) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(pointer).unwrap() = part;
    value
}

#[test]
fn the_recorded_scheduled_task_is_accepted_and_answered_alike() {
    let sent = json!({
        "version": "v1", "kind": "ScheduledTask", "metadata": { "annotations": {} }, "schedule": "30 17 * * *",
        "active": true, "once": false, "queue": { "name": "support-jobs", "payload": { "prompt": "x" } },
    });
    let task: ScheduledTask = from_json(sent.clone()).unwrap();
    assert_eq!(serde_json::to_value(&task).unwrap(), sent);
    let wrong = from_json::<ScheduledTask>(json!({ "schedule": "30 25 * * *", "queue": { "name": " " } }))
        .unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert_eq!(wrong[0].to_string(), "queue.name: the text is empty");
    let never = from_json::<ScheduledTask>(json!({ "schedule": "0 0 30 2 *", "queue": { "name": "q" } }))
        .unwrap_err();
    assert_eq!(summary(&never), "schedule: the schedule `0 0 30 2 *` never fires; choose a date that exists");
}

#[test]
fn a_token_with_a_grant_of_tomorrow_keeps_the_others() {
    let scope = scope_from_token(&json!({ "queues": {}, "teleport": { "x": 1 }, "database": {} })).unwrap();
    assert_eq!(scope.to_token_value(), json!({ "queues": {}, "dataset": {} }));
    assert!(scope_from_token(&json!({ "queues": { "only_on": "monday" } })).is_err());
    assert!(scope_from_token(&json!([])).is_err());
}

#[test]
fn the_flat_route_of_older_clients_becomes_one_path() {
    let flat = json!({ "domain": "a.example.com", "room_name": "r", "port": "8080", "annotations": null });
    let route: Route = from_json(flat).unwrap();
    assert_eq!(route.paths[0].target_port, Some(TargetPort::Name("8080".to_owned())));
    assert_eq!(route.backend.room.unwrap().name, "r");
}

#[test]
fn secrets_of_a_spec_do_not_reach_debug_output() {
    let oauth = OauthClient { client_secret: Some("hunter2".to_owned()), ..OauthClient::default() };
    assert!(!format!("{oauth:?}").contains("hunter2"));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(
        free in "\\PC{0,60}",
        yamlish in "([a-c]|: |- |\\[|\\]|\\{|\\}|, |\"|'|\n|\n  |\t|#|&a |\\*a|!template |!!int |\\||>|%|---\n|<<: |\\?|~|0){0,40}",
    ) {
        let _ = parse("a.yaml", &free);
        let _ = parse("a.yaml", &yamlish);
        let _ = parse("a.yaml", &format!("{HEAD}files:\n{yamlish}"));
    }
}

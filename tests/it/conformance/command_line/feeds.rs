//! `feed`, `subscription`, `llm logger` and the router document.

use super::{ROOM, Tool, make_room};
use crate::support::clients::{self, Finished};
use crate::support::server::Server;

/// Runs a line, which must go well.
fn run(tool: &Tool<'_>, line: &str) -> String {
    let ran = asked(tool, line);
    assert_eq!(ran.code, Some(0), "{line}\n{}\n{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn asked(tool: &Tool<'_>, line: &str) -> Finished {
    tool.step(&shlex::split(line).unwrap())
}

/// The `id` that a printed object begins with.
fn id_of(printed: &str) -> String {
    printed.split("'id': '").nth(1).and_then(|rest| rest.split('\'').next()).expect(printed).to_owned()
}

#[test]
fn feeds() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    make_room(&server);
    let tool = Tool::new(python, &server);
    let made = run(
        &tool,
        r#"feed create -n orders -d all --annotations '{"a": "b"}' --message-schema '{"type": "object"}'"#,
    );
    assert!(made.contains("'status': 'ready'"), "{made}");
    let feed = id_of(&made);
    let made = run(&tool, &format!("subscription create --feed-id {feed} --room {ROOM} --path logs/orders"));
    let subscription = id_of(&made);
    assert!(made.contains("'path': 'logs/orders'") && made.contains("'status': 'ready'"), "{made}");
    run(&tool, &format!(r#"feed send {feed} --message '{{"id": 1}}'"#));
    tool.write("many.jsonl", "{\"id\": 2}\n{\"id\": 3}\n");
    run(&tool, &format!("feed send-batch {feed} --jsonl-file many.jsonl"));
    assert_ne!(asked(&tool, &format!("feed send {feed} --message 1")).code, Some(0));
    for line in ["feed list".to_owned(), format!("feed list --room {ROOM}"), format!("feed get {feed}")] {
        assert!(run(&tool, &line).contains("orders"), "{line}");
    }
    run(&tool, &format!("feed update {feed} --paused --clear-message-schema"));
    assert!(run(&tool, &format!("feed get {feed}")).contains("'paused': True"));
    run(
        &tool,
        &format!(
            "subscription update --feed-id {feed} {subscription} --filename-datetime-format YYYY/MM/DD/hh_mm_ssZ"
        ),
    );
    assert!(run(&tool, &format!("subscription get --feed-id {feed} {subscription}")).contains("YYYY/MM/DD"));
    assert!(run(&tool, &format!("subscription list --feed-id {feed}")).contains("logs/orders"));

    let made = run(&tool, &format!("llm logger create --feed-id {feed} -f 'status >= `400`' --paused"));
    let logger = id_of(&made);
    run(&tool, &format!("llm logger update {logger} --resume -f 'status < `400`'"));
    assert!(run(&tool, &format!("llm logger get {logger}")).contains("status < `400`"));
    assert!(run(&tool, "llm logger list").contains(&feed));
    run(&tool, &format!("llm logger delete {logger}"));
    run(&tool, &format!("subscription delete --feed-id {feed} {subscription}"));
    run(&tool, &format!("feed delete {feed}"));
    assert_eq!(asked(&tool, &format!("feed get {feed}")).code, Some(1));
}

#[test]
fn the_router_document() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    assert!(run(&tool, "project get-llm-router-config").contains("allowedModels: null"));
    let document = "allowedModels: [{provider: openai, model: gpt-4.1-mini}]\napps: {mode: allowed, userAgentPatterns: [meshagent-*]}\n\
                    rules:\n- {name: policy, when: {apis: [responses]}, then: {instructions: {append: Be kind.}, tools: {deny: [{type: mcp}]}}}\n";
    tool.write("router.yaml", document);
    run(&tool, "project set-llm-router-config router.yaml");
    let shown = run(&tool, "project get-llm-router-config");
    for part in ["model: gpt-4.1-mini", "mode: allowed", "append: Be kind.", "- type: mcp"] {
        assert!(shown.contains(part), "want `{part}` in {shown}");
    }
}

//! The official command line tool keeps secrets on our server.

use super::command_line::Tool;
use crate::support::clients;
use crate::support::server::Server;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_official_tool_keeps_secrets() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    let run = |arguments: &[&str], expected: &str| tool.run(arguments, expected);
    run(&["secret", "list"], "No secrets");
    let note = r#"{"provider": "github"}"#;
    let made = run(
        &["secret", "create", "github", "--value", "first", "--annotations", note, "-o", "json"],
        "\"github\"",
    );
    let made = json(&made);
    let id = made["id"].as_str().unwrap();
    run(&["secret", "search", "--provider", "github"], "github");
    run(&["secret", "access", id], "first");
    tool.write("value", "second");
    run(&["secret", "add-version", id, "--value-file", "value"], "2");
    let versions = json(&run(&["secret", "versions", id, "-o", "json"], "\"versions\""));
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2, "{versions}");
    let old = versions["versions"][1]["id"].as_str().unwrap();
    run(&["secret", "access", id, "--version", old], "first");
    run(&["secret", "delete-version", id, old], "");
    run(&["secret", "update", id, "--name", "gitlab", "--http-only"], "");
    run(&["secret", "get", id], "gitlab");
    let refused = tool.try_run(&["secret", "access", id]);
    assert_ne!(refused.code, Some(0), "{}", refused.said());
    assert!(refused.said().contains("/proxy-request"), "{}", refused.said());
    run(&["secret", "grant-proxy", id, "--subject", "default"], "");
    run(&["secret", "grants", id], "use_proxy");
    run(&["secret", "revoke-proxy", id, "--subject", "default"], "");
    run(&["secret", "delete", id], "");

    let of = ["--subject", "default"];
    let run = |arguments: &[&str], expected: &str| tool.run(&[arguments, &of].concat(), expected);
    let made = json(&run(&["secret", "create", "docker", "--value", "first", "-o", "json"], "\"docker\""));
    let id = made["id"].as_str().unwrap();
    run(&["secret", "access", id], "first");
    run(&["secret", "add-pull-secret", id], "");
    run(&["secret", "pull-secrets"], "docker");
    run(&["secret", "remove-pull-secret", id], "");
    run(&["secret", "delete", id], "");
    run(&["secret", "list"], "No secrets");
}

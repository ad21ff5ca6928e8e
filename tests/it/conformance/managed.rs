//! Managed agents with the official clients. What the SDK's script checks is in `tests/conformance/managed.py`.

use super::command_line::Tool;
use super::llm::{node, script};
use super::room_client::environment;
use crate::cli::Person;
use crate::support::clients;
use crate::support::script::Script;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::process::Command;

fn document(name: &str, model: &str) -> String {
    let models = json!([{"provider": "openai", "model": model}]);
    json!({"metadata": {"name": name}, "allowed_models": models}).to_string()
}

#[test]
fn the_official_sdk_makes_and_uses_managed_agents() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let mut command = Command::new(&python.python);
    command.arg(script("managed.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    environment(&mut command, &server);
    Script::start(command).must_say("done");
}

#[test]
fn the_official_command_line_makes_and_uses_managed_agents() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    let echo = document("helper", "builtin/echo");
    tool.run(&["agent", "create", "-c", &echo], "\"name\": \"helper\"");
    let again = tool.try_run(&["agent", "create", "-c", &echo]);
    assert!(again.code == Some(1) && again.stdout.contains("409"), "{}", again.said());
    tool.run(&["agent", "list", "-o", "json"], "\"helper\"");
    tool.run(&["agents", "get", "--name", "helper"], "\"allowed_models\"");
    let isolation = ["--thread-isolation", "participant"];
    let update = ["agent", "update", "--name", "helper", "-c", &echo];
    tool.run(&[&update[..], &isolation].concat(), "Agent updated.");
    tool.run(&["agent", "get", "--name", "helper"], "\"participant\"");
    tool.run(
        &["agent", "use", "helper", "-m", "hello from the official tool"],
        "hello from the official tool",
    );
    let said = tool.run(&["agent", "use", "--name", "helper", "-m", "once", "-o", "json"], "thread_path");
    let answer: Value = serde_json::from_str(&said).unwrap();
    let thread = answer["thread_path"].as_str().unwrap();
    tool.run(&["agent", "use", "helper", "--thread-id", thread, "--load", "-m", "twice"], "twice");
    tool.run(&["agent", "delete", "--name", "helper"], "Agent deleted.");
    let gone = tool.try_run(&["agent", "use", "helper", "-m", "x"]);
    assert_eq!(gone.code, Some(1), "{}", gone.said());
}

#[test]
fn a_managed_agents_models_are_asked_through_the_proxy_and_counted() {
    let (Some(python), Some(models)) = (clients::python(), clients::models()) else { return };
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let person = Person::of(&server);
    let mut stand_in = Script::start(node(models, "llm-stand-in.cjs"));
    let base = format!("{}/v1", stand_in.must_tell("listens on "));
    person.run(&["llm", "provider", "set", "openai", "--no-key", "--base-url", &base]).ok();
    let tool = Tool::new(python, &server);
    tool.run(&["agent", "create", "-c", &document("helper", "gpt-5.4")], "helper");
    tool.run(&["agent", "use", "helper", "-m", "hello"], "Hi there, this is a whole sentence.");
    let ours = person.run(&["agent", "use", "helper", "-m", "hello"]).ok();
    assert_eq!(ours.stdout, "Hi there, this is a whole sentence.\n");
    let usage = person.run(&["llm", "usage", "-o", "json"]).json().to_string();
    assert!(usage.contains("gpt-5.4"), "{usage}");
}

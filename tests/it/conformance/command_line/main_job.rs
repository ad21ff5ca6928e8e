//! The main job: rooms, an agent that works off a queue, scheduled tasks, mailboxes, and what is refused.

use super::{ROOM, Tool};
use crate::support::clients;
use crate::support::postgres;
use crate::support::server::Server;
use std::path::Path;

const TASK: &str = "
version: v1
kind: ScheduledTask
metadata:
  name: nightly
schedule: '30 17 * * *'
queue:
  name: jobs
  payload:
    prompt: write the nightly report
";

/// Creates the room and deploys the agent that our own `process spec` describes.
fn deploy(tool: &Tool) {
    tool.run(&["project", "activate", tool.project_id], tool.project_id);
    tool.run(&["rooms", "create", ROOM], "\"enabled\": true");
    tool.run(&["rooms", "list"], ROOM);
    let spec = tool.run_program(
        Path::new(env!("CARGO_BIN_EXE_meshagent")),
        &[
            "process",
            "spec",
            "--service-name",
            "worker",
            "--agent-name",
            "worker",
            "--channel",
            "queue:jobs",
            "--channel",
            "toolkit:worker",
            "--model",
            "builtin/echo",
            "--require-storage",
        ],
    );
    assert_eq!(spec.code, Some(0), "{}", spec.said());
    tool.write("worker.yaml", &spec.stdout);
    tool.run(&["service", "validate", "-f", "worker.yaml"], "Service spec is valid: worker");
    tool.run(&["service", "create", "-f", "worker.yaml", "--room", ROOM], "Created service: ");
    tool.run(&["service", "list", "--room", ROOM], "worker");
}

#[test]
fn the_official_tool_does_the_main_job() {
    main_job(&[]);
}

#[test]
fn the_official_tool_does_the_main_job_on_postgres() {
    let Some(url) = postgres::blocking_database() else { return };
    main_job(&["--database-url", &url]);
}

fn main_job(arguments: &[&str]) {
    let Some(python) = clients::python() else { return };
    let server = Server::start(arguments);
    let tool = Tool::new(python, &server);
    deploy(&tool);

    let job = serde_json::json!({ "prompt": echo_call("reports/first.md", "all is well") }).to_string();
    tool.run(&["room", "queue", "send", "--room", ROOM, "--queue", "jobs", "--json", &job], "Connecting");
    tool.eventually(&["room", "storage", "exists", "--room", ROOM, "room://reports/first.md"], "' exists");
    tool.run(&["room", "storage", "cp", "--room", ROOM, "room://reports/first.md", "first.md"], "Copied");
    assert_eq!(tool.read("first.md"), "all is well");

    tool.run(&["room", "agents", "list-toolkits", "--room", ROOM], "run_worker_task");
    let arguments = serde_json::json!({ "prompt": "say forty-two" }).to_string();
    tool.run(
        &[
            "room",
            "agents",
            "invoke-tool",
            "--room",
            ROOM,
            "--toolkit",
            "worker",
            "--tool",
            "run_worker_task",
            "--arguments",
            &arguments,
        ],
        "say forty-two",
    );
    tool.run(&["session", "list"], ROOM);
    tool.run(&["session", "list", "--room", ROOM, "--output", "json"], "\"is_active\": true");
}

/// A prompt whose fenced block the built-in provider carries out.
fn echo_call(path: &str, text: &str) -> String {
    let call = serde_json::json!({ "tool": "write_file", "arguments": { "path": path, "text": text, "overwrite": null } });
    format!("Write the report.\n```tool\n{call}\n```\n")
}

#[test]
fn the_official_tool_keeps_scheduled_tasks_and_mailboxes() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    tool.run(&["rooms", "create", ROOM, "--no-owner"], ROOM);

    tool.write("task.yaml", TASK);
    let added =
        tool.run(&["scheduled-task", "add", "--room", ROOM, "-f", "task.yaml"], "Created scheduled task: ");
    let id = added.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    tool.run(&["scheduled-task", "list", "--room", ROOM], &id);
    tool.write("task.yaml", &TASK.replace("30 17", "45 6"));
    tool.run(&["scheduled-task", "update", &id, "-f", "task.yaml"], "Updated scheduled task");
    tool.run(&["scheduled-task", "list", "-o", "json"], "45 6 * * *");
    tool.run(&["scheduled-task", "delete", &id], "Deleted scheduled task");
    tool.run(&["scheduled-task", "list"], "not currently any scheduled tasks");

    let mailbox = "help@mail.example.com";
    tool.run(&["mailbox", "create", "--address", mailbox, "--room", ROOM, "--queue", "mail"], mailbox);
    tool.run(&["mailbox", "list"], mailbox);
    tool.run(&["mailbox", "delete", mailbox], mailbox);
}

#[test]
fn the_official_tool_is_told_what_is_wrong() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    tool.run(&["rooms", "create", ROOM, "--no-owner"], ROOM);

    let again = tool.try_run(&["rooms", "create", ROOM, "--no-owner"]);
    assert_eq!(again.code, Some(1), "{}", again.said());
    assert!(again.stdout.contains("Status=409") && again.stdout.contains(ROOM), "{}", again.said());

    tool.run(&["rooms", "update", "--name", ROOM, "--disabled"], "Room updated");
    let disabled = tool.try_run(&["room", "queue", "list", "--room", ROOM]);
    assert_eq!(disabled.code, Some(1), "{}", disabled.said());
    assert!(disabled.stdout.contains("disabled"), "{}", disabled.said());
}

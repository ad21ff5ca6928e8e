//! The official command line tool does the main job against our server, with nothing but the three variables.

use crate::support::clients::{self, Finished, PythonClients};
use crate::support::postgres;
use crate::support::server::Server;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const COMMAND_LIMIT: Duration = Duration::from_mins(2);
/// Each look starts the tool, which takes seconds: this many is more than a minute.
const LOOKS_MAX: usize = 40;
const ROOM: &str = "support";
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

/// The tool with a home of its own.
pub(super) struct Tool<'a> {
    program: &'a Path,
    home: TempDir,
    server: &'a Server,
}

impl<'a> Tool<'a> {
    pub(super) fn new(python: &'a PythonClients, server: &'a Server) -> Self {
        Tool { program: &python.meshagent, home: tempfile::tempdir().unwrap(), server }
    }

    /// Runs it in its home; whatever happens to it is in the answer.
    pub(super) fn try_run(&self, arguments: &[&str]) -> Finished {
        self.run_program(self.program, arguments)
    }

    fn run_program(&self, program: &Path, arguments: &[&str]) -> Finished {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("MESHAGENT_API_URL", &self.server.url)
            .env("MESHAGENT_API_KEY", &self.server.api_key)
            .env("MESHAGENT_PROJECT_ID", &self.server.project_id)
            .env("COLUMNS", "400")
            .env("TERM", "dumb");
        clients::run(&mut command, COMMAND_LIMIT).unwrap()
    }

    /// Runs it, expects success and this text in what it prints.
    pub(super) fn run(&self, arguments: &[&str], expected: &str) -> String {
        let finished = self.try_run(arguments);
        let done = finished.code == Some(0) && finished.stdout.contains(expected);
        assert!(done, "`{}` should print `{expected}`: {}", arguments.join(" "), finished.said());
        finished.stdout
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        fs::write(self.home.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap()
    }

    /// Looks again until the tool prints this.
    fn eventually(&self, arguments: &[&str], expected: &str) {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let finished = self.try_run(arguments);
            if finished.stdout.contains(expected) {
                return;
            }
            last = Some(finished);
        }
        panic!("`{}` never printed `{expected}`: {:?}", arguments.join(" "), last.map(|each| each.said()));
    }
}

/// Creates the room and deploys the agent that our own `process spec` describes.
fn deploy(tool: &Tool) {
    tool.run(&["project", "activate", &tool.server.project_id], &tool.server.project_id);
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
fn the_official_tool_copies_files_in_and_out() {
    let Some(python) = clients::python() else { return };
    let server = Server::start(&[]);
    let tool = Tool::new(python, &server);
    tool.run(&["rooms", "create", ROOM, "--no-owner"], ROOM);

    let content: String = (0..200_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    tool.write("in.txt", &content);
    tool.run(&["room", "storage", "cp", "--room", ROOM, "in.txt", "room://deep/er/file.txt"], "Copied");
    tool.run(&["room", "storage", "ls", "--room", ROOM, "-r", "room://"], "file.txt");
    tool.run(&["room", "storage", "cp", "--room", ROOM, "room://deep/er/file.txt", "out.txt"], "Copied");
    assert!(tool.read("out.txt") == content, "the file came back changed");
    tool.run(&["room", "storage", "cp", "-r", "--room", ROOM, "room://deep", "tree"], "Copied");
    assert!(tool.read("tree/er/file.txt") == content, "the folder came back changed");
    tool.run(&["room", "storage", "rm", "-r", "--room", ROOM, "room://deep"], "Removed");
    tool.run(&["room", "storage", "exists", "--room", ROOM, "room://deep/er/file.txt"], "does NOT exist");
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

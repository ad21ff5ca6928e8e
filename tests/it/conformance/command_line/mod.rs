//! The official command line tool, unchanged, against our server, with nothing but its three variables.
//!
//! One file per group of commands. Most are tables of steps: a command line, what it must print, how it must end. The
//! main job and what goes on until it is stopped start the installed program; the steps run in forks of it.
//! `coverage.rs` holds the list of the commands that matter most and fails for one that no group drives.

mod containers;
mod coverage;
mod datasets;
mod documents;
mod feeds;
mod files;
mod main_job;
mod participants;
mod queues;
mod routes;
mod services;
mod steps;
mod warm;

use crate::support::clients::{self, Finished, PythonClients};
use crate::support::script::Script;
use crate::support::server::Server;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const COMMAND_LIMIT: Duration = Duration::from_mins(2);
/// Each look starts the tool, which takes seconds: this many is more than a minute.
const LOOKS_MAX: usize = 40;
/// The room of commands that do not name one.
const ROOM: &str = "desk";

/// The tool with a home of its own.
pub(super) struct Tool<'a> {
    python: &'a PythonClients,
    home: TempDir,
    url: &'a str,
    api_key: &'a str,
    project_id: &'a str,
}

impl<'a> Tool<'a> {
    pub(super) fn new(python: &'a PythonClients, server: &'a Server) -> Self {
        Tool {
            python,
            home: tempfile::tempdir().unwrap(),
            url: &server.url,
            api_key: &server.api_key,
            project_id: &server.project_id,
        }
    }

    /// Runs it in its home; whatever happens to it is in the answer.
    pub(super) fn try_run(&self, arguments: &[&str]) -> Finished {
        self.run_program(&self.python.meshagent, arguments)
    }

    /// The same without the seconds that a start takes, for tables of commands.
    fn step(&self, arguments: &[String]) -> Finished {
        let home = self.home.path();
        let mut variables = self.variables().to_vec();
        let home_text = home.display().to_string();
        variables.push(("HOME", &home_text));
        warm::Warm::get(self.python).run(arguments, home, &variables)
    }

    fn variables(&self) -> [(&'static str, &str); 7] {
        [
            ("MESHAGENT_API_URL", self.url),
            ("MESHAGENT_API_KEY", self.api_key),
            ("MESHAGENT_PROJECT_ID", self.project_id),
            ("MESHAGENT_ROOM", ROOM),
            ("PYTHONUNBUFFERED", "1"),
            ("COLUMNS", "400"),
            ("TERM", "dumb"),
        ]
    }

    fn run_program(&self, program: &Path, arguments: &[&str]) -> Finished {
        clients::run(&mut self.command(program, arguments), COMMAND_LIMIT).unwrap()
    }

    /// Starts it, for commands that go on until they are stopped.
    fn start(&self, arguments: &[&str]) -> Script {
        Script::start(self.command(&self.python.meshagent, arguments))
    }

    pub(super) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .envs(self.variables());
        command
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

/// Makes the room of commands that do not name one.
fn make_room(server: &Server) {
    crate::support::post(server, "/rooms", &serde_json::json!({"name": ROOM}));
}

//! The command line as a person uses it: the real binary, its words, its exit codes.

mod connect;
mod containers;
mod declare;
mod feeds;
mod launch;
mod llm;
mod managed;
mod managed_calls;
mod mcp;
mod offline;
mod resources;
mod room;
mod seeds;
mod sessions;
mod tables;

use crate::support::server::Server;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// One command that ran to its end.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Its stdout as JSON; the command must have succeeded.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// Failed with this code, these words on stderr, and nothing on stdout.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "want `{word}` in {self:#?}");
        }
        self
    }
}

/// A person: a home folder and an environment.
#[derive(Debug)]
pub struct Person {
    home: TempDir,
    env: Vec<(String, String)>,
}

impl Person {
    /// Knows of no server.
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// Has a server's address, key and project in the environment.
    pub fn of(server: &Server) -> Self {
        Self::new()
            .with("MESHAGENT_API_URL", &server.url)
            .with("MESHAGENT_API_KEY", &server.api_key)
            .with("MESHAGENT_PROJECT_ID", &server.project_id)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file below home and returns its path as text.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs the binary with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let done = self.command(arguments).output().unwrap();
        Ran {
            code: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8(done.stdout).unwrap(),
            stderr: String::from_utf8(done.stderr).unwrap(),
        }
    }

    /// The binary with these arguments, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshagent"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    /// Runs a line as a shell would read it; the line begins with `meshagent`.
    pub fn shell(&self, line: &str) -> Ran {
        let words = shlex::split(&line.replace("\\\n", " ")).unwrap();
        assert_eq!(words[0], "meshagent");
        self.run(&words[1..].iter().map(String::as_str).collect::<Vec<_>>())
    }
}

//! A program that runs beside a test and says, line by line, what it has seen.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

/// The longest silence; the scripts have deadlines of their own below this.
const LINE_LIMIT: Duration = Duration::from_mins(6);
const LINES_WAITING_MAX: usize = 1024;

/// A running script; it is killed when dropped.
#[derive(Debug)]
pub struct Script {
    child: Child,
    lines: Receiver<String>,
    stderr: Receiver<String>,
    said: Vec<String>,
}

impl Script {
    pub fn start(mut command: Command) -> Script {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("piped above");
        let mut complaints = child.stderr.take().expect("piped above");
        let (line_sender, lines) = sync_channel(LINES_WAITING_MAX);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line_sender.send(line).is_err() {
                    break;
                }
            }
        });
        let (error_sender, stderr) = sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            let _what_was_read_counts = complaints.read_to_string(&mut text);
            let _nobody_waits_any_more = error_sender.send(text);
        });
        Script { child, lines, stderr, said: Vec::new() }
    }

    /// Waits until the script says exactly this; fails with all it said when it ends or is silent for too long.
    pub fn must_say(&mut self, wanted: &str) {
        self.wait_for(wanted, |line| line == wanted);
    }

    /// Waits for a line that begins so; gives the rest of it.
    pub fn must_tell(&mut self, prefix: &str) -> String {
        let line = self.wait_for(prefix, |line| line.starts_with(prefix));
        line.strip_prefix(prefix).unwrap_or_default().to_owned()
    }

    /// Waits for a line that holds this.
    pub fn must_hear(&mut self, part: &str) {
        self.wait_for(part, |line| line.contains(part));
    }

    fn wait_for(&mut self, wanted: &str, found: impl Fn(&str) -> bool) -> String {
        while let Ok(line) = self.lines.recv_timeout(LINE_LIMIT) {
            self.said.push(line.clone());
            if found(&line) {
                return line;
            }
        }
        let _already_gone = self.child.kill();
        let complaints = self.stderr.recv_timeout(LINE_LIMIT).unwrap_or_default();
        panic!(
            "the script did not say `{wanted}`; it said\n{}\n--- and complained\n{complaints}",
            self.said.join("\n")
        );
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

//! Programs that this one starts for others: what they see of its environment, where keys are too, and that all they
//! started ends with them, and with this one however that ends.
//!
//! What a killed program leaves behind nobody can clean up from within, so a small one of its own watches: it is this very
//! binary, has the read end of a pipe that only this process writes, and knows which groups are there. When the pipe
//! closes it kills them.

use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Name of the hidden subcommand that watches.
pub const WATCH_SUBCOMMAND: &str = "__watch";

/// Variables that such a program gets besides those that are meant for it, and those that begin with [`LOCALE`].
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
const LOCALE: &str = "LC_";

/// What a program may see of this one's environment.
pub fn surroundings() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| PASSED_ON.contains(&name) || name.starts_with(LOCALE))
    })
}

/// The binary that can watch, once that is known.
static WATCHER: OnceLock<PathBuf> = OnceLock::new();
/// The pipe to the one that watches; `None` where there is none.
static WATCH: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();

/// From now on groups end with this process: its own binary answers to [`WATCH_SUBCOMMAND`] with [`watch`].
pub fn watched_by_own_binary() {
    if let Ok(binary) = std::env::current_exe() {
        // The first one stays.
        let _ = WATCHER.set(binary);
    }
}

fn start_watch() -> Option<Mutex<ChildStdin>> {
    let mut command = Command::new(WATCHER.get()?);
    command.arg(WATCH_SUBCOMMAND).env_clear().current_dir("/");
    let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match started {
        Ok(mut child) => child.stdin.take().map(Mutex::new),
        Err(error) => {
            tracing::warn!(%error, "nobody watches what this process starts; killed, it would leave it behind");
            None
        }
    }
}

/// Tells the one that watches of a group that begins (`+`) or has ended (`-`).
fn tell(sign: char, group: Pid) {
    let Some(pipe) = WATCH.get_or_init(start_watch) else { return };
    let line = format!("{sign}{}\n", group.as_raw_nonzero());
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = pipe.write_all(line.as_bytes()) {
        tracing::debug!(%error, "nobody watches any more what this process starts");
    }
}

/// Runs the hidden subcommand: returns when whoever started it is gone, and the groups with it.
pub fn watch() {
    // What ends the other's session or group must not end this.
    let _ = rustix::process::setsid();
    let mut groups = BTreeSet::new();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Some((sign, number)) = line.split_at_checked(1) else { continue };
        let Some(group) = number.parse().ok().filter(|number| *number > 1) else { continue };
        match sign {
            "+" => groups.insert(group),
            _ => groups.remove(&group),
        };
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // It may have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// A program that leads a process group, and what it started: killed when dropped, and when this process is gone.
#[derive(Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// The group of a child that was started with `process_group(0)`, or made a session of its own.
    #[must_use]
    pub fn of(child: &tokio::process::Child) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            tell('+', group);
        }
        Self(group)
    }

    /// Sends all of it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // They may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(group) = self.0 {
            tell('-', group);
        }
    }
}

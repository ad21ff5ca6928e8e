//! Programs that this one starts for others: what they see of its environment, where keys are too, and that all they
//! started ends with them.

use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;

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

/// A program that leads a process group, and what it started: killed when dropped.
#[derive(Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// The group of a child that was started with `process_group(0)`, or made a session of its own.
    #[must_use]
    pub fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
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
    }
}

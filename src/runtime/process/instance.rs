//! One child process from its start until nothing is left of it.

use super::reaper;
use crate::runtime::{LogSink, Observed, RunState, Stream, output};
use chrono::{DateTime, Utc};
use rustix::process::Signal;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the rest of the output is read after the end; a stray child may hold the pipe open.
const OUTPUT_REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Instance {
    pid: u32,
    started_at: DateTime<Utc>,
    state: watch::Receiver<RunState>,
}

impl Instance {
    /// Takes over a child that was just started: records it, reads its output, waits for its end.
    pub(super) fn follow(
        mut child: Child,
        directory: PathBuf,
        started_at: DateTime<Utc>,
        sink: LogSink,
        exits: watch::Sender<u64>,
    ) -> io::Result<Arc<Self>> {
        let pid = child.id().ok_or_else(|| io::Error::other("it ended before it was looked at"))?;
        if let Some(record) = reaper::Record::of(pid) {
            record.write(&directory)?;
        }
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(output::follow(stdout, Stream::Stdout, Arc::clone(&sink)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(output::follow(stderr, Stream::Stderr, sink));
        }
        let (ended, state) = watch::channel(RunState::Running);
        tokio::spawn(async move {
            let status = child.wait().await;
            // Whatever it started belongs to its session and ends with it.
            reaper::kill_session(pid);
            let rest = async { while readers.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(OUTPUT_REST, rest).await;
            let _ = fs::remove_dir_all(&directory);
            ended.send_replace(end(status));
            exits.send_modify(|count| *count += 1);
        });
        Ok(Arc::new(Self { pid, started_at, state }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn state(&self) -> RunState {
        *self.state.borrow()
    }

    pub(super) fn observed(&self) -> Observed {
        Observed::Present {
            handle: Some(self.pid.to_string()),
            state: self.state(),
            started_at: self.started_at,
        }
    }

    pub(super) fn kill(&self) {
        if self.state() == RunState::Running {
            reaper::signal(self.pid, Signal::KILL);
        }
    }

    /// Asks it to end, then makes it. Returns when it was waited for and its session is empty.
    pub(super) async fn stop(&self, grace: Duration) {
        let mut state = self.state.clone();
        let mut over = async || state.wait_for(|state| *state != RunState::Running).await.map(drop);
        if self.state() == RunState::Running {
            reaper::signal(self.pid, Signal::TERM);
        }
        if tokio::time::timeout(grace, over()).await.is_err() {
            self.kill();
            // An error means that the waiting task is gone, and with it the child.
            let _ = over().await;
        }
    }
}

fn end(status: io::Result<ExitStatus>) -> RunState {
    match status {
        Ok(status) => RunState::Exited { code: status.code(), signal: status.signal() },
        Err(_) => RunState::Exited { code: None, signal: None },
    }
}

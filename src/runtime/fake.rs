//! A runtime that starts nothing: tests decide what it sees, and a server without processes is tried out with it.

use super::{InstanceKey, Observed, RunState, Runtime, RuntimeError, StartRequest};
use crate::clock::Clock;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What was asked for in one start.
#[derive(Clone, Debug)]
pub struct Started {
    pub request: StartRequest,
    pub pid: u32,
}

/// Remembers starts and stops; [`FakeRuntime::exit`] ends an instance, [`FakeRuntime::fail_next_start`] refuses one.
pub struct FakeRuntime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    exits: watch::Sender<u64>,
    /// Whether what was asked for is remembered, without bound.
    remembers: bool,
}

#[derive(Default)]
struct State {
    instances: BTreeMap<InstanceKey, Observed>,
    started: Vec<Started>,
    stopped: Vec<InstanceKey>,
    starts: u32,
    refuse: Option<String>,
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRuntime").finish_non_exhaustive()
    }
}

impl FakeRuntime {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), exits: watch::Sender::new(0), remembers: true }
    }

    /// Remembers what runs, and nothing of what was.
    #[must_use]
    pub fn forgetful(clock: Arc<dyn Clock>) -> Self {
        Self { remembers: false, ..Self::new(clock) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All starts so far.
    pub fn started(&self) -> Vec<Started> {
        self.state().started.clone()
    }

    /// All stops so far.
    pub fn stopped(&self) -> Vec<InstanceKey> {
        self.state().stopped.clone()
    }

    /// The next start fails with this text.
    pub fn fail_next_start(&self, detail: &str) {
        self.state().refuse = Some(detail.to_owned());
    }

    /// Sets what is seen of an instance.
    pub fn show(&self, key: &InstanceKey, observed: Observed) {
        self.state().instances.insert(key.clone(), observed);
    }

    /// The instance ends with this code.
    pub fn exit(&self, key: &InstanceKey, code: i32) {
        if let Some(Observed::Present { state, .. }) = self.state().instances.get_mut(key) {
            *state = RunState::Exited { code: Some(code), signal: None };
        }
        self.exits.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn describe(&self) -> String {
        "fake: starts nothing".to_owned()
    }

    async fn start(&self, request: StartRequest) -> Result<Observed, RuntimeError> {
        let mut state = self.state();
        let key = request.key.clone();
        if let Some(detail) = state.refuse.take() {
            return Err(RuntimeError::Os { action: "start", key, detail });
        }
        if let Some(Observed::Present { handle, state: RunState::Running, .. }) = state.instances.get(&key) {
            return Err(RuntimeError::AlreadyRunning { key, handle: handle.clone() });
        }
        let pid = 1000_u32.saturating_add(state.starts);
        state.starts = state.starts.saturating_add(1);
        if self.remembers {
            state.started.push(Started { request, pid });
        }
        let seen = Observed::Present {
            handle: Some(pid.to_string()),
            state: RunState::Running,
            started_at: self.clock.now(),
        };
        state.instances.insert(key, seen.clone());
        Ok(seen)
    }

    async fn stop(&self, key: &InstanceKey, _grace: Duration) -> Result<Observed, RuntimeError> {
        let mut state = self.state();
        if self.remembers {
            state.stopped.push(key.clone());
        }
        let Some(Observed::Present { handle, state: run, started_at }) = state.instances.remove(key) else {
            return Ok(Observed::Absent);
        };
        let run = match run {
            RunState::Running => RunState::Exited { code: None, signal: Some(15) },
            exited @ RunState::Exited { .. } => exited,
        };
        drop(state);
        self.exits.send_modify(|count| *count += 1);
        Ok(Observed::Present { handle, state: run, started_at })
    }

    async fn observe(&self) -> Result<Vec<(InstanceKey, Observed)>, RuntimeError> {
        Ok(self.state().instances.iter().map(|(key, seen)| (key.clone(), seen.clone())).collect())
    }

    fn exited(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}

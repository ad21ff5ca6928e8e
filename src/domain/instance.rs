//! An instance: one service's run within one session, with its restarts. All facts here are observations.

use super::{Entity, Event, Refusal, Rejection};
use crate::id::{ServiceId, SessionId, StreamId};
use chrono::{DateTime, Utc};
use imbl::Vector;
use serde::{Deserialize, Serialize};

/// Observations kept per instance for `services.list`.
pub const NOTES_MAX: usize = 20;

/// Names one instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    pub session: SessionId,
    pub service: ServiceId,
}

impl Key {
    pub const CATEGORY: &'static str = "instance";

    #[must_use]
    pub fn stream(self) -> StreamId {
        StreamId::new(Self::CATEGORY, format_args!("{}.{}", self.session, self.service))
    }
}

/// Fact: a process (or container) runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Started {
    pub key: Key,
    /// Generation of the service's spec that it runs.
    pub generation: u64,
    /// What the runtime calls it, such as a process id.
    pub handle: String,
    pub runtime: String,
    /// What of the spec this runtime does not do, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Fact: it ended by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exited {
    pub key: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// Fact: it could not be started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    pub key: Key,
    pub generation: u64,
    /// One word for machines, such as `ImageNotSupported`.
    pub reason: String,
    pub message: String,
}

/// Fact: we ended it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stopped {
    pub key: Key,
    pub reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Running,
    Exited,
    Failed,
    Stopped,
}

/// One observation, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    pub reason: String,
    pub message: String,
    /// `Normal` or `Warning`.
    pub kind: String,
    pub count: u32,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub key: Key,
    pub phase: Phase,
    pub generation: u64,
    pub handle: Option<String>,
    pub runtime: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub changed_at: DateTime<Utc>,
    pub restart_count: u32,
    /// Ends and failed starts since it last ran well; drives the back-off.
    pub failures: u32,
    pub last_exit_code: Option<i32>,
    pub last_exit_at: Option<DateTime<Utc>>,
    /// Reason of the newest failed start, one word; none once it runs.
    #[serde(default)]
    pub last_start_reason: Option<String>,
    pub last_start_error: Option<String>,
    pub last_start_error_at: Option<DateTime<Utc>>,
    pub notes: Vector<Note>,
}

/// A run that lasted this long counts as good and forgets earlier failures, seconds.
pub const GOOD_RUN_SECONDS: i64 = 60;

/// Observations are recorded, not decided.
#[derive(Clone, Debug)]
pub enum Command {
    Started(Started),
    Exited(Exited),
    Failed(Failed),
    Stopped(Stopped),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the service does not run in this session; nothing to record")]
    NotRunning,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        Refusal::State
    }
    fn code(&self) -> &'static str {
        "instance-not-running"
    }
}

impl Instance {
    fn fresh(key: Key, at: DateTime<Utc>) -> Self {
        Self {
            key,
            phase: Phase::Stopped,
            generation: 0,
            handle: None,
            runtime: None,
            started_at: None,
            changed_at: at,
            restart_count: 0,
            failures: 0,
            last_exit_code: None,
            last_exit_at: None,
            last_start_reason: None,
            last_start_error: None,
            last_start_error_at: None,
            notes: Vector::new(),
        }
    }

    fn note(&mut self, kind: &str, reason: &str, message: String, at: DateTime<Utc>) {
        let same = self.notes.iter().position(|n| n.reason == reason && n.message == message);
        if let Some(note) = same.and_then(|i| self.notes.get_mut(i)) {
            note.count += 1;
            note.last_at = at;
            return;
        }
        if self.notes.len() >= NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back(Note {
            reason: reason.to_owned(),
            message,
            kind: kind.to_owned(),
            count: 1,
            first_at: at,
            last_at: at,
        });
    }

    fn started(mut self, e: &Started, at: DateTime<Utc>) -> Self {
        if self.started_at.is_some() {
            self.restart_count += 1;
        }
        if e.generation != self.generation {
            self.failures = 0;
        }
        self.phase = Phase::Running;
        self.generation = e.generation;
        self.handle = Some(e.handle.clone());
        self.runtime = Some(e.runtime.clone());
        self.started_at = Some(at);
        self.last_start_reason = None;
        self.last_start_error = None;
        self.note("Normal", "Started", format!("{} {} started", e.runtime, e.handle), at);
        for note in &e.notes {
            self.note("Warning", "NotHonoured", note.clone(), at);
        }
        self
    }

    fn exited(mut self, e: &Exited, at: DateTime<Utc>) -> Self {
        let good = self.started_at.is_some_and(|s| (at - s).num_seconds() >= GOOD_RUN_SECONDS);
        self.failures = if good { 1 } else { self.failures + 1 };
        self.phase = Phase::Exited;
        self.handle = None;
        self.last_exit_code = e.code;
        self.last_exit_at = Some(at);
        let message = match (e.code, e.signal) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended without a status".to_owned(),
        };
        self.note("Warning", "Exited", message, at);
        self
    }

    fn failed(mut self, e: &Failed, at: DateTime<Utc>) -> Self {
        self.failures = if e.generation == self.generation { self.failures + 1 } else { 1 };
        self.phase = Phase::Failed;
        self.generation = e.generation;
        self.handle = None;
        self.last_start_reason = Some(e.reason.clone());
        self.last_start_error = Some(e.message.clone());
        self.last_start_error_at = Some(at);
        self.note("Warning", &e.reason, e.message.clone(), at);
        self
    }
}

impl Entity for Instance {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        let running = state.is_some_and(|s| s.phase == Phase::Running);
        match command {
            Command::Started(e) => Ok(vec![Event::InstanceStarted(e)]),
            Command::Failed(e) => Ok(vec![Event::InstanceFailed(e)]),
            Command::Exited(e) if running => Ok(vec![Event::InstanceExited(e)]),
            Command::Stopped(e) if running => Ok(vec![Event::InstanceStopped(e)]),
            Command::Exited(_) | Command::Stopped(_) => Err(Refused::NotRunning),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        let key = match event {
            Event::InstanceStarted(e) => e.key,
            Event::InstanceExited(e) => e.key,
            Event::InstanceFailed(e) => e.key,
            Event::InstanceStopped(e) => e.key,
            _ => return state,
        };
        let old = state.unwrap_or_else(|| Self::fresh(key, at));
        let mut new = match event {
            Event::InstanceStarted(e) => old.started(e, at),
            Event::InstanceExited(e) => old.exited(e, at),
            Event::InstanceFailed(e) => old.failed(e, at),
            Event::InstanceStopped(e) => {
                let mut stopped = Self { phase: Phase::Stopped, handle: None, ..old };
                stopped.note("Normal", "Stopped", e.reason.clone(), at);
                stopped
            }
            _ => old,
        };
        new.changed_at = at;
        Some(new)
    }
}

//! What to do about each instance: decided from facts alone. Unknown means look again, never start twice.

use crate::control::backoff;
use crate::domain::instance::{self, Instance, Phase};
use crate::id::SessionId;
use crate::runtime::{InstanceKey, Observed, RunState};
use chrono::{DateTime, TimeDelta, Utc};

/// When an instance that the runtime cannot tell about is looked at again.
pub const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// Failures that the same spec meets every time: only a new generation is tried again.
pub const LASTING_REASONS: [&str; 4] =
    [reason::IMAGE_NOT_SUPPORTED, reason::BAD_COMMAND, reason::SECRET_NOT_SUPPORTED, reason::BAD_ENVIRONMENT];

/// Reasons of failed starts, one word for machines.
pub mod reason {
    pub const IMAGE_NOT_SUPPORTED: &str = "ImageNotSupported";
    pub const BAD_COMMAND: &str = "BadCommand";
    pub const SECRET_NOT_SUPPORTED: &str = "SecretNotSupported";
    pub const SECRET_NOT_READABLE: &str = "SecretNotReadable";
    pub const BAD_ENVIRONMENT: &str = "BadEnvironment";
    pub const START_FAILED: &str = "StartFailed";
    pub const FILES_FAILED: &str = "FilesFailed";
    pub const TOKEN_FAILED: &str = "TokenFailed";
    pub const NO_ENGINE: &str = "NoContainerEngine";
    pub const NOT_MOUNTED: &str = "NotMounted";
}

/// A service that is wanted in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub session: SessionId,
    pub generation: u64,
    /// Whether there is something to start; a service may only bring files.
    pub runs: bool,
    /// Somebody started it who may: it stays until it ends, and is not started again.
    pub invoked: bool,
    /// Its files are in the room.
    pub seeded: bool,
}

/// What a start of ours was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub session: SessionId,
    pub generation: u64,
}

/// All that is known of one service in one room.
#[derive(Clone, Debug)]
pub struct Facts {
    pub key: InstanceKey,
    /// `Err`: it must not run, and why.
    pub wanted: Result<Wanted, &'static str>,
    /// What the log says of the wanted session's instance, or of the one that ran last.
    pub recorded: Option<Instance>,
    pub observed: Observed,
    /// `None`: this run of the server did not start it.
    pub mark: Option<Mark>,
    /// What is wanted waits: what runs goes on, and only what is seen is recorded.
    pub paused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Put its files into the room.
    Seed {
        session: SessionId,
        generation: u64,
    },
    Start {
        session: SessionId,
        generation: u64,
    },
    /// End what runs and forget it; `record` where the log shows it running.
    Stop {
        record: Option<instance::Key>,
        reason: &'static str,
    },
    /// It ended by itself.
    RecordExit {
        instance: instance::Key,
        code: Option<i32>,
        signal: Option<i32>,
    },
    /// It runs and the log does not know.
    Adopt {
        instance: instance::Key,
        generation: u64,
        handle: Option<String>,
    },
    Wait {
        until: DateTime<Utc>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub key: InstanceKey,
    pub act: Act,
}

/// At most one step per instance. None: only a change can matter.
#[must_use]
pub fn plan(all: &[Facts], now: DateTime<Utc>) -> Vec<Step> {
    all.iter().filter_map(|facts| Some(Step { key: facts.key.clone(), act: decide(facts, now)? })).collect()
}

fn decide(facts: &Facts, now: DateTime<Utc>) -> Option<Act> {
    let act = wish(facts, now)?;
    let only_seen = matches!(act, Act::RecordExit { .. } | Act::Adopt { .. } | Act::Wait { .. });
    if !facts.paused || only_seen {
        return Some(act);
    }
    match (&act, recorded_running(facts)) {
        // It was to be stopped, and had ended by itself.
        (Act::Stop { .. }, Some(recorded)) => exit_of(&facts.observed).map(|(code, signal)| {
            let instance = recorded.key;
            Act::RecordExit { instance, code, signal }
        }),
        _ => None,
    }
}

/// How it ended, where it did.
fn exit_of(observed: &Observed) -> Option<(Option<i32>, Option<i32>)> {
    match observed {
        Observed::Present { state: RunState::Exited { code, signal }, .. } => Some((*code, *signal)),
        Observed::Absent => Some((None, None)),
        Observed::Present { state: RunState::Running, .. } | Observed::Unknown => None,
    }
}

fn wish(facts: &Facts, now: DateTime<Utc>) -> Option<Act> {
    match (&facts.wanted, &facts.observed) {
        // Unknown forbids to start, not to end.
        (Err(why), observed) => unwanted(facts, why, observed),
        (_, Observed::Unknown) => Some(Act::Wait { until: now + LOOK_AGAIN }),
        (Ok(wanted), Observed::Present { handle, state: RunState::Running, .. }) => {
            running(facts, wanted, handle.as_ref())
        }
        (Ok(wanted), Observed::Present { state: RunState::Exited { code, signal }, .. }) => {
            ended(facts, wanted, (*code, *signal), now)
        }
        (Ok(wanted), Observed::Absent) => ended(facts, wanted, (None, None), now),
    }
}

/// The instance as the log has it, if it has it running.
fn recorded_running(facts: &Facts) -> Option<&Instance> {
    facts.recorded.as_ref().filter(|recorded| recorded.phase == Phase::Running)
}

fn unwanted(facts: &Facts, reason: &'static str, observed: &Observed) -> Option<Act> {
    let record = recorded_running(facts).map(|recorded| recorded.key);
    let there = *observed != Observed::Absent;
    (there || record.is_some()).then_some(Act::Stop { record, reason })
}

fn running(facts: &Facts, wanted: &Wanted, handle: Option<&String>) -> Option<Act> {
    let record = recorded_running(facts).map(|recorded| recorded.key);
    match facts.mark {
        Some(mark) if mark.session == wanted.session => {
            if mark.generation != wanted.generation || !(wanted.runs || wanted.invoked) {
                return Some(Act::Stop { record, reason: "replaced by a newer generation" });
            }
            let known = recorded_running(facts).is_some_and(|recorded| recorded.handle.as_ref() == handle);
            let instance = instance::Key { session: wanted.session, service: facts.key.service };
            let handle = handle.cloned();
            (!known).then_some(Act::Adopt { instance, generation: wanted.generation, handle })
        }
        Some(_) | None => Some(Act::Stop { record, reason: "left over from an earlier session" }),
    }
}

fn ended(
    facts: &Facts,
    wanted: &Wanted,
    (code, signal): (Option<i32>, Option<i32>),
    now: DateTime<Utc>,
) -> Option<Act> {
    if let Some(recorded) = recorded_running(facts) {
        return Some(Act::RecordExit { instance: recorded.key, code, signal });
    }
    if wanted.seeded && !wanted.runs {
        return None;
    }
    if let Some(last) = &facts.recorded {
        let same_spec = last.generation == wanted.generation;
        let lasting = || last.last_start_reason.as_deref().is_some_and(|r| LASTING_REASONS.contains(&r));
        if same_spec && last.phase == Phase::Failed && lasting() {
            return None;
        }
        if same_spec
            && let Some(until) = restart_at(last)
            && now < until
        {
            return Some(Act::Wait { until });
        }
    }
    let Wanted { session, generation, seeded, .. } = *wanted;
    Some(if seeded { Act::Start { session, generation } } else { Act::Seed { session, generation } })
}

/// When an instance that ended or failed is started again.
#[must_use]
pub fn restart_at(last: &Instance) -> Option<DateTime<Utc>> {
    match last.phase {
        Phase::Running | Phase::Stopped => None,
        Phase::Exited | Phase::Failed => {
            let wait = backoff::delay(last.failures, last.key.service.uuid().as_u128());
            Some(last.changed_at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX))
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

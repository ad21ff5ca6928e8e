//! A scheduled task: puts one item in a room's queue whenever its schedule says so.

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::id::RoomId;
use crate::spec::ScheduledTask as Spec;
use crate::spec::reconcile::{self, Cadence};
use chrono::{DateTime, Utc};
use imbl::Vector;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Annotation of a task: `immediately` makes its creation or change the first instant.
pub const START: &str = "meshagent.schedule.start";
/// Firings kept per task for `scheduled-task runs`; the log has them all.
pub const RUNS_MAX: usize = 100;

/// Fact: the task is wanted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Created {
    pub room: RoomId,
    pub spec: Spec,
}

/// Fact: this is what is wanted from now on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Updated {
    pub spec: Spec,
}

/// What became of one firing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The item is in the queue.
    Submitted,
    /// It could not be put there; `reason` says why.
    Failed,
    /// It was due while no server ran, and the catch-up policy skips such firings.
    Missed,
    /// It was due, and was left out on purpose; `reason` says why.
    Suppressed,
}

/// Fact: an instant of the schedule was dealt with. The event's id is derived from task and instant,
/// so that it is recorded once however many servers see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fired {
    pub run: Uuid,
    pub scheduled_at: DateTime<Utc>,
    pub outcome: Outcome,
    /// Id of the queue item, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One firing with the time it was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub fired: Fired,
    pub recorded_at: DateTime<Utc>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScheduledTask {
    pub room: RoomId,
    pub spec: Spec,
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    /// When the spec last changed; intervals count from here. A pause and its end change nothing of it.
    pub updated_at: DateTime<Utc>,
    /// Since when it does not fire, as it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Instants up to this one are dealt with.
    pub done_until: Option<DateTime<Utc>>,
    /// How many firings were recorded in all.
    pub fired: u64,
    /// Newest last, at most [`RUNS_MAX`].
    pub runs: Vector<Run>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Create(Created),
    Update(Spec),
    Fire(Fired),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the scheduled task exists already; update it instead")]
    Exists,
    #[error("the scheduled task does not exist; `meshagent scheduled-task list` shows those that do")]
    NotFound,
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "task-exists",
            Self::NotFound => "task-not-found",
        }
    }
}

impl ScheduledTask {
    /// Id of the firing of a task at an instant: the same on every server and at every retry.
    #[must_use]
    pub fn run_id(task: Uuid, scheduled_at: DateTime<Utc>) -> Uuid {
        Uuid::new_v5(&task, scheduled_at.timestamp_millis().to_string().as_bytes())
    }

    fn updated(self, spec: Spec, at: DateTime<Utc>) -> Self {
        let generation = self.generation + 1;
        let updated_at = if plain(&spec) == plain(&self.spec) { self.updated_at } else { at };
        let paused_at = cadence(&spec).paused_at(self.paused_at, at);
        let resumed = self.paused_at.is_some() && paused_at.is_none();
        // What was due meanwhile is not made up for; what was to begin at once still does.
        let begins = spec.annotation(START).is_some_and(|word| word.trim() == "immediately");
        let waits = begins && self.done_until.is_none_or(|done| done < updated_at);
        let done_until = self.done_until.max(Some(at).filter(|_| resumed && !waits));
        Self { spec, generation, updated_at, paused_at, done_until, ..self }
    }

    /// Whether nothing more is to come: it ran once and was to run once.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spec.once && self.runs.iter().any(|r| r.fired.scheduled_at >= self.updated_at)
    }
}

fn cadence(spec: &Spec) -> Cadence {
    Cadence::of(Some(&spec.metadata.annotations))
}

/// The spec without what only says how it is reconciled.
fn plain(spec: &Spec) -> Spec {
    let mut plain = spec.clone();
    plain.metadata.annotations = reconcile::without_cadence(&plain.metadata.annotations);
    plain
}

impl Entity for ScheduledTask {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(created)) => Ok(vec![Event::TaskCreated(created)]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(task), Command::Update(spec)) if spec == task.spec => Ok(vec![]),
            (Some(_), Command::Update(spec)) => Ok(vec![Event::TaskUpdated(Updated { spec })]),
            (Some(task), Command::Fire(fired)) => {
                let done = task.done_until.is_some_and(|until| fired.scheduled_at <= until);
                Ok(if done { vec![] } else { vec![Event::TaskFired(fired)] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::TaskDeleted(Nothing {})]),
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::TaskCreated(c) => Some(Self {
                room: c.room,
                spec: c.spec.clone(),
                generation: 1,
                created_at: at,
                updated_at: at,
                paused_at: cadence(&c.spec).paused_at(None, at),
                done_until: None,
                fired: 0,
                runs: Vector::new(),
            }),
            Event::TaskUpdated(u) => Some(state?.updated(u.spec.clone(), at)),
            Event::TaskFired(fired) => {
                let mut task = state?;
                task.fired += 1;
                task.done_until = task.done_until.max(Some(fired.scheduled_at));
                if task.runs.len() >= RUNS_MAX {
                    task.runs.pop_front();
                }
                task.runs.push_back(Run { fired: fired.clone(), recorded_at: at });
                Some(task)
            }
            Event::TaskDeleted(_) => None,
            _ => state,
        }
    }
}

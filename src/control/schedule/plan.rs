//! Which instants of a schedule are due, and what becomes of each: decided from facts alone.

use crate::domain::schedule::Schedule;
use crate::domain::scheduled_task::{Outcome, ScheduledTask};
use crate::spec::ScheduledTask as Spec;
use chrono::{DateTime, TimeDelta, Utc};

/// Annotation of a task: what to do with instants that were missed: `latest` (the default), `none` or `all`.
pub const CATCH_UP: &str = "meshagent.schedule.catchup";
pub use crate::domain::scheduled_task::START;
/// An instant dealt with later than this was missed.
pub const LATE: TimeDelta = TimeDelta::seconds(60);
/// Missed instants recorded one by one in one run; of those before, only the number.
pub const MISSED_MAX: usize = 10;
/// Missed instants that `all` fires in one run; older ones are recorded as missed.
pub const CATCH_UP_MAX: usize = 100;
/// Instants walked through one by one from where the task stood; where there are more, only the near past counts.
const WALK_MAX: usize = 1_000;
/// Instants walked through in the near past.
const NEAR_WALK_MAX: usize = 100_000;

/// What to do with instants that were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    Latest,
    None,
    All,
}

impl CatchUp {
    /// As the task's annotation says; an unknown word is the default.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        match spec.annotation(CATCH_UP).map(str::trim) {
            Some("none") => Self::None,
            Some("all") => Self::All,
            Some(_) | None => Self::Latest,
        }
    }
}

/// What becomes of one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Fire,
    /// Only recorded, with the reason.
    Leave {
        outcome: Outcome,
        reason: String,
    },
}

/// One instant that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: DateTime<Utc>,
    pub act: Act,
}

/// What is due of one task, in order, and when it is due next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub due: Vec<Due>,
    pub next: Option<DateTime<Utc>>,
}

/// `room_enabled`: whether the task's room may run.
#[must_use]
pub fn plan(task: &ScheduledTask, schedule: &Schedule, room_enabled: bool, now: DateTime<Utc>) -> Plan {
    if !task.spec.active || task.paused_at.is_some() || task.is_spent() {
        return Plan::default();
    }
    let (instants, earlier) = instants(task, schedule, now);
    if instants.is_empty() {
        return Plan { due: Vec::new(), next: first_after(task, schedule, now) };
    }
    let due = if room_enabled {
        choose(task, &instants, earlier, now)
    } else {
        let reason = "the room is disabled".to_owned();
        let outcome = Outcome::Suppressed;
        instants.last().map(|at| Due { at: *at, act: Act::Leave { outcome, reason } }).into_iter().collect()
    };
    let fires = due.iter().any(|due| due.act == Act::Fire);
    let next = if task.spec.once && fires { None } else { schedule.next_after(now, task.updated_at) };
    Plan { due, next }
}

/// Instants that are due up to `now`, and whether there were more before.
fn instants(task: &ScheduledTask, schedule: &Schedule, now: DateTime<Utc>) -> (Vec<DateTime<Utc>>, bool) {
    let from = task.done_until.map_or(task.updated_at, |done| done.max(task.updated_at));
    let first = starts_at_once(task).then_some(task.updated_at).filter(|at| *at <= now);
    let walk =
        |from: DateTime<Utc>| schedule.upcoming(from, task.updated_at).take_while(move |at| *at <= now);
    let all: Vec<DateTime<Utc>> = first.into_iter().chain(walk(from)).take(WALK_MAX + 1).collect();
    if all.len() <= WALK_MAX {
        return (all, false);
    }
    // Too many to walk through: the nearest past that has enough of them.
    let enough = CATCH_UP_MAX + MISSED_MAX;
    for seconds in [1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800, 2_678_400, 31_622_400] {
        let near: Vec<DateTime<Utc>> =
            walk((now - TimeDelta::seconds(seconds)).max(from)).take(NEAR_WALK_MAX).collect();
        if near.len() > enough {
            return (near, true);
        }
    }
    (all, true)
}

/// Whether the first instant is the creation or change itself, and is still to come.
fn starts_at_once(task: &ScheduledTask) -> bool {
    let asked = task.spec.annotation(START).is_some_and(|word| word.trim() == "immediately");
    asked && task.done_until.is_none_or(|done| done < task.updated_at)
}

fn first_after(task: &ScheduledTask, schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let from = task.done_until.map_or(now, |done| done.max(now));
    schedule.next_after(from.max(task.updated_at), task.updated_at)
}

/// What becomes of each instant, by the task's policy.
fn choose(task: &ScheduledTask, instants: &[DateTime<Utc>], earlier: bool, now: DateTime<Utc>) -> Vec<Due> {
    let policy = CatchUp::of(&task.spec);
    let on_time = |at: &DateTime<Utc>| now - *at <= LATE;
    let fired_from = match policy {
        CatchUp::Latest => instants.len() - 1,
        CatchUp::All => instants.len().saturating_sub(CATCH_UP_MAX),
        // Of those on time also only the newest: the others were overtaken.
        CatchUp::None if instants.last().is_some_and(on_time) => instants.len() - 1,
        CatchUp::None => instants.len(),
    };
    let (missed, fired) = instants.split_at(fired_from);
    let mut due = leave(missed, earlier, policy);
    let firings = fired.iter().map(|at| Due { at: *at, act: Act::Fire });
    due.extend(firings.take(if task.spec.once { 1 } else { usize::MAX }));
    if task.spec.once && !fired.is_empty() {
        // A record of a missed instant would count as the one firing.
        due.retain(|due| due.act == Act::Fire);
    }
    due
}

/// Records of missed instants: the newest one by one, of the rest the number.
fn leave(missed: &[DateTime<Utc>], earlier: bool, policy: CatchUp) -> Vec<Due> {
    let listed_from = missed.len().saturating_sub(MISSED_MAX);
    let (unlisted, listed) = missed.split_at(listed_from);
    let why = match policy {
        CatchUp::Latest => "a later instant was due before this one was dealt with",
        CatchUp::None => "no server was there in time, and the catch-up policy is `none`",
        CatchUp::All => "more instants were missed than are caught up",
    };
    let more = match (unlisted.len(), earlier) {
        (0, false) => None,
        (count, false) => Some(format!("; {count} before it likewise")),
        (count, true) => Some(format!("; at least {} before it likewise", count.max(1))),
    };
    let one = |(place, at): (usize, &DateTime<Utc>)| {
        let tail = more.as_deref().filter(|_| place == 0).unwrap_or_default();
        Due { at: *at, act: Act::Leave { outcome: Outcome::Missed, reason: format!("{why}{tail}") } }
    };
    listed.iter().enumerate().map(one).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

//! How a resource is reconciled, as its status tells it: since when it is paused, how often it is looked at, and what came of
//! the last tries. Pure, but for the tries that are in no log.

use super::health::{Condition, Health, Reason, Type, Verdict};
use super::service::{lasting, plan::restart_at};
use crate::app::attempts::Attempt;
use crate::domain::instance::{self, Instance, Phase};
use crate::domain::schedule::Schedule;
use crate::domain::scheduled_task::{Outcome, ScheduledTask};
use crate::domain::service::Service;
use crate::id::{FeedSubscriptionId, GitSourceId, ManagedAgentId, ScheduledTaskId, ServiceId};
use crate::spec::Kind;
use crate::spec::reconcile::{Cadence, known};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// Most characters of an error that are told here.
const ERROR_CHARS_MAX: usize = 500;

/// How controllers treat a resource, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconcile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<DateTime<Utc>>,
    /// Tries in a row that failed.
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<DateTime<Utc>>,
    /// How long it is waited after the last one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Reconcile {
    fn tried(&mut self, attempt: Attempt) {
        self.last_attempt = Some(attempt.at);
        self.attempts = attempt.failures;
        self.next_attempt = attempt.next;
        if let Some(error) = attempt.error.filter(|_| attempt.failures > 0) {
            self.last_error = Some(short(&error));
        }
    }

    /// What goes together: nothing is due while it is paused, and nothing is waited for where nothing failed.
    fn settled(mut self) -> Self {
        if self.paused_since.is_some() {
            self.next_attempt = None;
        }
        let waits = self.next_attempt.zip(self.last_attempt).filter(|_| self.attempts > 0);
        self.backoff_seconds = waits.and_then(|(next, last)| u64::try_from((next - last).num_seconds()).ok());
        self
    }
}

fn short(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

impl Health<'_> {
    /// The service that is meant by a resource that has one.
    fn service_of(&self, kind: Kind, id: Uuid) -> Option<(ServiceId, &Service)> {
        let id = match kind {
            Kind::Service | Kind::ServiceInstance => ServiceId::new(self.project, id),
            Kind::ManagedAgent => ManagedAgentId::new(self.project, id).service(),
            _ => return None,
        };
        Some((id, self.world.service(id)?))
    }

    /// What the annotations of a resource say, and since when it is paused.
    fn cadence(&self, kind: Kind, id: Uuid) -> Option<(Cadence, Option<DateTime<Utc>>)> {
        let of_notes = |notes| Cadence::of(Some(notes));
        match kind {
            Kind::GitSource => {
                let source = self.world.git_source(GitSourceId::new(self.project, id))?;
                Some((source.cadence(), source.paused_at))
            }
            Kind::ScheduledTask => {
                let task = self.world.task(ScheduledTaskId::new(self.project, id))?;
                Some((of_notes(&task.spec.metadata.annotations), task.paused_at))
            }
            Kind::Subscription => {
                let one = self.world.feed_subscription(FeedSubscriptionId::new(self.project, id))?;
                Some((of_notes(&one.wanted.annotations), one.paused_at))
            }
            _ => self.service_of(kind, id).map(|(_, service)| (service.cadence(), service.paused_at)),
        }
    }

    /// Since when a resource is paused.
    pub(super) fn paused_at(&self, kind: Kind, id: Uuid) -> Option<DateTime<Utc>> {
        self.cadence(kind, id).and_then(|(_, paused_at)| paused_at)
    }

    /// How a resource is reconciled; none where nothing is done for its kind.
    pub(super) fn reconcile(&self, kind: Kind, id: Uuid) -> Option<Reconcile> {
        if known(kind).is_empty() {
            return None;
        }
        let (cadence, paused_since) = self.cadence(kind, id)?;
        let (interval_seconds, priority) = (cadence.interval_seconds, cadence.priority);
        let mut told = Reconcile { paused_since, interval_seconds, priority, ..Reconcile::default() };
        match kind {
            Kind::GitSource => self.of_source(GitSourceId::new(self.project, id), &mut told),
            Kind::ScheduledTask => {
                if let Some(task) = self.world.task(ScheduledTaskId::new(self.project, id)) {
                    self.of_task(task, &mut told);
                }
            }
            _ => {
                if let Some((id, service)) = self.service_of(kind, id) {
                    self.of_service(id, service, &mut told);
                }
            }
        }
        let runs_as = self.service_of(kind, id).map_or(id, |(id, _)| id.uuid());
        if let Some(attempt) = self.attempts.and_then(|attempts| attempts.of(runs_as)) {
            told.tried(attempt);
        }
        Some(told.settled())
    }

    /// Of its runs in open rooms, the one that failed most often.
    fn of_service(&self, id: ServiceId, service: &Service, told: &mut Reconcile) {
        let sessions = self.world.sessions(self.project).filter(|(_, session)| session.is_active());
        let here = sessions.filter(|(_, session)| service.room.is_none_or(|room| room == session.room));
        let runs =
            here.filter_map(|(session, _)| self.world.instance(instance::Key { session, service: id }));
        let Some(worst) = runs.max_by_key(|run| (run.failures, run.changed_at)) else { return };
        told.last_attempt = worst.started_at.max(worst.last_start_error_at);
        told.attempts = worst.failures;
        if worst.failures > 0 {
            told.last_error = why(worst);
        }
        if service.spec.enabled && !lasting(worst) {
            told.next_attempt = restart_at(worst);
            // It is counted from the end, which is later than the start.
            told.last_attempt = told.next_attempt.map_or(told.last_attempt, |_| Some(worst.changed_at));
        }
    }

    fn of_source(&self, id: GitSourceId, told: &mut Reconcile) {
        let Some(source) = self.world.git_source(id) else { return };
        told.interval_seconds = Some(source.spec.interval_seconds);
        told.last_attempt = source.last.as_ref().map(|last| last.at);
        if let Some(trouble) = &source.trouble {
            told.last_attempt = told.last_attempt.max(Some(trouble.since));
            told.attempts = 1;
            told.last_error = Some(short(&trouble.failed.message));
        }
    }

    fn of_task(&self, task: &ScheduledTask, told: &mut Reconcile) {
        let failed = task.runs.iter().rev().take_while(|run| run.fired.outcome == Outcome::Failed);
        told.attempts = u32::try_from(failed.count()).unwrap_or(u32::MAX);
        let last = task.runs.last();
        told.last_attempt = last.map(|run| run.recorded_at);
        let reason = last.filter(|_| told.attempts > 0).and_then(|run| run.fired.reason.as_deref());
        told.last_error = reason.map(short);
        if task.spec.active && !task.is_spent() {
            let schedule = Schedule::of_task(&task.spec, self.floor).ok();
            told.next_attempt = schedule.and_then(|schedule| schedule.next_after(self.now, task.updated_at));
        }
    }
}

/// Why a run failed last.
fn why(run: &Instance) -> Option<String> {
    let failed = run.last_start_error.as_deref().filter(|_| run.phase == Phase::Failed);
    let ended = || run.last_exit_code.map(|code| format!("it ended with exit code {code}"));
    failed.map(short).or_else(ended).or_else(|| run.notes.last().map(|note| short(&note.message)))
}

/// How far something is that is paused: what is seen holds, and what waits does not come by itself.
pub(super) fn paused(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Progressing(_, text) => {
            let text = format!("it is paused, and this waits until `meshagent resume`: {text}");
            Verdict::Stalled(Reason::Paused, text)
        }
        Verdict::Ready(Reason::Dormant | Reason::Scheduled | Reason::Accepted | Reason::OnDemand, _) => {
            let text = "it is paused: nothing is begun for it before `meshagent resume`";
            Verdict::Ready(Reason::Paused, text.to_owned())
        }
        seen => seen,
    }
}

/// The condition of what is paused. For kstatus it is no condition.
pub(super) fn condition(observed_generation: u64, since: DateTime<Utc>) -> Condition {
    Condition {
        r#type: Type::Paused,
        status: "True",
        reason: Reason::Paused,
        message: "controllers leave it alone, as its annotation meshagent.dev/paused says".to_owned(),
        observed_generation,
        last_transition_time: since,
    }
}

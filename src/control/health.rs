//! The status of resources of every kind, by the rules of kstatus: what generation was seen, and the conditions `Ready`,
//! `Reconciling` and `Stalled`. Pure: it follows from one [`World`] and the time.
//!
//! Something is in progress only while something is still to happen by itself, and never for longer than
//! [`PROGRESS_SECONDS_MAX`]: then it is stalled, and says why.

use super::cadence::{self, Reconcile};
use super::git::status::SourceStatus;
use super::service::status::{self as service_status, Condition as Seen};
use super::service::{lasting, runs};
use crate::app::attempts::Attempts;
use crate::domain::instance::{self, Instance, Phase};
use crate::domain::scheduled_task::Outcome;
use crate::id::{
    ApiKeyId, DeclaredKeyId, GitSourceId, OwnedSecretId, ProjectId, RoomId, RouteId, ScheduledTaskId,
    ServiceId, SessionId,
};
use crate::projection::World;
use crate::spec::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::collections::HashMap;
use uuid::Uuid;

/// Something that is in progress for longer does not get there.
pub const PROGRESS_SECONDS_MAX: i64 = 600;
/// Ends and failed starts in a row after which a service is stalled, although it is tried again.
pub const FAILURES_MAX: u32 = 5;

/// What a condition is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum Type {
    /// It is as its document wants it.
    Ready,
    /// It is on its way there.
    Reconciling,
    /// It does not get there without somebody.
    Stalled,
    /// Controllers leave it alone, as it wants.
    Paused,
}

/// Why, one word for machines. What runtimes say of failed starts is passed on in `Failed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Reason {
    /// Nothing more is to be done.
    Accepted,
    Running,
    /// Runs when somebody comes.
    Dormant,
    OnDemand,
    NothingToRun,
    /// Its document wants it off.
    Disabled,
    /// Its room is off.
    RoomDisabled,
    Starting,
    Restarting,
    Stopping,
    /// A start failed, and is tried again.
    StartFailed,
    /// A start failed, and would fail again.
    Failed,
    CrashLoop,
    ProgressDeadlineExceeded,
    Scheduled,
    Suspended,
    /// What waits does not come before somebody resumes it.
    Paused,
    Completed,
    LastRunFailed,
    ScheduleInvalid,
    /// An API key was revoked, or the secret does not have its text any more.
    KeyRevoked,
    /// A secret that nobody gave a value.
    NoValue,
    /// What it needs is not there.
    RoomMissing,
    /// Of a git source: its newest commit is applied.
    Applied,
    /// It is about to be looked at.
    Fetching,
    /// It waits for another source.
    DependencyNotReady,
    /// What was applied is not ready.
    HealthCheckFailed,
    FetchFailed,
    Unauthorized,
    UrlRefused,
    ReferenceMissing,
    Unverified,
    TooLarge,
    DocumentsInvalid,
    FieldConflict,
    ServerFault,
}

/// One condition, as Kubernetes users know them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub r#type: Type,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    pub reason: Reason,
    pub message: String,
    pub observed_generation: u64,
    pub last_transition_time: DateTime<Utc>,
}

/// How a resource is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The newest generation of which all this is said.
    pub observed_generation: u64,
    pub conditions: Vec<Condition>,
    /// Of a git source: which commit is applied, and what is in the way.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// How controllers treat it; none where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Reconcile>,
}

/// How far something is.
pub(super) enum Verdict {
    Ready(Reason, String),
    /// Since when, so that it does not last for ever.
    Progressing(Reason, String),
    Stalled(Reason, String),
}

/// One look at a project.
#[derive(Debug)]
pub struct Health<'a> {
    pub(super) world: &'a World,
    pub(super) project: ProjectId,
    pub(super) now: DateTime<Utc>,
    /// The smallest gap of schedules.
    pub(super) floor: TimeDelta,
    /// What this server tried; none where that is not asked for.
    pub(super) attempts: Option<&'a Attempts>,
    running: HashMap<RoomId, SessionId>,
}

impl<'a> Health<'a> {
    #[must_use]
    pub fn of(world: &'a World, project: ProjectId, now: DateTime<Utc>, floor_seconds: u64) -> Self {
        let active = world.sessions(project).filter(|(_, session)| session.is_active());
        let running = active.map(|(id, session)| (session.room, id)).collect();
        let floor = TimeDelta::seconds(i64::try_from(floor_seconds).unwrap_or(i64::MAX / 1000));
        Self { world, project, now, floor, attempts: None, running }
    }

    /// The same, with what this server tried.
    #[must_use]
    pub fn with_attempts(self, attempts: &'a Attempts) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// The status of one resource; `None` where it does not exist.
    #[must_use]
    pub fn status(&self, kind: Kind, id: Uuid) -> Option<Status> {
        let generation = crate::app::plan::resource(kind)?.generation(self.world, self.project, id)?;
        let (verdict, since) = self.verdict(kind, id, true)?;
        let mut status = self.told(generation, verdict, since);
        status.reconcile = self.reconcile(kind, id);
        if let Some(since) = self.paused_at(kind, id) {
            status.conditions.push(cadence::condition(generation, since));
        }
        if kind == Kind::GitSource {
            status.source = SourceStatus::of(self.world.git_source(GitSourceId::new(self.project, id))?);
        }
        Some(status)
    }

    /// How far one resource is, and since when. `whole`: of a git source, with what it applied.
    pub(super) fn verdict(&self, kind: Kind, id: Uuid, whole: bool) -> Option<(Verdict, DateTime<Utc>)> {
        let found = crate::app::plan::resource(kind)?.read(self.world, self.project, id)?;
        let made = found.created_at.unwrap_or(DateTime::UNIX_EPOCH);
        let (verdict, since) = match kind {
            Kind::Service | Kind::ServiceInstance => self.service(ServiceId::new(self.project, id))?,
            Kind::ScheduledTask => self.task(ScheduledTaskId::new(self.project, id))?,
            Kind::Room => self.room(RoomId::new(self.project, id))?,
            Kind::Mailbox => {
                let room = found.document.get("room").and_then(serde_json::Value::as_str).unwrap_or_default();
                (self.of_room(self.world.room_named(self.project, room).map(|(_, room)| room.enabled)), made)
            }
            Kind::Route => {
                let route = self.world.route(RouteId::new(self.project, id))?;
                let room = self.world.room(route.backend.room());
                (self.of_room(room.map(|room| room.enabled)), route.updated_at)
            }
            Kind::ApiKey => self.api_key(DeclaredKeyId::new(self.project, id))?,
            Kind::Secret => self.secret(OwnedSecretId::new(self.project, id))?,
            Kind::GitSource => self.git_source(GitSourceId::new(self.project, id), whole)?,
            _ => (Verdict::Ready(Reason::Accepted, "it is as wanted".to_owned()), made),
        };
        let paused_at = self.paused_at(kind, id);
        Some((if paused_at.is_some() { cadence::paused(verdict) } else { verdict }, since))
    }

    /// Conditions as kstatus reads them: abnormal ones only where they hold.
    fn told(&self, generation: u64, verdict: Verdict, since: DateTime<Utc>) -> Status {
        let condition = |r#type, status, reason, message: &str| Condition {
            r#type,
            status,
            reason,
            message: message.to_owned(),
            observed_generation: generation,
            last_transition_time: since,
        };
        let verdict = match verdict {
            Verdict::Progressing(_, why) if self.now - since > TimeDelta::seconds(PROGRESS_SECONDS_MAX) => {
                let minutes = PROGRESS_SECONDS_MAX / 60;
                let text = format!("it does not get there: after {minutes} minutes, {why}");
                Verdict::Stalled(Reason::ProgressDeadlineExceeded, text)
            }
            verdict => verdict,
        };
        let conditions = match verdict {
            Verdict::Ready(reason, text) => vec![condition(Type::Ready, "True", reason, &text)],
            Verdict::Progressing(reason, text) => vec![
                condition(Type::Ready, "False", reason, &text),
                condition(Type::Reconciling, "True", reason, &text),
            ],
            Verdict::Stalled(reason, text) => vec![
                condition(Type::Ready, "False", reason, &text),
                condition(Type::Stalled, "True", reason, &text),
            ],
        };
        Status { observed_generation: generation, conditions, source: None, reconcile: None }
    }

    fn of_room(&self, enabled: Option<bool>) -> Verdict {
        match enabled {
            Some(true) => Verdict::Ready(Reason::Accepted, "it is as wanted".to_owned()),
            Some(false) => {
                let text = "its room is disabled; enable the room to have it work";
                Verdict::Ready(Reason::RoomDisabled, text.to_owned())
            }
            None => Verdict::Stalled(Reason::RoomMissing, "its room does not exist".to_owned()),
        }
    }

    fn secret(&self, id: OwnedSecretId) -> Option<(Verdict, DateTime<Utc>)> {
        let secret = self.world.secret(id)?;
        let verdict = match secret.current_version() {
            Some(_) => Verdict::Ready(Reason::Accepted, "it has a value".to_owned()),
            None => {
                let text = "it has no value; say one in its document, or add one with `meshagent secret add-version`";
                Verdict::Ready(Reason::NoValue, text.to_owned())
            }
        };
        Some((verdict, secret.updated_at))
    }

    fn api_key(&self, id: DeclaredKeyId) -> Option<(Verdict, DateTime<Utc>)> {
        let declared = self.world.declared_key(id)?;
        let (wanted, since) = (&declared.wanted, declared.updated_at);
        let stalled = |why: &str| {
            let text = format!("{why}; change `rotation` in its document to have another key made");
            Some((Verdict::Stalled(Reason::KeyRevoked, text), since))
        };
        if self.world.key(ApiKeyId::new(self.project, wanted.key)).is_none() {
            return stalled("the key was revoked");
        }
        let secret = self.world.secret(OwnedSecretId::new(self.project, wanted.secret));
        if secret.and_then(|secret| secret.current) != Some(wanted.version) {
            return stalled("the secret does not have the key's text any more");
        }
        Some((Verdict::Ready(Reason::Accepted, "the secret has the key's text".to_owned()), since))
    }

    fn room(&self, id: RoomId) -> Option<(Verdict, DateTime<Utc>)> {
        let room = self.world.room(id)?;
        let verdict = match (room.enabled, self.running.contains_key(&id)) {
            (true, true) => Verdict::Ready(Reason::Running, "the room is open".to_owned()),
            (true, false) => Verdict::Ready(Reason::Dormant, "the room opens when somebody comes".to_owned()),
            (false, false) => Verdict::Ready(Reason::Disabled, "the room is disabled, as wanted".to_owned()),
            (false, true) => Verdict::Progressing(Reason::Stopping, "the room is being closed".to_owned()),
        };
        Some((verdict, room.updated_at))
    }

    fn task(&self, id: ScheduledTaskId) -> Option<(Verdict, DateTime<Utc>)> {
        let task = self.world.task(id)?;
        let since = task.runs.last().map_or(task.updated_at, |run| run.recorded_at.max(task.updated_at));
        let room = self.of_room(self.world.room(task.room).map(|room| room.enabled));
        if !matches!(room, Verdict::Ready(Reason::Accepted, _)) {
            return Some((room, since));
        }
        let invalid = spec_of(task, self.floor).err();
        let last = task.runs.last().map(|run| &run.fired);
        let ready = |reason, text: &str| Verdict::Ready(reason, text.to_owned());
        let verdict = match (invalid, last) {
            (Some(why), _) => Verdict::Stalled(Reason::ScheduleInvalid, why),
            _ if task.is_spent() => ready(Reason::Completed, "it ran, and was to run once"),
            _ if !task.spec.active => ready(Reason::Suspended, "it is not active, as wanted"),
            (_, Some(run)) if run.outcome == Outcome::Failed => {
                let why = run.reason.as_deref().unwrap_or("no reason was given");
                let text = format!("it runs when it is due; the last run failed: {why}");
                Verdict::Ready(Reason::LastRunFailed, text)
            }
            _ => ready(Reason::Scheduled, "it runs when it is due"),
        };
        Some((verdict, since))
    }

    fn service(&self, id: ServiceId) -> Option<(Verdict, DateTime<Utc>)> {
        let service = self.world.service(id)?;
        let since = service.updated_at;
        let rooms: Vec<SessionId> = match service.room {
            Some(room) => self.running.get(&room).copied().into_iter().collect(),
            None => self.world.sessions_of_all(self.project).map(|(session, _)| session).collect(),
        };
        let instances = rooms
            .iter()
            .map(|session| (*session, self.world.instance(instance::Key { session: *session, service: id })));
        if !service.spec.enabled {
            let still = instances.filter_map(|(_, instance)| instance).find(|i| i.phase == Phase::Running);
            return Some(match still {
                Some(_) => (Verdict::Progressing(Reason::Stopping, "it is being stopped".to_owned()), since),
                None => {
                    (Verdict::Ready(Reason::Disabled, "the service is disabled, as wanted".to_owned()), since)
                }
            });
        }
        if !runs(service) {
            let (reason, text) = if service.spec.container.is_some() {
                (Reason::OnDemand, "the service runs only when invoked")
            } else {
                (Reason::NothingToRun, "the service has no process here")
            };
            return Some((Verdict::Ready(reason, text.to_owned()), since));
        }
        let mut all = vec![];
        for (_, instance) in instances {
            let seen = service_status::in_session(service, instance, || None);
            let changed = instance.map_or(since, |instance| instance.changed_at.max(since));
            all.push((of_instance(&seen, instance), changed));
        }
        let worst = |verdict: &Verdict| match verdict {
            Verdict::Stalled(..) => 0,
            Verdict::Progressing(..) => 1,
            Verdict::Ready(..) => 2,
        };
        let found = all.into_iter().min_by_key(|(verdict, _)| worst(verdict));
        Some(found.unwrap_or_else(|| (self.dormant(service), since)))
    }

    /// No session runs.
    fn dormant(&self, service: &crate::domain::service::Service) -> Verdict {
        let ready = |reason, text: &str| Verdict::Ready(reason, text.to_owned());
        let Some(room) = service.room else {
            return ready(Reason::Dormant, "no room is open; the service starts with each");
        };
        match self.world.room(room) {
            None => Verdict::Stalled(Reason::RoomMissing, "its room does not exist".to_owned()),
            Some(room) if !room.enabled => {
                ready(Reason::RoomDisabled, "its room is disabled; enable the room to have it run")
            }
            Some(_) if super::service::never_ran_since_change(self.world, room, service) => {
                let text = "the room is about to open, and the service to start";
                Verdict::Progressing(Reason::Starting, text.to_owned())
            }
            Some(_) => ready(Reason::Dormant, "the room is not open; the service starts when it is"),
        }
    }
}

fn spec_of(task: &crate::domain::scheduled_task::ScheduledTask, floor: TimeDelta) -> Result<(), String> {
    let schedule = crate::spec::schedule::Schedule::of_task(&task.spec, floor);
    schedule.map(drop).map_err(|error| error.to_string())
}

/// What is to be said of a service in one open room.
fn of_instance(seen: &Seen, instance: Option<&Instance>) -> Verdict {
    let text = seen.message.clone();
    if seen.status == "True" {
        return Verdict::Ready(Reason::Running, text);
    }
    let Some(instance) = instance.filter(|_| seen.reason != "Starting") else {
        return Verdict::Progressing(Reason::Starting, text);
    };
    let failed = instance.phase == Phase::Failed;
    match (failed, failed && lasting(instance), instance.failures >= FAILURES_MAX) {
        (_, true, _) => Verdict::Stalled(Reason::Failed, format!("{}: {text}", seen.reason)),
        (true, false, true) => Verdict::Stalled(Reason::StartFailed, format!("{}: {text}", seen.reason)),
        (false, _, true) => Verdict::Stalled(Reason::CrashLoop, text),
        (true, ..) => Verdict::Progressing(Reason::StartFailed, format!("{}: {text}", seen.reason)),
        (false, ..) => Verdict::Progressing(Reason::Restarting, text),
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;

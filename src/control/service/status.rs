//! What is told of a service: its runtime state (room protocol §3.12) and its Ready condition. Pure.

use super::plan::{LASTING_REASONS, restart_at};
use super::probe::Probes;
use super::{runs, services_of};
use crate::domain::instance::{self, Instance, Phase};
use crate::domain::service::Service;
use crate::id::{RoomId, ServiceId, SessionId};
use crate::projection::World;
use crate::runtime::InstanceKey;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A condition as Kubernetes users know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    pub r#type: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word for machines.
    pub reason: String,
    pub message: String,
}

impl Condition {
    pub(super) fn ready(status: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { r#type: "Ready", status, reason: reason.to_owned(), message: message.into() }
    }
}

/// `ServiceRuntimeState` of a service in a session. Times are seconds since 1970.
#[must_use]
pub fn runtime_state(
    world: &World,
    service: ServiceId,
    session: Option<SessionId>,
    probes: Option<&Probes>,
) -> Value {
    let instance = session.and_then(|session| world.instance(instance::Key { session, service }));
    let room = session.and_then(|session| world.session(session)).map(|session| session.room);
    let spec = world.service(service);
    let mut state = Map::new();
    state.insert("service_id".into(), json!(service.to_string()));
    state.insert("state".into(), json!(state_word(spec, instance)));
    state.insert("restart_count".into(), json!(instance.map_or(0, |i| i.restart_count)));
    if let Some(instance) = instance {
        let running = instance.phase == Phase::Running;
        let optional = [
            ("container_id", instance.handle.as_ref().map(|handle| json!(handle))),
            ("restart_scheduled_at", scheduled(spec, instance).map(seconds)),
            ("started_at", instance.started_at.filter(|_| running).map(seconds)),
            ("last_exit_code", instance.last_exit_code.map(|code| json!(code))),
            ("last_exit_at", instance.last_exit_at.map(seconds)),
            ("last_start_error", instance.last_start_error.as_ref().map(|error| json!(error))),
            ("last_start_error_at", instance.last_start_error_at.map(seconds)),
        ];
        let known = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        state.extend(known);
    }
    let ports = spec.map(|spec| ports(spec, room, service, probes)).unwrap_or_default();
    state.insert("status".into(), json!({"ports": ports}));
    state.insert("events".into(), instance.map_or_else(|| json!([]), notes));
    Value::Object(state)
}

fn state_word(service: Option<&Service>, instance: Option<&Instance>) -> &'static str {
    let Some(service) = service else { return "deleted" };
    match (service.spec.enabled, runs(service), instance.map(|instance| instance.phase)) {
        (_, _, Some(Phase::Running)) => "running",
        (false, ..) => "disabled",
        (true, _, Some(Phase::Failed)) => "failed",
        (true, _, Some(Phase::Exited)) => "restarting",
        (true, false, _) if service.spec.container.is_some() => "on_demand",
        (true, false, _) => "external",
        (true, true, Some(Phase::Stopped) | None) => "stopped",
    }
}

/// When it is started again, where it is.
fn scheduled(service: Option<&Service>, instance: &Instance) -> Option<DateTime<Utc>> {
    service.filter(|service| service.spec.enabled && !fails_for_good(instance))?;
    restart_at(instance)
}

fn fails_for_good(instance: &Instance) -> bool {
    let lasting = |reason: &str| LASTING_REASONS.contains(&reason);
    instance.phase == Phase::Failed && instance.last_start_reason.as_deref().is_some_and(lasting)
}

fn ports(service: &Service, room: Option<RoomId>, id: ServiceId, probes: Option<&Probes>) -> Vec<Value> {
    let key = room.map(|room| InstanceKey { room, service: id, container: 0 });
    let one = |(index, port): (usize, &crate::spec::Port)| {
        let seen = key.as_ref().and_then(|key| probes?.seen(key, index));
        let status = match (&port.liveness, &seen) {
            (None, _) => "not_configured",
            (Some(_), Some(seen)) if seen.ready => "ready",
            (Some(_), _) => "not_ready",
        };
        let mut told = Map::new();
        told.insert("num".into(), json!(port.num));
        told.insert("liveness_status".into(), json!(status));
        if let Some(path) = &port.liveness {
            told.insert("liveness".into(), json!(path));
        }
        if let Some(seen) = seen {
            told.insert("last_checked_at".into(), seconds(seen.checked_at));
            told.extend(seen.error.map(|error| ("last_error".to_owned(), json!(error))));
        }
        Value::Object(told)
    };
    service.spec.ports().iter().enumerate().map(one).collect()
}

fn notes(instance: &Instance) -> Value {
    let one = |note: &instance::Note| {
        json!({
            "type": note.kind,
            "reason": note.reason,
            "message": note.message,
            "count": note.count,
            "first_timestamp": seconds(note.first_at),
            "last_timestamp": seconds(note.last_at),
        })
    };
    instance.notes.iter().map(one).collect()
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of this era fit a double")]
fn seconds(at: DateTime<Utc>) -> Value {
    json!(at.timestamp_millis() as f64 / 1000.0)
}

/// Whether a service is as its spec wants it, in every session of its rooms.
#[must_use]
pub fn condition(world: &World, id: ServiceId, probes: Option<&Probes>) -> Condition {
    let Some(service) = world.service(id) else {
        return Condition::ready("Unknown", "NotFound", "the service does not exist");
    };
    if let Some(known) = without_process(service) {
        return known;
    }
    let sessions: Vec<(SessionId, RoomId)> = world
        .sessions(id.project())
        .filter(|(_, session)| session.is_active() && services_of(world, session.room).any(|(s, _)| s == id))
        .map(|(session_id, session)| (session_id, session.room))
        .collect();
    if sessions.is_empty() {
        return dormant(world, service);
    }
    let mut all = sessions.iter().map(|(session, room)| {
        let instance = world.instance(instance::Key { session: *session, service: id });
        in_session(service, instance, || not_ready_port(service, *room, id, probes))
    });
    let not_ready = all.find(|condition| condition.status != "True");
    not_ready.unwrap_or_else(|| {
        let count = sessions.len();
        Condition::ready(
            "True",
            "Running",
            format!("runs in {count} session{}", if count == 1 { "" } else { "s" }),
        )
    })
}

/// What can be said without looking at sessions.
fn without_process(service: &Service) -> Option<Condition> {
    if !service.spec.enabled {
        return Some(Condition::ready(
            "False",
            "Disabled",
            "the service is disabled; enable it to have it run",
        ));
    }
    if runs(service) {
        return None;
    }
    if service.spec.container.is_some() {
        return Some(Condition::ready("True", "OnDemand", "the service runs only when invoked"));
    }
    Some(Condition::ready("True", "NothingToRun", "the service has no process"))
}

/// No session runs: ready to start with the next one, unless one is due because the service changed.
fn dormant(world: &World, service: &Service) -> Condition {
    match service.room {
        Some(room) if super::never_ran_since_change(world, room, service) => {
            Condition::ready("False", "Pending", "the room is about to open, and the service to start")
        }
        Some(_) => Condition::ready(
            "True",
            "Dormant",
            "the room has no session; the service starts with the next one",
        ),
        None => Condition::ready("True", "Dormant", "no room has a session; the service starts with each"),
    }
}

pub(in crate::control) fn in_session(
    service: &Service,
    instance: Option<&Instance>,
    not_ready_port: impl Fn() -> Option<String>,
) -> Condition {
    let current = instance.filter(|instance| instance.generation == service.run_generation);
    let Some(instance) = current else {
        return Condition::ready("False", "Starting", "the present generation has not started yet");
    };
    let failed = || instance.last_start_error.clone().unwrap_or_else(|| "the start failed".to_owned());
    match instance.phase {
        Phase::Running => match not_ready_port() {
            Some(why) => Condition::ready("False", "PortNotReady", why),
            None => Condition::ready("True", "Running", "runs"),
        },
        Phase::Failed => {
            let reason = instance.last_start_reason.as_deref().unwrap_or("StartFailed");
            Condition::ready("False", reason, failed())
        }
        Phase::Exited => {
            let last = instance.notes.last().map_or("it ended", |note| note.message.as_str());
            let text = format!("{last}; {} failures in a row, it is started again", instance.failures);
            Condition::ready("False", "Restarting", text)
        }
        Phase::Stopped => Condition::ready("False", "Starting", "it was stopped and is started again"),
    }
}

/// The first port that declares liveness and does not answer, as text.
fn not_ready_port(service: &Service, room: RoomId, id: ServiceId, probes: Option<&Probes>) -> Option<String> {
    let probes = probes?;
    let key = InstanceKey { room, service: id, container: 0 };
    let mut declared = service.spec.ports().iter().enumerate().filter(|(_, port)| port.liveness.is_some());
    declared.find_map(|(index, _)| match probes.seen(&key, index) {
        Some(seen) if seen.ready => None,
        Some(seen) => Some(seen.error.unwrap_or_else(|| "the port does not answer".to_owned())),
        None => Some("the port was not looked at yet".to_owned()),
    })
}

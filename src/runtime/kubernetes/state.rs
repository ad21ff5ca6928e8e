//! What a pod's status says of the instance in it. Pure.

use super::names::{key_of, secrets_of};
use super::{CONTAINER_NAME, K8sPod};
use crate::runtime::{InstanceKey, RunState};
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, PodStatus};
use k8s_openapi::jiff::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// Reasons of a container that waits for ever, or until somebody changes something: the start failed.
const HOPELESS: [&str; 6] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerError",
    "RunContainerError",
];
/// Reasons of a container that is being prepared as it should be.
const PREPARING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// How long a pod that no node takes, or whose image or Secret is not to be had, is waited for.
pub(super) const TROUBLED_LIMIT: Duration = Duration::from_mins(2);
/// How long a pod may be prepared of which nothing bad is known: large images take their time.
const PREPARED_LIMIT: Duration = Duration::from_mins(10);
/// A pod that was deleted and is there so much later is lost with its node.
pub(super) const GOING_LIMIT: Duration = Duration::from_mins(5);
/// Longest text of a message, bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Something that people should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub reason: String,
    pub message: String,
}

impl Trouble {
    fn new(reason: &str, message: Option<&String>) -> Self {
        let mut message = message.cloned().unwrap_or_default();
        let end = (0..=MESSAGE_BYTES_MAX.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or_default());
        Self { reason: reason.to_owned(), message }
    }

    /// For people, one line.
    pub fn text(&self) -> String {
        let message = self.message.replace('\n', " ");
        if message.is_empty() { self.reason.clone() } else { format!("{}: {message}", self.reason) }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not scheduled, its image not there, its volumes not mounted: it will run, or it will not.
    Preparing,
    /// No node takes it.
    Unschedulable,
    /// It waits in a way that does not end by itself.
    Hopeless,
    Running,
    Ended {
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// A pod of ours as the API server showed it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub key: InstanceKey,
    pub name: String,
    pub uid: String,
    /// Grows with each change.
    pub version: u64,
    pub stage: Stage,
    pub trouble: Option<Trouble>,
    pub ip: Option<IpAddr>,
    pub started_at: DateTime<Utc>,
    /// Somebody deleted it; it is about to go.
    pub is_going: bool,
    pub secrets: Vec<String>,
}

impl Seen {
    /// `None` for a pod that is not ours.
    pub fn of(pod: &K8sPod) -> Option<Self> {
        let meta = &pod.metadata;
        let status = pod.status.as_ref();
        let (stage, trouble) = status.map_or((Stage::Preparing, None), stage);
        let began = status.and_then(|status| status.start_time.as_ref()).or(meta.creation_timestamp.as_ref());
        Some(Self {
            key: key_of(pod)?,
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            version: meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0),
            stage,
            trouble,
            ip: status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok()),
            started_at: began.map_or(DateTime::UNIX_EPOCH, |time| chrono_of(time.0)),
            is_going: meta.deletion_timestamp.is_some(),
            secrets: secrets_of(pod),
        })
    }

    /// Whether it is over, as far as the API server says.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// What is told of it, `age` after it was first seen, and `going` after it was first seen to go. What is being
    /// prepared, or about to go, is unknown: look again. What takes too long has ended.
    pub fn run(&self, age: Duration, going: Option<Duration>) -> Option<RunState> {
        let lost = RunState::Exited { code: None, signal: None };
        match self.stage {
            Stage::Ended { code, signal } => Some(RunState::Exited { code, signal }),
            Stage::Hopeless => Some(lost),
            _ if going.is_some_and(|going| going >= GOING_LIMIT) => Some(lost),
            _ if self.is_going => None,
            Stage::Running => Some(RunState::Running),
            Stage::Unschedulable => (age >= TROUBLED_LIMIT).then_some(lost),
            Stage::Preparing if self.trouble.is_some() => (age >= TROUBLED_LIMIT).then_some(lost),
            Stage::Preparing => (age >= PREPARED_LIMIT).then_some(lost),
        }
    }

    /// Why it never came to run, for people.
    pub fn why(&self) -> String {
        let unknown = || {
            format!(
                "it was not prepared in {} minutes; `kubectl describe pod {}` tells more",
                PREPARED_LIMIT.as_secs() / 60,
                self.name
            )
        };
        self.trouble.as_ref().map_or_else(unknown, Trouble::text)
    }
}

/// The same instant, as the rest of the program has it.
fn chrono_of(at: Timestamp) -> DateTime<Utc> {
    let nanoseconds = u32::try_from(at.subsec_nanosecond()).unwrap_or_default();
    DateTime::from_timestamp(at.as_second(), nanoseconds).unwrap_or(DateTime::UNIX_EPOCH)
}

fn stage(status: &PodStatus) -> (Stage, Option<Trouble>) {
    let container = status.container_statuses.iter().flatten().find(|one| one.name == CONTAINER_NAME);
    if let Some(state) = container.and_then(|one| one.state.as_ref()) {
        if let Some(over) = &state.terminated {
            return ended(status, over);
        }
        if !is_over(status) {
            return lives(state);
        }
    }
    let trouble = status.reason.as_deref().map(|reason| Trouble::new(reason, status.message.as_ref()));
    match status.phase.as_deref() {
        Some("Succeeded") => (Stage::Ended { code: Some(0), signal: None }, trouble),
        Some("Failed") => (Stage::Ended { code: None, signal: None }, trouble),
        _ => unscheduled(status)
            .map_or((Stage::Preparing, None), |trouble| (Stage::Unschedulable, Some(trouble))),
    }
}

fn is_over(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

fn ended(status: &PodStatus, over: &ContainerStateTerminated) -> (Stage, Option<Trouble>) {
    let signal = over.signal.filter(|signal| *signal > 0);
    let code = signal.is_none().then_some(over.exit_code);
    let usual = |reason: &&str| !matches!(*reason, "Completed" | "Error");
    let of_container = over.reason.as_deref().filter(usual).map(|reason| {
        let known = match reason {
            "OOMKilled" => Some("it used more memory than it may".to_owned()),
            _ => over.message.clone(),
        };
        Trouble::new(reason, known.as_ref())
    });
    let of_pod = || status.reason.as_deref().map(|reason| Trouble::new(reason, status.message.as_ref()));
    (Stage::Ended { code, signal }, of_container.or_else(of_pod))
}

fn lives(state: &ContainerState) -> (Stage, Option<Trouble>) {
    if state.running.is_some() {
        return (Stage::Running, None);
    }
    let Some(waiting) = &state.waiting else { return (Stage::Preparing, None) };
    match waiting.reason.as_deref() {
        Some(reason) if HOPELESS.contains(&reason) => {
            (Stage::Hopeless, Some(Trouble::new(reason, waiting.message.as_ref())))
        }
        Some(reason) if !PREPARING.contains(&reason) => {
            (Stage::Preparing, Some(Trouble::new(reason, waiting.message.as_ref())))
        }
        _ => (Stage::Preparing, None),
    }
}

fn unscheduled(status: &PodStatus) -> Option<Trouble> {
    let condition = status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled")?;
    (condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable"))
        .then(|| Trouble::new("Unschedulable", condition.message.as_ref()))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;

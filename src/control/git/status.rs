//! How a git source is, and what it waits for.

use crate::control::health::{Health, Reason, Verdict};
use crate::domain::git_source::{Fault, GitSource};
use crate::domain::names;
use crate::id::GitSourceId;
use crate::projection::World;
use crate::spec::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// Characters of a commit's hash that are shown to people.
const SHORT_CHARS: usize = 12;

/// What a git source tells beside its conditions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The newest request to look at it that is answered.
    pub answered_request: u64,
    /// The commit that everything is as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_at: Option<DateTime<Utc>>,
    /// First line of its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Documents in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<usize>,
    /// What of it is not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The commit that could not be applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl SourceStatus {
    /// None where it was never looked at.
    #[must_use]
    pub fn of(source: &GitSource) -> Option<Self> {
        let (last, failed) = (source.last.as_ref(), source.trouble.as_ref().map(|trouble| &trouble.failed));
        if last.is_none() && failed.is_none() {
            return None;
        }
        let commit = last.map(|last| &last.applied.commit);
        Some(Self {
            answered_request: source.answered,
            last_applied_revision: commit.map(|commit| commit.revision.clone()),
            last_applied_at: last.map(|last| last.at),
            subject: commit.map(|commit| commit.subject.clone()),
            author: commit.map(|commit| commit.author.clone()),
            documents: last.map(|last| last.applied.documents),
            left_out: last.map(|last| last.applied.left_out.clone()).unwrap_or_default(),
            last_attempted_revision: failed.and_then(|failed| failed.revision.clone()),
            last_error: failed.map(|failed| failed.message.clone()),
        })
    }
}

/// The source that another one waits for, by its name.
#[must_use]
pub fn waits_for(world: &World, id: GitSourceId, now: DateTime<Utc>) -> Option<String> {
    let source = world.git_source(id)?;
    if source.spec.depends_on.is_empty() {
        return None;
    }
    // Schedules are no matter here.
    let health = Health::of(world, id.project(), now, 0);
    let is_ready = |name: &str| {
        let uuid = world.named(id.project(), names::Kind::GitSource, None, name);
        let other = uuid.map(|uuid| GitSourceId::new(id.project(), uuid));
        let applied =
            other.and_then(|other| world.git_source(other)).is_some_and(|other| other.last.is_some());
        let ready = other.and_then(|other| health.git_source(other, true));
        applied && matches!(ready, Some((Verdict::Ready(..), _)))
    };
    source.spec.depends_on.iter().find(|name| !is_ready(name)).cloned()
}

impl Health<'_> {
    /// How far a source is. `whole`: also what it applied, where it waits for that.
    pub(in crate::control) fn git_source(
        &self,
        id: GitSourceId,
        whole: bool,
    ) -> Option<(Verdict, DateTime<Utc>)> {
        let source = self.world.git_source(id)?;
        if source.spec.suspend {
            let text = match &source.last {
                Some(last) => {
                    format!("it is suspended, as wanted, at {}", short(&last.applied.commit.revision))
                }
                None => "it is suspended, as wanted, and was never applied".to_owned(),
            };
            return Some((Verdict::Ready(Reason::Suspended, text), source.updated_at));
        }
        if let Some(asked) = source.asked_at() {
            let text = "it was asked for, and is about to be read".to_owned();
            return Some((self.waiting(id, source, text), asked));
        }
        if let Some(trouble) =
            source.trouble.as_ref().filter(|t| t.failed.generation >= source.read_generation)
        {
            let (reason, text) = (reason(trouble.failed.fault), trouble.failed.message.clone());
            let verdict = if trouble.failed.fault.passes() {
                Verdict::Progressing(reason, text)
            } else {
                Verdict::Stalled(reason, text)
            };
            return Some((verdict, trouble.since));
        }
        match source.last.as_ref().filter(|last| last.applied.generation >= source.read_generation) {
            None => {
                let text = "the repository is about to be read".to_owned();
                Some((self.waiting(id, source, text), source.updated_at))
            }
            Some(last) => {
                let unhealthy = if whole { self.unhealthy(id, source, last.at) } else { None };
                Some(unhealthy.unwrap_or_else(|| (Verdict::Ready(Reason::Applied, told(source)), last.at)))
            }
        }
    }

    fn waiting(&self, id: GitSourceId, source: &GitSource, text: String) -> Verdict {
        let not_applied = |name: &&String| {
            let uuid = self.world.named(id.project(), names::Kind::GitSource, None, name);
            let other = uuid.map(|uuid| GitSourceId::new(id.project(), uuid));
            // Not whole: sources that wait for each other in a circle would be looked at for ever.
            !matches!(other.and_then(|other| self.applied(other)), Some(true))
        };
        match source.spec.depends_on.iter().find(not_applied) {
            Some(name) => {
                let text =
                    format!("it waits for git source `{name}`; `meshagent why git-source/{name}` says why");
                Verdict::Progressing(Reason::DependencyNotReady, text)
            }
            None => Verdict::Progressing(Reason::Fetching, text),
        }
    }

    /// Whether a source's present document was applied, and nothing is in the way.
    fn applied(&self, id: GitSourceId) -> Option<bool> {
        let source = self.world.git_source(id)?;
        let last = source.last.as_ref()?;
        Some(last.applied.generation >= source.read_generation && source.trouble.is_none())
    }

    /// What of a source's resources is not ready, where it is to wait for them.
    fn unhealthy(
        &self,
        id: GitSourceId,
        source: &GitSource,
        applied_at: DateTime<Utc>,
    ) -> Option<(Verdict, DateTime<Utc>)> {
        let seconds = i64::try_from(source.spec.health_timeout_seconds?).unwrap_or(i64::MAX / 1000);
        let name = source.source();
        let mut waits: Option<(String, DateTime<Utc>)> = None;
        for (held, kind, _) in self.world.inventory(self.project)?.of(&name) {
            if held == id.uuid() {
                continue;
            }
            let Some((verdict, since)) = self.verdict(kind, held, false) else { continue };
            let what = || self.label(kind, held);
            match verdict {
                Verdict::Ready(..) => {}
                Verdict::Stalled(_, why) => {
                    let text = format!("{} is not ready: {why}", what());
                    return Some((Verdict::Stalled(Reason::HealthCheckFailed, text), since.max(applied_at)));
                }
                Verdict::Progressing(_, why) => {
                    let since = since.max(applied_at);
                    if waits.as_ref().is_none_or(|(_, other)| since < *other) {
                        waits = Some((format!("{} is not ready yet: {why}", what()), since));
                    }
                }
            }
        }
        let (text, since) = waits?;
        let verdict = if self.now - since > TimeDelta::seconds(seconds) {
            Verdict::Stalled(Reason::HealthCheckFailed, format!("after {seconds} seconds, {text}"))
        } else {
            Verdict::Progressing(Reason::Applied, text)
        };
        Some((verdict, since))
    }

    fn label(&self, kind: Kind, id: uuid::Uuid) -> String {
        let found = crate::app::plan::resource(kind).and_then(|of| of.read(self.world, self.project, id));
        found.map_or_else(|| kind.slug().to_owned(), |found| found.key.to_string())
    }
}

fn told(source: &GitSource) -> String {
    let Some(last) = &source.last else { return String::new() };
    let (commit, count) = (&last.applied.commit, last.applied.documents);
    let plural = if count == 1 { "" } else { "s" };
    let mut text = format!("{count} document{plural} of commit {} are applied", short(&commit.revision));
    if !commit.subject.is_empty() {
        text.push_str(&format!(": {}", commit.subject));
    }
    if !last.applied.left_out.is_empty() {
        text.push_str(&format!("; left out: {}", last.applied.left_out.join(", ")));
    }
    text
}

fn short(revision: &str) -> &str {
    revision.get(..SHORT_CHARS).unwrap_or(revision)
}

const fn reason(fault: Fault) -> Reason {
    match fault {
        Fault::Unreachable => Reason::FetchFailed,
        Fault::Unauthorized => Reason::Unauthorized,
        Fault::Refused => Reason::UrlRefused,
        Fault::Missing => Reason::ReferenceMissing,
        Fault::Unverified => Reason::Unverified,
        Fault::TooLarge => Reason::TooLarge,
        Fault::Invalid => Reason::DocumentsInvalid,
        Fault::Conflict => Reason::FieldConflict,
        Fault::Internal => Reason::ServerFault,
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;

//! A git source: a repository whose documents are kept applied, and what became of it. Its name is held by
//! [`super::names`]; what it applied is in the [`super::inventory`], under [`GitSource::source`].

use super::event::Nothing;
use super::{Entity, Event, Refusal, Rejection};
use crate::spec::GitSource as Spec;
use crate::spec::reconcile::{self, Cadence};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Most sources of one project.
pub const SOURCES_MAX: usize = 100;
/// Longest text of a failure, bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Longest text about a commit, bytes.
pub const ABOUT_BYTES_MAX: usize = 200;

/// Fact: this is what is wanted from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub spec: Spec,
}

/// A commit, as people know it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Commit {
    /// Its whole hash.
    pub revision: String,
    /// First line of its message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
}

/// Fact: everything is as the documents of a commit say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Of the source, when it was read.
    pub generation: u64,
    /// Requests that this answers.
    #[serde(default)]
    pub request: u64,
    #[serde(flatten)]
    pub commit: Commit,
    pub documents: usize,
    #[serde(default)]
    pub created: usize,
    #[serde(default)]
    pub updated: usize,
    #[serde(default)]
    pub replaced: usize,
    #[serde(default)]
    pub deleted: usize,
    /// What of the repository is not read, and why: links, submodules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl Applied {
    /// Resources that were changed.
    #[must_use]
    pub const fn changes(&self) -> usize {
        self.created + self.updated + self.replaced + self.deleted
    }
}

/// Why a source is not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The repository does not answer, or not with what was asked for.
    Unreachable,
    /// The repository, or its host, does not let us in.
    Unauthorized,
    /// Where it is may not be asked, or it names a secret that cannot be used.
    Refused,
    /// The branch, the tag or the path is not there.
    Missing,
    /// The commit is not signed by those who may.
    Unverified,
    /// It is larger than what is read.
    TooLarge,
    /// The documents are wrong, or cannot be applied to what is there.
    Invalid,
    /// Another source holds what the documents say otherwise.
    Conflict,
    /// This server cannot do it, for reasons of its own.
    Internal,
}

impl Fault {
    /// Whether it goes away by itself, and trying again soon is of use.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Unreachable | Self::Internal)
    }
}

/// Fact: the source was looked at and not applied; nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    pub generation: u64,
    /// Requests that this answers.
    #[serde(default)]
    pub request: u64,
    /// The commit, where it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub fault: Fault,
    /// What is wrong and where; at most [`MESSAGE_BYTES_MAX`].
    pub message: String,
}

/// What was applied last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Last {
    pub applied: Applied,
    pub at: DateTime<Utc>,
}

/// What is in the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trouble {
    pub failed: Failed,
    /// Since when there is some, of whatever kind.
    pub since: DateTime<Utc>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GitSource {
    pub spec: Spec,
    /// Counts the changes of what is wanted; 1 at creation.
    pub generation: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// How often somebody asked for it to be looked at, and of these, how many are answered.
    #[serde(default)]
    pub requests: u64,
    #[serde(default)]
    pub answered: u64,
    /// When it was asked for last.
    #[serde(default)]
    pub requested_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub last: Option<Last>,
    #[serde(default)]
    pub trouble: Option<Trouble>,
    /// The generation since which the same is to be read: a pause changes nothing of that.
    #[serde(default)]
    pub read_generation: u64,
    /// Since when it is left alone by its annotation, where it is.
    #[serde(default)]
    pub paused_at: Option<DateTime<Utc>>,
}

impl GitSource {
    /// How controllers treat it.
    #[must_use]
    pub fn cadence(&self) -> Cadence {
        cadence(&self.spec)
    }

    /// Whether it is not looked at.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.spec.suspend || self.paused_at.is_some()
    }

    /// The name under which it holds resources.
    #[must_use]
    pub fn source(&self) -> String {
        source_of(&self.spec.metadata.name)
    }

    /// When somebody asked for it to be looked at, where that was not done yet.
    #[must_use]
    pub fn asked_at(&self) -> Option<DateTime<Utc>> {
        self.requested_at.filter(|_| self.requests > self.answered)
    }

    /// The newest generation that was looked at.
    #[must_use]
    pub fn seen(&self) -> u64 {
        let failed = self.trouble.as_ref().map(|trouble| trouble.failed.generation);
        let applied = self.last.as_ref().map(|last| last.applied.generation);
        failed.max(applied).unwrap_or_default()
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

/// The name under which a git source holds resources.
#[must_use]
pub fn source_of(name: &str) -> String {
    format!("{SOURCE}{name}")
}

/// Whether that is the name of such a source.
#[must_use]
pub fn is_source(name: &str) -> bool {
    name.starts_with(SOURCE)
}

/// What such names begin with.
const SOURCE: &str = "git:";

#[derive(Clone, Debug)]
pub enum Command {
    Create(Spec),
    Update(Spec),
    Delete,
    /// Have it looked at now.
    Request,
    /// It was applied. `changed`: more than what is said of the source itself.
    Applied {
        applied: Applied,
        changed: bool,
    },
    Failed(Failed),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the git source exists already; update it instead")]
    Exists,
    #[error("the project has {SOURCES_MAX} git sources already; delete one that is not needed")]
    TooMany,
    #[error("the git source does not exist; `meshagent source list` shows those that do")]
    NotFound,
    #[error("git source `{0}` is suspended; run `meshagent source resume {0}` first")]
    Suspended(String),
    #[error("git source `{0}` is paused; run `meshagent resume git-source/{0}` first")]
    Paused(String),
}

impl Rejection for Refused {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Exists => Refusal::Exists,
            Self::NotFound => Refusal::NotFound,
            Self::TooMany | Self::Suspended(_) | Self::Paused(_) => Refusal::State,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "git-source-exists",
            Self::NotFound => "git-source-not-found",
            Self::TooMany => "git-source-limit",
            Self::Suspended(_) | Self::Paused(_) => "git-source-suspended",
        }
    }
}

impl Entity for GitSource {
    type Command = Command;
    type Rejection = Refused;

    fn decide(state: Option<&Self>, command: Command) -> Result<Vec<Event>, Refused> {
        match (state, command) {
            (None, Command::Create(spec)) => Ok(vec![Event::GitSourceCreated(Wanted { spec })]),
            (Some(_), Command::Create(_)) => Err(Refused::Exists),
            (None, _) => Err(Refused::NotFound),
            (Some(old), Command::Update(spec)) => {
                Ok(if spec == old.spec { vec![] } else { vec![Event::GitSourceUpdated(Wanted { spec })] })
            }
            (Some(_), Command::Delete) => Ok(vec![Event::GitSourceDeleted(Nothing {})]),
            (Some(old), Command::Request) if old.spec.suspend => {
                Err(Refused::Suspended(old.spec.metadata.name.clone()))
            }
            (Some(old), Command::Request) if old.rests() => {
                Err(Refused::Paused(old.spec.metadata.name.clone()))
            }
            // Also where one waits: it may have been looked at already, before what this one is about.
            (Some(_), Command::Request) => Ok(vec![Event::GitSourceReconcileRequested(Nothing {})]),
            (Some(old), Command::Applied { applied, changed }) => {
                let known = old.last.as_ref().is_some_and(|last| {
                    last.applied.generation == applied.generation
                        && last.applied.commit.revision == applied.commit.revision
                });
                let answers = applied.request > old.answered;
                let settled = known && !changed && old.trouble.is_none() && !answers;
                Ok(if settled { vec![] } else { vec![Event::GitSourceApplied(applied)] })
            }
            (Some(old), Command::Failed(failed)) => {
                // The number of the request is in it.
                let known = old.trouble.as_ref().is_some_and(|trouble| trouble.failed == failed);
                Ok(if known { vec![] } else { vec![Event::GitSourceFailed(failed)] })
            }
        }
    }

    fn evolve(state: Option<Self>, event: &Event, at: DateTime<Utc>) -> Option<Self> {
        match event {
            Event::GitSourceCreated(wanted) => Some(Self {
                spec: wanted.spec.clone(),
                generation: 1,
                created_at: at,
                updated_at: at,
                requests: 0,
                answered: 0,
                requested_at: None,
                last: None,
                trouble: None,
                read_generation: 1,
                paused_at: cadence(&wanted.spec).paused_at(None, at),
            }),
            Event::GitSourceUpdated(wanted) => {
                let old = state?;
                let generation = old.generation + 1;
                let paused_at = cadence(&wanted.spec).paused_at(old.paused_at, at);
                let same = plain(&wanted.spec) == plain(&old.spec);
                let read_generation = if same { old.read_generation } else { generation };
                let spec = wanted.spec.clone();
                Some(Self { spec, generation, read_generation, updated_at: at, paused_at, ..old })
            }
            Event::GitSourceDeleted(_) => None,
            Event::GitSourceReconcileRequested(_) => {
                let old = state?;
                Some(Self { requests: old.requests + 1, requested_at: Some(at), ..old })
            }
            Event::GitSourceApplied(applied) => {
                let old = state?;
                let last = Some(Last { applied: applied.clone(), at });
                Some(Self { last, trouble: None, answered: old.answered.max(applied.request), ..old })
            }
            Event::GitSourceFailed(failed) => {
                let old = state?;
                let since = old.trouble.as_ref().map_or(at, |trouble| trouble.since);
                let trouble = Some(Trouble { failed: failed.clone(), since });
                Some(Self { trouble, answered: old.answered.max(failed.request), ..old })
            }
            _ => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(branch: &str) -> Spec {
        let json = json!({"metadata": {"name": "shop"}, "url": "https://h/r", "branch": branch});
        serde_json::from_value(json).unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn run(state: &mut Option<GitSource>, command: Command, second: i64) -> usize {
        let events = GitSource::decide(state.as_ref(), command).unwrap();
        for event in &events {
            *state = GitSource::evolve(state.take(), event, at(second));
        }
        events.len()
    }

    fn applied(revision: &str, request: u64, changed: bool) -> Command {
        let commit = Commit { revision: revision.into(), ..Commit::default() };
        let applied = Applied {
            generation: 1,
            request,
            commit,
            documents: 1,
            created: usize::from(changed),
            updated: 0,
            replaced: 0,
            deleted: 0,
            left_out: vec![],
        };
        Command::Applied { applied, changed }
    }

    fn failed(message: &str) -> Command {
        let (fault, revision) = (Fault::Invalid, Some("b".to_owned()));
        Command::Failed(Failed { generation: 1, request: 0, revision, fault, message: message.into() })
    }

    #[test]
    fn what_is_as_it_was_is_no_fact() {
        let mut state = None;
        assert_eq!(run(&mut state, Command::Create(spec("main")), 1), 1);
        assert_eq!(state.as_ref().unwrap().seen(), 0);
        assert_eq!(run(&mut state, applied("a", 0, true), 2), 1);
        assert_eq!(run(&mut state, applied("a", 0, false), 3), 0, "looked at again, nothing new");
        assert_eq!(run(&mut state, applied("a", 0, true), 4), 1, "drift was put right");
        assert_eq!(run(&mut state, failed("x"), 5), 1);
        assert_eq!(run(&mut state, failed("x"), 6), 0, "the same again");
        assert_eq!(run(&mut state, failed("y"), 7), 1);
        assert_eq!(state.as_ref().unwrap().trouble.as_ref().unwrap().since, at(5));
        assert_eq!(run(&mut state, applied("a", 0, false), 8), 1, "it is well again");
        assert_eq!(state.as_ref().unwrap().trouble, None);
        assert_eq!(run(&mut state, Command::Request, 9), 1);
        assert_eq!(run(&mut state, applied("a", 0, false), 10), 0, "this look began before");
        assert_eq!(run(&mut state, Command::Request, 11), 1);
        assert_eq!(run(&mut state, applied("a", 1, false), 12), 1, "the first is answered");
        assert_eq!(state.as_ref().unwrap().asked_at(), Some(at(11)));
        assert_eq!(run(&mut state, applied("a", 2, false), 13), 1, "and the second");
        assert_eq!(state.as_ref().unwrap().asked_at(), None);
        assert_eq!(run(&mut state, Command::Update(spec("main")), 12), 0);
        assert_eq!(run(&mut state, Command::Update(spec("next")), 12), 1);
        let source = state.as_ref().unwrap();
        assert_eq!((source.generation, source.seen()), (2, 1));
        let suspended = Spec { suspend: true, ..spec("next") };
        run(&mut state, Command::Update(suspended), 13);
        let refused = GitSource::decide(state.as_ref(), Command::Request);
        assert_eq!(refused, Err(Refused::Suspended("shop".into())));
        run(&mut state, Command::Delete, 14);
        assert_eq!(state, None);
        assert_eq!(GitSource::decide(None, failed("x")), Err(Refused::NotFound));
    }
}

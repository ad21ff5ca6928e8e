//! One look at one source, under its lease: fetch, read, plan, apply, record.

use super::GitSources;
use super::plan::{Ended, Looked};
use super::problems::{Trouble, of_plan, of_texts};
use crate::app::git_sources::Fetched;
use crate::app::plan::Request;
use crate::app::{self, Actor};
use crate::control::{ControlParts, Controller, Error};
use crate::domain::git_source::{ABOUT_BYTES_MAX, Applied, Commit, Failed, GitSource};
use crate::domain::template;
use crate::eventlog::AppendError;
use crate::git::{Checkout, Reference, Repositories, Wanted};
use crate::id::GitSourceId;
use crate::lease::LeaseError;
use crate::spec::Written;
use std::sync::Arc;
use std::time::Duration;

/// How long one server has a source for itself without saying that it goes on.
pub const LEASE_TTL: Duration = Duration::from_mins(1);
/// How often it says so during a look.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// The name of a source's repository among those of this server.
pub(super) fn key(id: &GitSourceId) -> String {
    format!("{}.{}", id.project(), id.uuid())
}

/// Looks at a source, unless another server does.
pub(super) async fn look(
    parts: &ControlParts,
    repositories: &Repositories,
    id: GitSourceId,
) -> Result<Looked, Error> {
    let name = format!("git/{id}");
    let url = &parts.app.settings.server_url;
    let mut lease = match parts.leases.acquire(&name, &parts.holder, url, LEASE_TTL).await {
        Ok(lease) => lease,
        Err(LeaseError::Held(other)) => {
            let ended = Ended::Elsewhere(other.until);
            return Ok(Looked { at: parts.app.clock.now(), generation: 0, request: 0, ended, failures: 0 });
        }
        Err(error) => return Err(error.into()),
    };
    let looked = {
        let work = under_lease(parts, repositories, id);
        tokio::pin!(work);
        loop {
            tokio::select! {
                looked = &mut work => break looked,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            // Lost, the look is cut off: another server does it.
            lease = parts.leases.renew(&lease, LEASE_TTL).await?;
        }
    };
    parts.leases.release(&lease).await?;
    looked
}

async fn under_lease(
    parts: &ControlParts,
    repositories: &Repositories,
    id: GitSourceId,
) -> Result<Looked, Error> {
    let at = parts.app.clock.now();
    let looked = |generation, request, ended| Looked { at, generation, request, ended, failures: 0 };
    let Some(source) = parts.app.world().git_source(id).cloned() else {
        return Ok(looked(0, 0, Ended::Settled));
    };
    let ended = match attempt(parts, repositories, id, &source).await {
        Ok(applied) => {
            if applied.changes() > 0 {
                let commit = &applied.commit.revision;
                tracing::info!(source = %source.spec.metadata.name, %commit, changes = applied.changes(), "a git source was applied");
            }
            Ended::Settled
        }
        Err(Stop::Trouble(trouble)) => {
            tracing::warn!(source = %source.spec.metadata.name, fault = ?trouble.fault, message = %trouble.message, "a git source is not applied");
            let passes = trouble.fault.passes();
            let failed = Failed {
                generation: source.generation,
                request: source.requests,
                revision: trouble.revision.clone(),
                fault: trouble.fault,
                message: trouble.message,
            };
            let actor = actor(&source, trouble.revision.as_deref());
            parts.app.git_source_failed(&actor, id, failed).await?;
            if passes { Ended::Failed } else { Ended::Settled }
        }
        Err(Stop::Error(error)) => return Err(error),
    };
    Ok(looked(source.generation, source.requests, ended))
}

/// Why a look went no further.
enum Stop {
    /// To be told of.
    Trouble(Trouble),
    /// Of no concern of the source's; to be tried again.
    Error(Error),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

async fn attempt(
    parts: &ControlParts,
    repositories: &Repositories,
    id: GitSourceId,
    source: &GitSource,
) -> Result<Applied, Stop> {
    let wanted = wanted(parts, id, source).await?;
    let checkout = repositories.fetch(&key(&id), &wanted).await.map_err(Trouble::from)?;
    let Checkout { revision, subject, author, texts, left_out } = checkout;
    let read = tokio::task::spawn_blocking(move || template::read_kept(&texts)).await;
    let written = read
        .map_err(|_| Stop::Error(Error::Panicked("the reader of documents")))?
        .map_err(|problems| of_texts(&revision, &problems))?;
    let places: Vec<(String, usize)> =
        written.iter().map(|written| (written.source.clone(), written.line)).collect();
    let fetched = Fetched {
        generation: source.generation,
        request_number: source.requests,
        commit: Commit { revision: revision.clone(), subject: short(subject), author: short(author) },
        request: Arc::new(request(source, written)),
        left_out,
    };
    let applied = parts.app.apply_git_source(&actor(source, Some(&revision)), id, &fetched).await;
    applied.map_err(|error| match error {
        app::Error::Plan(problems) => of_plan(&revision, &problems, &places).into(),
        // What it is about is in the commit: trying the same again does not help.
        error @ (app::Error::Rejected { .. }
        | app::Error::Invalid { .. }
        | app::Error::NotFound { .. }
        | app::Error::Append(AppendError::TooLarge { .. })) => {
            Trouble::invalid(&revision, error.to_string()).into()
        }
        error => Stop::Error(error.into()),
    })
}

async fn wanted(parts: &ControlParts, id: GitSourceId, source: &GitSource) -> Result<Wanted, Stop> {
    let spec = &source.spec;
    let secret = match &spec.credentials {
        Some(credentials) => {
            let value = parts.app.git_source_secret(id.project(), &credentials.named()).await;
            Some(value.map_err(|error| match error {
                app::Error::Invalid { .. } | app::Error::NotFound { .. } => {
                    Stop::Trouble(Trouble::refused(format!("`credentials`: {error}")))
                }
                error => Stop::Error(error.into()),
            })?)
        }
        None => None,
    };
    let reference = match (&spec.branch, &spec.tag) {
        (Some(branch), _) => Reference::Branch(branch.clone()),
        (None, Some(tag)) => Reference::Tag(tag.clone()),
        (None, None) => Reference::Default,
    };
    let applied = source.last.as_ref().map(|last| last.applied.generation);
    Ok(Wanted {
        url: spec.url.clone(),
        reference,
        path: spec.path.clone(),
        may_be_gone: applied == Some(source.generation),
        secret,
        username: spec.credentials.as_ref().map(|all| all.username.clone()).unwrap_or_default(),
        known_hosts: spec.credentials.as_ref().and_then(|all| all.known_hosts.clone()),
        allowed_signers: spec.verify.as_ref().map(|verify| verify.allowed_signers.clone()),
    })
}

fn request(source: &GitSource, written: Vec<Written>) -> Request {
    let spec = &source.spec;
    Request {
        source: source.source(),
        documents: written.into_iter().map(|written| written.value).collect(),
        room: spec.room.clone(),
        prune: spec.prune,
        force: spec.force_conflicts,
        replace: spec.replace,
        ..Request::default()
    }
}

/// Every fact that a source makes tells of its commit.
fn actor(source: &GitSource, revision: Option<&str>) -> Actor {
    let revision = revision.map(|revision| format!("@{revision}")).unwrap_or_default();
    let on_behalf_of = Some(format!("{}{revision}", source.source()));
    Actor { on_behalf_of, ..Actor::controller(GitSources::NAME) }
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ABOUT_BYTES_MAX));
    text
}

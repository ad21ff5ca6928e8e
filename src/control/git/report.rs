//! Tells the forge what became of a commit, where a source says so. That the forge was not told stops nothing.

use crate::control::ControlParts;
use crate::domain::git_source::GitSource;
use crate::id::GitSourceId;
use crate::net::commit_status::{self, CommitStatus};
use crate::projection::World;

/// What there is to be told of a source's newest commit, and where; nothing where none was read, or nobody wants to know.
pub(super) fn due(world: &World, id: GitSourceId) -> Option<(String, CommitStatus)> {
    let source = world.git_source(id)?;
    let url = source.spec.commit_status.as_ref()?.url.clone();
    Some((url, of(source)?))
}

fn of(source: &GitSource) -> Option<CommitStatus> {
    let context = format!("meshagent/{}", source.spec.metadata.name);
    if let Some(trouble) = &source.trouble {
        let revision = trouble.failed.revision.clone()?;
        return Some(CommitStatus { revision, good: false, context, description: described(source) });
    }
    let revision = source.last.as_ref()?.applied.commit.revision.clone();
    Some(CommitStatus { revision, good: true, context, description: described(source) })
}

fn described(source: &GitSource) -> String {
    match (&source.trouble, &source.last) {
        (Some(trouble), _) => {
            // The first line counts, the second says what.
            let mut lines = trouble.failed.message.lines();
            let first = lines.next().unwrap_or_default();
            lines.next().unwrap_or(first).to_owned()
        }
        (None, Some(last)) => format!("{} documents are applied", last.applied.documents),
        (None, None) => String::new(),
    }
}

/// Tells the forge; says whether it heard.
pub(super) async fn tell(parts: &ControlParts, id: GitSourceId, told: &CommitStatus) -> bool {
    let world = parts.app.world();
    let Some(wanted) = world.git_source(id).and_then(|source| source.spec.commit_status.as_ref()) else {
        return true;
    };
    let token = match parts.app.git_source_secret(id.project(), &wanted.named()).await {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(source = %told.context, %error, "the token of a git source's forge cannot be used");
            return false;
        }
    };
    let token = token.expose_str().unwrap_or_default().trim();
    match commit_status::send(&wanted.url, told, token, &parts.settings.outward.allowed).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(source = %told.context, %error, "a forge was not told what became of a commit");
            false
        }
    }
}

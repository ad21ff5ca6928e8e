//! What is in the way of a source, as text of a bounded size: what is wrong, in which file and line.

use crate::app::plan::Problems;
use crate::domain::git_source::{Fault, MESSAGE_BYTES_MAX};
use crate::git::GitError;
use crate::spec::Problem;

/// Problems that are spelled out.
const PROBLEMS_TOLD_MAX: usize = 10;
/// Longest text of one problem, bytes.
const PROBLEM_BYTES_MAX: usize = 1024;

/// What is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub fault: Fault,
    /// The commit, where it was read.
    pub revision: Option<String>,
    pub message: String,
}

impl Trouble {
    pub fn invalid(revision: &str, message: String) -> Self {
        let message = cut(message, MESSAGE_BYTES_MAX);
        Self { fault: Fault::Invalid, revision: Some(revision.to_owned()), message }
    }

    pub fn refused(message: String) -> Self {
        Self { fault: Fault::Refused, revision: None, message: cut(message, MESSAGE_BYTES_MAX) }
    }
}

impl From<GitError> for Trouble {
    fn from(error: GitError) -> Self {
        let fault = match &error {
            GitError::Refused(crate::net::guard::Refused::NotResolved { .. })
            | GitError::Unreachable(_)
            | GitError::TooSlow(_) => Fault::Unreachable,
            GitError::Refused(_) | GitError::NotAllowed(_) => Fault::Refused,
            GitError::NoReference(_) | GitError::NoCommit | GitError::NoPath { .. } => Fault::Missing,
            GitError::Unauthorized(_) => Fault::Unauthorized,
            GitError::PackTooLarge(_) | GitError::TooMuch(_) | GitError::TooLarge { .. } => Fault::TooLarge,
            GitError::Unverified { .. } => Fault::Unverified,
            GitError::Unreadable { .. } => Fault::Invalid,
            GitError::NoGit(_) | GitError::Git(_) | GitError::Io(_) => Fault::Internal,
        };
        let revision = error.revision().map(str::to_owned);
        Self { fault, revision, message: cut(error.to_string(), MESSAGE_BYTES_MAX) }
    }
}

/// Problems of texts, each with its file and line.
pub(super) fn of_texts(revision: &str, problems: &[Problem]) -> Trouble {
    let lines = problems.iter().map(ToString::to_string);
    Trouble::invalid(revision, listed(lines, problems.len()))
}

/// Problems of a plan, each with the file and line of its document.
pub(super) fn of_plan(revision: &str, problems: &Problems, places: &[(String, usize)]) -> Trouble {
    let line = |problem: &crate::app::plan::Problem| match problem
        .document
        .and_then(|document| places.get(document))
    {
        Some((file, line)) => format!("{file}:{line}: {problem}"),
        None => problem.to_string(),
    };
    let text = listed(problems.list.iter().map(line), problems.count);
    let fault = if problems.are_conflicts() { Fault::Conflict } else { Fault::Invalid };
    Trouble { fault, ..Trouble::invalid(revision, text) }
}

fn listed(lines: impl Iterator<Item = String>, count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    let mut text = format!("{count} problem{plural} in the documents; nothing was changed");
    for line in lines.take(PROBLEMS_TOLD_MAX) {
        text.push('\n');
        text.push_str(&cut(line, PROBLEM_BYTES_MAX));
    }
    if count > PROBLEMS_TOLD_MAX {
        text.push_str(&format!("\nand {} more", count - PROBLEMS_TOLD_MAX));
    }
    text
}

fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_with_their_places_and_are_bounded() {
        let problem = |line| Problem {
            source: "specs/a.yaml".into(),
            line,
            column: 3,
            path: "enabled".into(),
            message: "wrong ".repeat(1_000),
            hint: None,
        };
        let many: Vec<_> = (1..=30).map(problem).collect();
        let trouble = of_texts("abc", &many);
        assert!(trouble.message.starts_with(
            "30 problems in the documents; nothing was changed\nspecs/a.yaml:1:3: enabled: wrong"
        ));
        assert!(trouble.message.len() <= MESSAGE_BYTES_MAX, "{}", trouble.message.len());
        let one = of_texts("abc", &many[..1]);
        assert!(one.message.starts_with("1 problem in") && one.message.ends_with('…'));
        assert_eq!(one.revision.as_deref(), Some("abc"));
        assert_eq!(cut("ä".repeat(10), 7), "ää…");
    }

    #[test]
    fn only_what_may_pass_is_tried_soon() {
        let of = |error| Trouble::from(error).fault;
        assert_eq!(of(GitError::Unreachable("x".into())), Fault::Unreachable);
        assert_eq!(of(GitError::NotAllowed("x".into())), Fault::Refused);
        assert!(of(GitError::Unreachable("x".into())).passes());
        assert!(!of(GitError::NoReference("x".into())).passes());
    }
}

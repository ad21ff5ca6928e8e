//! What goes wrong with repositories, read out of what git says.

use super::GIT_MIN;
use super::run::Said;
use crate::net::guard::Refused;
use std::time::Duration;

/// Most characters of what git or a host said that are passed on.
const SAID_CHARS_MAX: usize = 400;

/// Why there is nothing of a repository. The texts are for people; no secret is in them.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    NotAllowed(String),
    #[error(
        "the repository has no `{0}` (any more); nothing was changed: correct `branch` or `tag`, or push it again"
    )]
    NoReference(String),
    #[error("what is followed is no commit; follow a branch, or a tag of a commit")]
    NoCommit,
    #[error("there is no folder `{path}` in commit {revision}; correct `path`")]
    NoPath { path: String, revision: String },
    #[error("the repository lets nobody in with these credentials: {0}; correct `credentials`")]
    Unauthorized(String),
    #[error("the repository cannot be fetched: {0}")]
    Unreachable(String),
    #[error("the repository did not answer within {} seconds", .0.as_secs())]
    TooSlow(Duration),
    #[error(
        "the pack of the repository is larger than {mib} MiB, and is not read; make the repository smaller, or have the \
         operator raise `up --git-pack-mib`",
        mib = .0 >> 20
    )]
    PackTooLarge(u64),
    #[error("commit {revision} {what}")]
    TooLarge { revision: String, what: String },
    #[error("git tells more than {0} bytes of the repository, which are not read; name a folder by `path`")]
    TooMuch(usize),
    #[error("commit {revision} is not signed by those who may: {why}; nothing was changed")]
    Unverified { revision: String, why: String },
    #[error("commit {revision} cannot be read: {}", .problems.join("; "))]
    Unreadable { revision: String, problems: Vec<String> },
    #[error(
        "this server needs the program `git`, {min_0}.{min_1} or newer, and found: {0}; install it",
        min_0 = GIT_MIN.0,
        min_1 = GIT_MIN.1
    )]
    NoGit(String),
    #[error("git failed: {0}")]
    Git(String),
    #[error("the folder of repositories cannot be used: {0}")]
    Io(#[from] std::io::Error),
}

impl GitError {
    /// Whether it may come of what is kept of the repository here.
    pub(super) const fn is_of_the_copy(&self) -> bool {
        matches!(self, Self::Git(_))
    }

    /// The commit that was read, where it came that far.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        match self {
            Self::NoPath { revision, .. }
            | Self::TooLarge { revision, .. }
            | Self::Unverified { revision, .. }
            | Self::Unreadable { revision, .. } => Some(revision),
            _ => None,
        }
    }
}

/// What git says of a fetch, as what it means.
pub(super) fn of_fetch(said: &Said, reference: &str, pack_bytes_max: u64) -> GitError {
    let text = &said.stderr;
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["couldn't find remote ref", "remote ref does not exist"]) {
        return GitError::NoReference(reference.trim_start_matches("refs/").to_owned());
    }
    if says(&["File size limit exceeded", "died of signal 25", "maximum allowed size", "File too large"]) {
        return GitError::PackTooLarge(pack_bytes_max);
    }
    if says(&[
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "Permission denied (",
        "Host key verification failed",
        "requested URL returned error: 403",
        "requested URL returned error: 401",
    ]) {
        return GitError::Unauthorized(first(text));
    }
    if says(&[
        ".lock': File exists",
        "not a git repository: '.'",
        "unable to write",
        "object file",
        "bad object",
        "loose object",
    ]) {
        return GitError::Git(first(text));
    }
    GitError::Unreachable(first(text))
}

/// The line that says most, on one line and short.
pub(super) fn first(text: &str) -> String {
    let starts = ["fatal: ", "error: ", "ERROR: ", "remote: "];
    let told = |start: &&str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::trim);
    let line = starts.iter().find_map(told).filter(|line| !line.is_empty());
    let line = line.or_else(|| text.lines().map(str::trim).find(|line| !line.is_empty()));
    plain(&untimed(line.unwrap_or("git said nothing")))
}

/// How long curl waited differs each time, and makes nothing new of it.
fn untimed(line: &str) -> String {
    let waited = line.split_once(" after ").and_then(|(before, rest)| {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = unit.strip_prefix(" milliseconds").or_else(|| unit.strip_prefix(" ms"))?;
        Some(format!("{before}{rest}"))
    });
    waited.unwrap_or_else(|| line.to_owned())
}

/// Foreign text on one line, without what moves a terminal, and short.
pub(super) fn plain(text: &str) -> String {
    let mut plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    if text.chars().nth(SAID_CHARS_MAX).is_some() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> GitError {
        let said = Said { success: false, stdout: vec![], stderr: text.to_owned() };
        of_fetch(&said, "refs/heads/main", 1 << 20)
    }

    #[test]
    fn what_git_says_is_understood() {
        let gone = of("fatal: couldn't find remote ref refs/heads/main\n");
        assert!(matches!(&gone, GitError::NoReference(name) if name == "heads/main"), "{gone}");
        let large = of("error: index-pack died of signal 25\nfatal: x");
        assert!(matches!(large, GitError::PackTooLarge(1_048_576)), "{large}");
        let stranger = of("fatal: Authentication failed for 'https://h/'\n");
        assert!(matches!(stranger, GitError::Unauthorized(_)), "{stranger}");
        let locked = of("fatal: Unable to create '/x/shallow.lock': File exists.\n");
        assert!(locked.is_of_the_copy(), "{locked}");
        let down = of("warning: x\nfatal: unable to access 'https://h/': Failed to\u{1b}[2J connect\n");
        assert_eq!(
            down.to_string(),
            "the repository cannot be fetched: unable to access 'https://h/': Failed to [2J connect"
        );
        let slow = of(
            "fatal: unable to access 'https://h/': Failed to connect to h port 443 after 132 ms: Could not connect",
        );
        assert_eq!(
            slow.to_string(),
            "the repository cannot be fetched: unable to access 'https://h/': Failed to connect to h port 443: Could not \
             connect"
        );
        assert_eq!(of("").to_string(), "the repository cannot be fetched: git said nothing");
    }
}

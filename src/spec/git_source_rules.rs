//! Rules between the fields of a git source.

use super::git_source::{DEPENDS_ON_MAX, INTERVAL_SECONDS_MAX, INTERVAL_SECONDS_MIN};
use super::problem::{Finding, Path, shown};
use super::{GitSource, NamedSecret};
use crate::name::RoomName;
use url::Url;

/// Longest name of a source: it is part of the name under which it holds resources.
const NAME_BYTES_MAX: usize = 63;
/// Longest branch, tag or path.
const REF_BYTES_MAX: usize = 255;
/// Most bytes of host keys or allowed signers.
const LINES_BYTES_MAX: usize = 64 * 1024;

pub(super) fn check(source: &GitSource) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut say = |path: &str, message: String, hint: &str| {
        let finding = Finding::new(Path::of(path), message);
        out.push(if hint.is_empty() { finding } else { finding.hint(hint) });
    };
    let name = &source.metadata.name;
    if !is_name(name) {
        let hint = "use letters, digits and -_. and at most 63 of them";
        say("metadata.name", format!("`{}` is not a name for a source", shown(name)), hint);
    }
    if let Some((message, hint)) = url_problem(&source.url) {
        say("url", message, hint);
    }
    if source.branch.is_some() && source.tag.is_some() {
        let hint = "leave one out";
        say("tag", "a source follows a branch or a tag, not both".to_owned(), hint);
    }
    for (at, text) in [("branch", &source.branch), ("tag", &source.tag)] {
        if let Some(text) = text.as_ref().filter(|text| !is_ref(text)) {
            say(at, format!("`{}` is not the name of a {at}", shown(text)), "");
        }
    }
    if let Some(path) = source.path.as_ref().filter(|path| !is_path(path)) {
        let hint = "write a folder from the top of the repository, such as `specs`";
        say("path", format!("`{}` is not a path within a repository", shown(path)), hint);
    }
    if let Some(Err(error)) = source.room.as_ref().map(|room| RoomName::new(room.as_str())) {
        say("room", error.to_string(), "");
    }
    let range = INTERVAL_SECONDS_MIN..=INTERVAL_SECONDS_MAX;
    let health = source.health_timeout_seconds.map(|seconds| ("health_timeout_seconds", seconds));
    for (at, seconds) in [Some(("interval_seconds", source.interval_seconds)), health].into_iter().flatten() {
        if !range.contains(&seconds) {
            let (min, max) = (range.start(), range.end());
            say(at, format!("{seconds} seconds; at least {min} and at most {max}"), "");
        }
    }
    depends_on(source, &mut say);
    secrets(source, &mut say);
    out
}

fn depends_on(source: &GitSource, say: &mut impl FnMut(&str, String, &str)) {
    if source.depends_on.len() > DEPENDS_ON_MAX {
        say("depends_on", format!("a source waits for at most {DEPENDS_ON_MAX} others"), "");
    }
    for (at, other) in source.depends_on.iter().enumerate() {
        if *other == source.metadata.name {
            say(&format!("depends_on[{at}]"), "a source does not wait for itself".to_owned(), "leave it out");
        }
    }
}

fn secrets(source: &GitSource, say: &mut impl FnMut(&str, String, &str)) {
    let credentials = source.credentials.as_ref();
    let named: [(&str, Option<NamedSecret>); 3] = [
        ("credentials", credentials.map(super::GitCredentials::named)),
        ("webhook", source.webhook.clone()),
        ("commit_status", source.commit_status.as_ref().map(super::GitCommitStatus::named)),
    ];
    for (at, named) in named {
        let empty = |named: &NamedSecret| named.secret.trim().is_empty() || named.account.trim().is_empty();
        if named.as_ref().is_some_and(empty) {
            say(&format!("{at}.secret"), "no secret is named".to_owned(), "give its name or id");
        }
    }
    if credentials.is_some_and(|all| all.username.contains(|c: char| c == ':' || c.is_control())) {
        say("credentials.username", "a user name has no colon and no control characters".to_owned(), "");
    }
    if source.url.starts_with("ssh://") && credentials.is_none_or(|all| all.known_hosts.is_none()) {
        let hint = "write what `ssh-keyscan HOST` prints, after checking it";
        say("credentials.known_hosts", "over ssh the keys of the host must be known".to_owned(), hint);
    }
    let lines = [
        ("credentials.known_hosts", credentials.and_then(|all| all.known_hosts.as_ref())),
        ("verify.allowed_signers", source.verify.as_ref().map(|verify| &verify.allowed_signers)),
    ];
    for (at, text) in lines {
        if text.is_some_and(|text| text.trim().is_empty() || text.len() > LINES_BYTES_MAX) {
            say(at, format!("it has nothing in it, or more than {LINES_BYTES_MAX} bytes"), "");
        }
    }
    let status = source.commit_status.as_ref().map(|status| status.url.as_str());
    if status.is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
        let hint = "such as https://api.github.com/repos/owner/name";
        say("commit_status.url", "the address of the forge's API is a URL".to_owned(), hint);
    }
}

/// What is wrong with the address of a repository, and the next step.
fn url_problem(text: &str) -> Option<(String, &'static str)> {
    const FORMS: &str = "write https://host/path, ssh://user@host/path or file:///path";
    let Ok(url) = Url::parse(text) else {
        let hint =
            if text.contains('@') { "write ssh://user@host/path instead of user@host:path" } else { FORMS };
        return Some((format!("`{}` is no URL", shown(text)), hint));
    };
    if url.query().is_some() || url.fragment().is_some() || text.contains(char::is_control) {
        return Some(("the address of a repository has no query and no fragment".to_owned(), FORMS));
    }
    let hosted = url.host_str().is_some_and(|host| !host.is_empty() && !host.starts_with('-'));
    match url.scheme() {
        "https" | "http" | "ssh" if url.password().is_some() => {
            let text = "the URL has a password in it".to_owned();
            Some((text, "keep it as a secret, and name that in `credentials`"))
        }
        "https" | "http" if !url.username().is_empty() => {
            let text = "the URL has a user in it".to_owned();
            Some((text, "write it as `credentials.username`"))
        }
        "https" | "http" | "ssh" if !hosted => Some(("the URL names no host".to_owned(), FORMS)),
        "ssh" if url.username().starts_with('-') => Some(("the user is not one".to_owned(), FORMS)),
        "https" | "http" | "ssh" => None,
        "file" if url.host_str().is_none_or(str::is_empty) && url.path().len() > 1 => None,
        "file" => Some(("a file URL names a folder of the server".to_owned(), "write file:///path")),
        other => Some((format!("repositories are not reached by `{}`", shown(other)), FORMS)),
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.chars().all(plain)
        && !text.starts_with(['-', '.'])
}

/// As `git check-ref-format` has it.
fn is_ref(text: &str) -> bool {
    let bad = |c: char| c.is_control() || c == ' ' || "~^:?*[\\".contains(c);
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.to_lowercase().ends_with(".lock")
    };
    text.len() <= REF_BYTES_MAX
        && !text.starts_with('-')
        && !text.contains(bad)
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && text.split('/').all(part)
}

fn is_path(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    text.len() <= REF_BYTES_MAX
        && !text.contains(|c: char| c.is_control() || c == '\\')
        && text.strip_suffix('/').unwrap_or(text).split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_branches_and_paths_are_those_of_git() {
        for good in ["main", "release/1.2", "feature-x", "v1.0"] {
            assert!(is_ref(good), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a b", "a:b", "x.lock", "/a", "a/", "a//b", ".a", "a^", "@", "a@{1}", "a\n",
            "a.",
        ] {
            assert!(!is_ref(bad), "{bad}");
        }
        for good in ["specs", "specs/prod/", "a b/c"] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["", "/", "/etc", "../x", "a/../b", "a//b", "a\\b", "./a"] {
            assert!(!is_path(bad), "{bad}");
        }
    }

    #[test]
    fn repositories_are_reached_by_three_ways() {
        for good in [
            "https://git.example/a.git",
            "http://127.0.0.1:8080/a",
            "ssh://git@git.example/a.git",
            "ssh://git.example:2222/a.git",
            "file:///srv/git/a.git",
        ] {
            assert_eq!(url_problem(good), None, "{good}");
        }
        for (bad, word) in [
            ("git@git.example:a.git", "no URL"),
            ("git://git.example/a", "`git`"),
            ("ext::sh -c id", "`ext`"),
            ("https://u:p@git.example/a", "password"),
            ("https://u@git.example/a", "user"),
            ("ssh://-oProxyCommand=id@git.example/a", "the user"),
            ("file://host/a", "a folder"),
            ("https://git.example/a?x=1", "no query"),
            ("/srv/git", "no URL"),
        ] {
            let (text, _) = url_problem(bad).unwrap_or_else(|| panic!("{bad} is taken"));
            assert!(text.contains(word), "{bad}: {text}");
        }
    }
}

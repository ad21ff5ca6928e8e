//! Names of threads, and the time tokens in paths. Pure.

use chrono::{DateTime, Utc};

const DATASET: &str = "dataset://";

/// Folder of an agent's threads: `--thread-dir` where given, else `agents/<name>/threads`, as a dataset path.
#[must_use]
pub fn thread_dir(agent_name: &str, given: Option<&str>) -> String {
    let default = format!("agents/{agent_name}/threads");
    let dir = given.map(str::trim).filter(|d| !d.is_empty()).unwrap_or(&default).trim_end_matches('/');
    if dir.contains("://") { collapse(dir) } else { format!("{DATASET}{}", dir.trim_start_matches('/')) }
}

/// The table that lists the threads of a folder.
#[must_use]
pub fn index_path(dir: &str) -> String {
    format!("{}/index", dir.trim_end_matches('/'))
}

/// Without the doubled prefix of the folders that the official agent publishes.
fn collapse(path: &str) -> String {
    let mut path = path;
    while let Some(rest) = path.strip_prefix(DATASET).filter(|rest| rest.starts_with(DATASET)) {
        path = rest;
    }
    path.to_owned()
}

/// Replaces `{YYYY}`, `{MM}`, `{DD}`, `{HH}`, `{mm}`, `{ss}` and their long forms by the time, UTC. Unknown tokens stay.
#[must_use]
pub fn expand(template: &str, now: DateTime<Utc>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let Some(close) = from.find('}') else {
            out.push_str(from);
            return out;
        };
        let token = from.get(1..close).unwrap_or_default();
        match format_of(token) {
            Some(format) => out.push_str(&now.format(format).to_string()),
            None => out.push_str(from.get(..=close).unwrap_or_default()),
        }
        rest = from.get(close + 1..).unwrap_or_default();
    }
    out + rest
}

/// The case of `MM`/`mm` tells month from minute; every other spelling is free.
fn format_of(token: &str) -> Option<&'static str> {
    match token {
        "MM" => return Some("%m"),
        "mm" => return Some("%M"),
        _ => {}
    }
    Some(match token.to_ascii_uppercase().as_str() {
        "YYYY" | "YEAR" => "%Y",
        "YY" | "YR" => "%y",
        "MONTH" => "%m",
        "DD" | "DAY" => "%d",
        "HH" | "HOUR" => "%H",
        "MINUTE" | "MIN" => "%M",
        "SS" | "SECOND" | "SEC" => "%S",
        _ => return None,
    })
}

/// A path in room storage: without the `room://` scheme and outer slashes. `None` when it would leave its folder.
#[must_use]
pub fn room_path(path: &str) -> Option<String> {
    let path = path.strip_prefix("room:").unwrap_or(path);
    let segments: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
    let bad = |s: &&str| *s == "." || *s == ".." || s.contains('\\') || s.chars().any(char::is_control);
    (!segments.is_empty() && !segments.iter().any(bad)).then(|| segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn thread_folders_are_dataset_paths_with_one_prefix() {
        assert_eq!(thread_dir("bob", None), "dataset://agents/bob/threads");
        assert_eq!(thread_dir("bob", Some(".threads/x")), "dataset://.threads/x");
        assert_eq!(thread_dir("bob", Some("/x/")), "dataset://x");
        assert_eq!(thread_dir("bob", Some("tmp://x")), "tmp://x");
        assert_eq!(thread_dir("bob", Some("dataset://dataset://a/b")), "dataset://a/b");
    }

    #[test]
    fn time_tokens_are_filled_in_and_others_stay() {
        let now = Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap();
        let full = expand("a/{YYYY}/{MM}/{DD}/{HH}/{mm}/{ss}/{what}", now);
        assert_eq!(full, "a/2026/03/04/05/06/07/{what}");
        assert_eq!(
            expand("{year}-{month}-{Day} {hour}:{min}:{SEC} {yy} {open", now),
            "2026-03-04 05:06:07 26 {open"
        );
    }

    #[test]
    fn room_paths_cannot_leave_the_room() {
        assert_eq!(room_path("room:///a//b.txt").as_deref(), Some("a/b.txt"));
        assert_eq!(room_path("/a").as_deref(), Some("a"));
        for bad in ["", "room:///", "../a", "a/../../b", "a\\b", "a\nb"] {
            assert_eq!(room_path(bad), None, "{bad:?}");
        }
    }
}

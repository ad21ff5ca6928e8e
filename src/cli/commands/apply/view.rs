//! Plans and problems as people read them.

use crate::cli::error::CliError;
use crate::client::rest::{FieldChange, Plan, PlanProblem, Step};
use serde_json::Value;
use std::fmt::Write;
use std::io::IsTerminal;

/// Characters of one value that are shown.
const VALUE_CHARS_MAX: usize = 120;

/// Whether stdout is a terminal that may be coloured.
pub fn in_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// One step as `apply` tells it: `room/desk created`.
pub fn line(step: &Step, dry_run: bool) -> String {
    let word = match step.action.as_str() {
        "create" => "created",
        "update" => "configured",
        "replace" => "replaced",
        "delete" => "deleted",
        other => other,
    };
    let note = step.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    let dry = if dry_run { " (dry run)" } else { "" };
    format!("{}/{} {word}{note}{dry}", step.kind.to_lowercase(), step.name)
}

/// All that a plan would change.
pub fn plan(plan: &Plan, colour: bool) -> String {
    let mut text = steps(&plan.steps, colour);
    let count = |name: &str| plan.summary.get(name).and_then(Value::as_u64).unwrap_or_default();
    let all = ["create", "update", "replace", "delete"].map(|name| format!("{} to {name}", count(name)));
    let _ = writeln!(text, "plan {}: {}, {} unchanged", plan.hash, all.join(", "), count("unchanged"));
    text
}

/// The steps that change something, with what they change.
pub fn steps(steps: &[Step], colour: bool) -> String {
    let mut text = String::new();
    for step in steps.iter().filter(|step| step.action != "unchanged") {
        let (sign, paint) = sign(&step.action);
        let room = step.room.as_ref().map(|room| format!(" in room {room}")).unwrap_or_default();
        let head = format!("{sign} {}/{}{room}", step.kind.to_lowercase(), step.name);
        painted(&mut text, &head, paint, colour);
        for change in &step.changes {
            field(&mut text, change, colour);
        }
    }
    text
}

fn sign(action: &str) -> (&'static str, &'static str) {
    match action {
        "create" => ("+", "32"),
        "delete" => ("-", "31"),
        "replace" => ("-/+", "35"),
        _ => ("~", "33"),
    }
}

fn painted(text: &mut String, line: &str, paint: &str, colour: bool) {
    let _ = if colour { writeln!(text, "\u{1b}[{paint}m{line}\u{1b}[0m") } else { writeln!(text, "{line}") };
}

pub fn field(text: &mut String, change: &FieldChange, colour: bool) {
    let FieldChange { path, from, to } = change;
    let (from, to) = (from.as_ref().map(whole), to.as_ref().map(whole));
    let begin = from.as_ref().zip(to.as_ref()).map_or(0, |(from, to)| same(from, to));
    if let Some(from) = from {
        painted(text, &format!("  - {path}: {}", part(&from, begin)), "31", colour);
    }
    if let Some(to) = to {
        painted(text, &format!("  + {path}: {}", part(&to, begin)), "32", colour);
    }
}

/// Characters that two long texts begin with, but for a few, so that where they differ is shown; none where both are short.
fn same(from: &str, to: &str) -> usize {
    if from.chars().count().max(to.chars().count()) <= VALUE_CHARS_MAX {
        return 0;
    }
    let alike = from.chars().zip(to.chars()).take_while(|(a, b)| a == b).count();
    alike.saturating_sub(VALUE_CHARS_MAX / 4)
}

/// A value on one line. It may be anybody's text, and must not steer the terminal; JSON has no control characters.
fn whole(value: &Value) -> String {
    value.to_string().chars().flat_map(plain).collect()
}

/// As much of a text as is shown, from there.
fn part(text: &str, begin: usize) -> String {
    let mut part = if begin > 0 { "…".to_owned() } else { String::new() };
    part.extend(text.chars().skip(begin).take(VALUE_CHARS_MAX));
    if text.chars().count() > begin + VALUE_CHARS_MAX {
        part.push('…');
    }
    part
}

fn plain(c: char) -> Vec<char> {
    if c.is_control() { c.escape_unicode().collect() } else { vec![c] }
}

/// Everything that is in the way, each at its file and line.
pub fn problems(places: &[(String, usize)], problems: &[PlanProblem], count: usize) -> CliError {
    let mut text = "nothing was changed".to_owned();
    for problem in problems {
        let PlanProblem { document, kind, name, path, message, hint, code: _ } = problem;
        let place = document.and_then(|index| places.get(index));
        let place = place.map(|(source, line)| format!("{source}:{line}: ")).unwrap_or_default();
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let _ = write!(text, "\n{place}{kind} `{name}`: {path}{message}");
        if let Some(hint) = hint {
            let _ = write!(text, "\n  hint: {hint}");
        }
    }
    if count > problems.len() {
        let _ = write!(text, "\nand {} more", count - problems.len());
    }
    CliError::user(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn a_plan() -> Plan {
        serde_json::from_value(json!({"source": "cli", "hash": "ab", "base": 1,
            "summary": {"create": 1, "update": 1, "replace": 0, "delete": 0, "unchanged": 1},
            "steps": [
                {"action": "create", "kind": "Room", "name": "desk"},
                {"action": "update", "kind": "Service", "room": "desk", "name": "web",
                    "changes": [{"path": "enabled", "from": true, "to": false}, {"path": "x", "to": "\u{1b}[31m"}]},
                {"action": "unchanged", "kind": "Room", "name": "old", "note": "now held by `cli`"},
            ]}))
        .unwrap()
    }

    #[test]
    fn a_plan_shows_what_changes_and_counts_the_rest() {
        let text = plan(&a_plan(), false);
        assert_eq!(
            text,
            "+ room/desk\n~ service/web in room desk\n  - enabled: true\n  + enabled: false\n  + x: \"\\u001b[31m\"\n\
             plan ab: 1 to create, 1 to update, 0 to replace, 0 to delete, 1 unchanged\n"
        );
        assert!(plan(&a_plan(), true).contains("\u{1b}[32m+ room/desk\u{1b}[0m"));
        assert_eq!(line(&a_plan().steps[2], true), "room/old unchanged (now held by `cli`) (dry run)");
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let long = |end: &str| json!(format!("{}{end}", "x".repeat(500)));
        let change = FieldChange { path: "text".to_owned(), from: Some(long("red")), to: Some(long("blue")) };
        let mut text = String::new();
        field(&mut text, &change, false);
        assert!(text.contains("xred\"\n") && text.contains("xblue\"\n") && text.contains(": …x"), "{text}");
        assert!(text.len() < 300, "{text}");
    }
}

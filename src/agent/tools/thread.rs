//! Toolkits `search` (the present thread, also what no longer fits the model) and `chat` (the list of threads).

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::message::ThreadEntry;
use crate::agent::storage::{Index, Place, Stored, read_thread, sorted};
use crate::client::room::RoomClient;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Memory a pattern's program may take, bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Threads in one answer.
const THREADS_MAX: usize = 200;
/// Threads in one answer, unless asked otherwise.
const THREADS: usize = 20;
/// Tells the model what a path is good for.
const HINT: &str = "A thread's path names it: work that names the same path continues it.";

#[derive(Clone, Copy)]
enum Op {
    Range,
    Count,
    Grep,
    List,
    GrepList,
}

struct ThreadTool {
    op: Op,
    spec: ToolSpec,
    room: RoomClient,
    place: Place,
    index: Index,
}

/// The tools of a thread that is stored; none for another.
pub fn thread(room: &RoomClient, path: &str, dir: &str) -> Vec<Arc<dyn Tool>> {
    let (Ok(place), Ok(index)) = (Place::parse(path), Index::new(room.clone(), dir)) else {
        return Vec::new();
    };
    let number = |what: &str| json!({"type": "integer", "description": what});
    let optional = |what: &str| json!({"type": ["integer", "null"], "description": what});
    let pattern = json!({"type": "string", "description": "regular expression"});
    let ignore_case = json!({"type": ["boolean", "null"], "description": "null is true"});
    let all = [
        (
            Op::Grep,
            spec(
                "search",
                "grep_current_thread",
                "Finds messages of this thread by a regular expression, also those that are no longer in view.",
                json!({"pattern": pattern, "ignore_case": ignore_case, "messages_before": optional("messages to show before a match"),
                    "messages_after": optional("messages to show after a match")}),
            ),
        ),
        (
            Op::Range,
            spec(
                "search",
                "get_message_range",
                "Reads messages of this thread by their number; 0 is the first one.",
                json!({"start": number("first"), "end": number("the one after the last")}),
            ),
        ),
        (
            Op::Count,
            spec(
                "search",
                "count_current_thread_messages",
                "Counts the messages of this thread, also those no longer in view.",
                json!({}),
            ),
        ),
        (
            Op::List,
            spec(
                "chat",
                "list_threads",
                "Lists this agent's threads, newest first.",
                json!({"limit": optional("most threads; null is 20"), "offset": optional("threads to skip")}),
            ),
        ),
        (
            Op::GrepList,
            spec(
                "chat",
                "grep_thread_list",
                "Finds threads by their name or path.",
                json!({"pattern": pattern, "ignore_case": ignore_case}),
            ),
        ),
    ];
    let tool = |(op, spec)| {
        let (room, place, index) = (room.clone(), place.clone(), index.clone());
        Arc::new(ThreadTool { op, spec, room, place, index }) as Arc<dyn Tool>
    };
    all.into_iter().map(tool).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    start: i64,
    end: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grep {
    pattern: String,
    ignore_case: Option<bool>,
    messages_before: Option<usize>,
    messages_after: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<i64>,
    offset: Option<i64>,
}

#[async_trait::async_trait]
impl Tool for ThreadTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        match self.op {
            Op::Range => {
                let Range { start, end } = arguments(given)?;
                let rows = self.rows().await?;
                let at = |n: i64| usize::try_from(n).unwrap_or(0).min(rows.len());
                let found = rows.get(at(start)..at(end).max(at(start))).unwrap_or_default();
                Ok(shown(found.iter(), "no messages were found within the specified range").into())
            }
            Op::Count => Ok(self.rows().await?.len().to_string().into()),
            Op::Grep => {
                let wanted: Grep = arguments(given)?;
                let pattern = regex(&wanted.pattern, wanted.ignore_case)?;
                let rows = self.rows().await?;
                let around = (wanted.messages_before.unwrap_or(0), wanted.messages_after.unwrap_or(0));
                // A long thread takes a while to be read through.
                let text = tokio::task::spawn_blocking(move || grep(&rows, &pattern, around)).await;
                Ok(text.map_err(|_| "the search broke off".to_owned())?.into())
            }
            Op::List => {
                let Page { limit, offset } = arguments(given)?;
                let limit =
                    usize::try_from(limit.unwrap_or(THREADS as i64)).unwrap_or(1).clamp(1, THREADS_MAX);
                let offset = usize::try_from(offset.unwrap_or(0)).unwrap_or(0);
                let all = sorted(self.index.all().await?);
                let total = all.len();
                let page: Vec<_> = all.into_iter().skip(offset).take(limit).collect();
                Ok(json!({"threads": page, "total": total, "offset": offset, "limit": limit,
                    "sort": "modified_at_desc", "read_file_hint": HINT})
                .to_string()
                .into())
            }
            Op::GrepList => {
                let wanted: Grep = arguments(given)?;
                let pattern = regex(&wanted.pattern, wanted.ignore_case)?;
                let fits =
                    |entry: &ThreadEntry| pattern.is_match(&entry.name) || pattern.is_match(&entry.path);
                let found: Vec<_> = sorted(self.index.all().await?).into_iter().filter(fits).collect();
                let total = found.len();
                let found: Vec<_> = found.into_iter().take(THREADS_MAX).collect();
                Ok(json!({"threads": found, "total_matches": total, "pattern": wanted.pattern, "read_file_hint": HINT})
                    .to_string()
                    .into())
            }
        }
    }
}

impl ThreadTool {
    async fn rows(&self) -> Result<Vec<Stored>, ToolError> {
        Ok(read_thread(&self.room, &self.place).await?)
    }
}

/// The messages that a pattern fits, with as many before and after.
fn grep(rows: &[Stored], pattern: &Regex, (before, after): (usize, usize)) -> String {
    let hits = (0..rows.len()).filter(|n| rows.get(*n).is_some_and(|row| pattern.is_match(&line(row))));
    let mut found: Vec<&Stored> = Vec::new();
    let mut next = 0;
    for hit in hits {
        let end = hit.saturating_add(after).saturating_add(1).min(rows.len());
        let begin = hit.saturating_sub(before).clamp(next, end);
        found.extend(rows.get(begin..end).unwrap_or_default());
        next = end.max(next);
    }
    shown(found.into_iter(), "no messages were found with the specified pattern")
}

fn regex(pattern: &str, ignore_case: Option<bool>) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case.unwrap_or(true))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| format!("`{pattern}` is no regular expression: {error}"))
}

/// A message as the model reads it.
fn line(row: &Stored) -> String {
    let text = |key: &str| row.message.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut fields = row.message.clone();
    fields.retain(|name, value| {
        !value.is_null() && !matches!(name.as_str(), "created_at" | "type" | "metadata")
    });
    format!("{} at {}: {}", text("type"), text("created_at"), Value::Object(fields))
}

fn shown<'a>(rows: impl Iterator<Item = &'a Stored>, none: &str) -> String {
    let lines: Vec<_> = rows.map(line).collect();
    if lines.is_empty() { none.to_owned() } else { format!("matching messages:\n{}", lines.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_messages_with_what_is_around_them_once() {
        let row = |n: i64| Stored {
            sequence: n,
            turn_id: None,
            item_id: n.to_string(),
            message: json!({"type": "t", "text": format!("word{n}")}).as_object().cloned().unwrap(),
        };
        let rows: Vec<_> = (0..10).map(row).collect();
        let lines = |pattern: &str, around| {
            let text = grep(&rows, &regex(pattern, None).unwrap(), around);
            (0..10).filter(|n| text.contains(&format!("word{n}\""))).collect::<Vec<_>>()
        };
        assert_eq!(lines("WORD[35]\"", (1, 1)), [2, 3, 4, 5, 6]);
        assert_eq!(lines("word3", (usize::MAX, 0)), [0, 1, 2, 3]);
        assert_eq!(lines("word9", (0, usize::MAX)), [9]);
        assert!(grep(&rows, &regex("nothing", None).unwrap(), (1, 1)).starts_with("no messages"));
        assert!(regex("(", None).is_err());
    }
}

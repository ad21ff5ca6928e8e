//! `meshagent session traces`.

use super::{Which, attributes, time, unknown};
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::client::rest::ProjectRest;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Units of durations, nanoseconds; the longer names first.
const UNITS: [(&str, f64); 5] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Only this trace
    #[arg(long)]
    trace_id: Option<String>,
    /// Only spans whose name contains this
    #[arg(long)]
    name: Option<String>,
    /// Only spans that took this long or longer, as 500ms or 2s
    #[arg(long, value_parser = nanoseconds)]
    min_duration: Option<u64>,
    /// Show the attributes of the span
    #[arg(long)]
    attrs: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn run(project: &ProjectRest, args: Args) -> Result<(), CliError> {
    let Some(id) = args.which.id(project).await? else { return Ok(()) };
    let mut spans = project.session_spans(&id).await.map_err(unknown)?;
    spans.retain(|span| is_wanted(span, &args));
    if args.output.output == Format::Json {
        return output::json(&json!({"spans": spans}));
    }
    let columns = ["name", "time", "duration", "status", "attrs"];
    let shown = if args.attrs { &columns[..] } else { &columns[..4] };
    let mut table = Table::new(shown);
    for (depth, span) in tree(&spans) {
        table.row(row(depth, span).into_iter().take(shown.len()));
    }
    table.print(&format!("No spans found for session {id}"))
}

fn is_wanted(span: &Value, args: &Args) -> bool {
    let name = || span["span_name"].as_str().unwrap_or_default().to_lowercase();
    args.trace_id.as_ref().is_none_or(|id| span["trace_id"] == id.as_str())
        && args.name.as_ref().is_none_or(|part| name().contains(&part.to_lowercase()))
        && args.min_duration.is_none_or(|least| span["duration"].as_u64().unwrap_or(0) >= least)
}

/// Every span once, below the one it belongs to, with its depth; what belongs to nothing here begins a tree.
fn tree(spans: &[Value]) -> Vec<(usize, &Value)> {
    let text = |span: &'_ Value, name: &str| span[name].as_str().unwrap_or_default().to_owned();
    let key = |span: &Value, id: &str| (text(span, "trace_id"), text(span, id));
    let mut in_time: Vec<&Value> = spans.iter().collect();
    in_time.sort_by_key(|span| span["created_at"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok()));
    let places: HashMap<_, _> =
        in_time.iter().enumerate().map(|(n, span)| (key(span, "span_id"), n)).collect();
    let mut below: Vec<Vec<usize>> = vec![vec![]; in_time.len()];
    let mut roots = vec![];
    for (n, span) in in_time.iter().enumerate() {
        match places.get(&key(span, "parent_span_id")).and_then(|parent| below.get_mut(*parent)) {
            Some(children) => children.push(n),
            None => roots.push(n),
        }
    }
    // Whatever the roots do not lead to, in a circle for instance, is shown too.
    let mut waiting: Vec<_> = roots.into_iter().chain(0..in_time.len()).rev().map(|n| (0, n)).collect();
    let (mut rows, mut seen) = (vec![], vec![false; in_time.len()]);
    while let Some((depth, n)) = waiting.pop() {
        let (Some(span), Some(seen)) = (in_time.get(n), seen.get_mut(n)) else { continue };
        if std::mem::replace(seen, true) {
            continue;
        }
        rows.push((depth, *span));
        waiting.extend(below.get(n).into_iter().flatten().rev().map(|child| (depth + 1, *child)));
    }
    rows
}

fn row(depth: usize, span: &Value) -> [String; 5] {
    let status = match span["status_code"].as_i64() {
        Some(1) => "ok".to_owned(),
        Some(2) => format!("error: {}", output::cell(span.get("status_message"))),
        _ => "-".to_owned(),
    };
    [
        format!("{}{}", "  ".repeat(depth), output::cell(span.get("span_name"))),
        time(&span["created_at"]),
        span["duration"].as_u64().map_or_else(|| "-".to_owned(), duration),
        status,
        attributes([&span["span_attributes"]]),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "shown to one or two places")]
fn duration(nanos: u64) -> String {
    let nanos_f = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{:.1}us", nanos_f / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}ms", nanos_f / 1e6),
        _ => format!("{:.2}s", nanos_f / 1e9),
    }
}

/// `500ms`, `2s`, `1.5us`; a bare number is nanoseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither negative nor too large")]
fn nanoseconds(text: &str) -> Result<u64, String> {
    let unit = UNITS.iter().find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, nanos)));
    let (number, nanos) = unit.unwrap_or((text, &1.0));
    match number.trim().parse::<f64>().map(|number| number * nanos) {
        Ok(nanos) if (0.0..1e18).contains(&nanos) => Ok(nanos as u64),
        _ => Err(format!("`{text}` is no duration; write it as 500ms or 2s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, at: &str) -> Value {
        json!({"trace_id": "t", "span_id": id, "parent_span_id": parent, "span_name": id,
            "created_at": format!("2026-01-01T00:00:{at}Z")})
    }

    fn shown(spans: &[Value]) -> Vec<(usize, &str)> {
        tree(spans).into_iter().map(|(depth, span)| (depth, span["span_name"].as_str().unwrap())).collect()
    }

    #[test]
    fn spans_are_shown_below_what_they_belong_to_in_the_order_of_time() {
        let spans = [
            span("late", Some("root"), "03"),
            span("other", None, "02.5"),
            span("deep", Some("early"), "02"),
            span("early", Some("root"), "01"),
            span("root", None, "00"),
            span("lost", Some("nowhere"), "04"),
        ];
        let expected = [(0, "root"), (1, "early"), (2, "deep"), (1, "late"), (0, "other"), (0, "lost")];
        assert_eq!(shown(&spans), expected);
    }

    #[test]
    fn circles_end() {
        let spans = [span("a", Some("b"), "01"), span("b", Some("a"), "02"), span("c", Some("c"), "03")];
        assert_eq!(shown(&spans), [(0, "a"), (1, "b"), (0, "c")]);
    }

    #[test]
    fn durations_are_read_and_shown() {
        assert_eq!(nanoseconds("500ms"), Ok(500_000_000));
        assert_eq!(nanoseconds("1.5 us"), Ok(1_500));
        assert_eq!(nanoseconds("2s"), Ok(2_000_000_000));
        assert_eq!(nanoseconds("7"), Ok(7));
        for wrong in ["", "s", "-1s", "soon", "1e30s", "NaN"] {
            assert!(nanoseconds(wrong).is_err(), "{wrong}");
        }
        let texts = [7, 1_500, 2_000_000, 1_250_000_000].map(duration);
        assert_eq!(texts, ["7ns", "1.5us", "2.0ms", "1.25s"]);
    }
}

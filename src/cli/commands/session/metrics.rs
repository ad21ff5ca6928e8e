//! `meshagent session metrics`.

use super::{Which, attributes, time, unknown};
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::client::rest::ProjectRest;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Show the attributes of the value
    #[arg(long)]
    attrs: bool,
    /// Show the buckets of histograms
    #[arg(long)]
    buckets: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn run(project: &ProjectRest, args: Args) -> Result<(), CliError> {
    let Some(id) = args.which.id(project).await? else { return Ok(()) };
    let metrics = project.session_metrics(&id).await.map_err(unknown)?;
    if args.output.output == Format::Json {
        return output::json(&json!({"metrics": metrics}));
    }
    let columns = ["time", "kind", "name", "value", "unit", "attrs"];
    let shown = if args.attrs { &columns[..] } else { &columns[..5] };
    let mut table = Table::new(shown);
    for metric in &metrics {
        table.row(row(metric, args.buckets).into_iter().take(shown.len()));
    }
    table.print(&format!("No metrics found for session {id}"))
}

fn row(metric: &Value, buckets: bool) -> [String; 6] {
    let text = |name: &str| metric[name].as_str().unwrap_or_default().to_owned();
    let ended = &metric["ended_at"];
    [
        time(if ended.is_null() { &metric["created_at"] } else { ended }),
        text("kind"),
        text("metric_name"),
        value(metric, buckets),
        text("metric_unit"),
        attributes([&metric["metric_attributes"]]),
    ]
}

/// A number, or what a histogram holds.
fn value(metric: &Value, buckets: bool) -> String {
    if metric["kind"] != "histogram" {
        return output::cell(metric.get("value"));
    }
    let (count, sum) = (&metric["count"], &metric["sum"]);
    let mut parts =
        vec![format!("count={}", output::cell(Some(count))), format!("sum={}", output::cell(Some(sum)))];
    if let (Some(count), Some(sum)) = (count.as_f64().filter(|count| *count > 0.0), sum.as_f64()) {
        parts.push(format!("avg={}", sum / count));
    }
    for name in ["min", "max"] {
        parts.extend(metric.get(name).filter(|v| !v.is_null()).map(|v| format!("{name}={v}")));
    }
    if let Some(counts) = metric["bucket_counts"].as_array().filter(|counts| buckets && !counts.is_empty()) {
        let bound =
            |n: usize| metric["explicit_bounds"].get(n).map_or("+Inf".to_owned(), |b| format!("<={b}"));
        let shown: Vec<_> =
            counts.iter().enumerate().map(|(n, count)| format!("{}:{count}", bound(n))).collect();
        parts.push(format!("buckets={}", shown.join(", ")));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::value;
    use serde_json::json;

    #[test]
    fn a_histogram_shows_what_it_holds() {
        let took = json!({"kind": "histogram", "count": 2, "sum": 3.0, "min": null, "max": 2.5,
            "bucket_counts": [1, 1], "explicit_bounds": [1.0]});
        assert_eq!(value(&took, false), "count=2 sum=3.0 avg=1.5 max=2.5");
        assert_eq!(value(&took, true), "count=2 sum=3.0 avg=1.5 max=2.5 buckets=<=1.0:1, +Inf:1");
        assert_eq!(value(&json!({"kind": "histogram", "count": 0, "sum": 0.0}), true), "count=0 sum=0.0");
        assert_eq!(value(&json!({"kind": "sum", "value": 7}), true), "7");
    }
}

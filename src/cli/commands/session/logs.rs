//! `meshagent session logs`.

use super::{Which, attributes, time, unknown};
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::client::rest::ProjectRest;
use serde_json::{Value, json};

/// Type of the events that are log lines.
const LOG: &str = "otel.log";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Show the attributes of the line and of who wrote it
    #[arg(long)]
    attrs: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn run(project: &ProjectRest, args: Args) -> Result<(), CliError> {
    let Some(id) = args.which.id(project).await? else { return Ok(()) };
    let mut answer = project.session_events(&id).await.map_err(unknown)?;
    let mut logs: Vec<Value> = serde_json::from_value(answer["events"].take())?;
    logs.retain(|event| event["type"] == LOG);
    if args.output.output == Format::Json {
        return output::json(&json!({"logs": logs}));
    }
    let columns = ["time", "severity", "scope", "message", "attrs"];
    let shown = if args.attrs { &columns[..] } else { &columns[..4] };
    let mut table = Table::new(shown);
    for event in &logs {
        table.row(row(event).into_iter().take(shown.len()));
    }
    table.print(&format!("No logs found for session {id}"))
}

fn row(event: &Value) -> [String; 5] {
    let data = &event["data"];
    let text = |names: &[&str]| {
        let found = names.iter().map(|name| &data[*name]).find(|value| !value.is_null() && **value != "");
        found.map_or_else(String::new, |value| output::cell(Some(value)))
    };
    [
        time(&event["created_at"]),
        text(&["severity_text", "severity_number"]),
        text(&["scope_name"]),
        text(&["log", "message", "body"]),
        attributes([&data["log_attributes"], &data["resource_attributes"]]),
    ]
}

#[cfg(test)]
mod tests {
    use super::row;
    use serde_json::json;

    #[test]
    fn a_line_is_a_row() {
        let event = json!({"type": "otel.log", "created_at": "2026-01-02T03:04:05.678Z", "data": {
            "log": "it\nbroke", "severity_text": "", "severity_number": 17, "scope_name": null,
            "log_attributes": {"n": 3}, "resource_attributes": {"service.name": "web"}}});
        assert_eq!(row(&event), ["2026-01-02 03:04:05", "17", "", "it broke", "n=3, service.name=web"]);
        assert_eq!(row(&json!({"data": 7})), ["-", "", "", "", ""]);
    }
}

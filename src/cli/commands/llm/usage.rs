//! `meshagent llm usage`.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::client::rest::ProjectRest;
use serde_json::json;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Put together by hour, day or month; without it all in one
    #[arg(long, value_parser = ["hour", "day", "month"])]
    interval: Option<String>,
    /// From this time on, such as 2026-03-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Only this room's
    #[arg(short, long)]
    room: Option<String>,
    /// Only of this participant or service account (repeatable)
    #[arg(long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Only of this provider
    #[arg(long)]
    provider: Option<String>,
    /// Only of this model; NAME* for all that begin so
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: [&str; 9] =
    ["start", "provider", "model", "room", "user", "requests", "input_tokens", "output_tokens", "cost"];

pub async fn run(project: &ProjectRest, args: Args) -> Result<(), CliError> {
    let asked = [
        ("interval", args.interval),
        ("start", args.start),
        ("end", args.end),
        ("room", args.room),
        ("users", Some(args.users.join(",")).filter(|users| !users.is_empty())),
        ("provider", args.provider),
        ("model", args.model),
    ];
    let query: Vec<(&str, String)> =
        asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let rows = project.usage(&query).await?;
    if args.output.output == Format::Json {
        return output::json(&json!({"usage": rows}));
    }
    let mut table = Table::new(&COLUMNS);
    for row in &rows {
        table.object(row);
    }
    table.print("No models were used.")
}

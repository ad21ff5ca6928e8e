//! `meshagent events`: the facts of the log, as the server tells them.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use serde::Deserialize;
use serde_json::Value;

/// Facts read per request.
const PAGE_EVENTS: usize = 500;
/// How long the server may hold a request open for new facts, milliseconds; below the request time-out.
const FOLLOW_WAIT_MS: u64 = 25_000;

/// Characters of an event's data in a table; JSON shows all.
const DATA_CHARS_SHOWN: usize = 100;

/// Show the log of facts: what was asked for and what was seen, in order.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meshagent events --follow\n  meshagent events --kind service.,session.started -o json\n  \
                        meshagent events --after 120"
)]
pub struct Args {
    /// Go on with new facts until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only facts after this position
    #[arg(long, default_value_t = 0, value_name = "N")]
    after: u64,
    /// Only facts of these kinds, separated by commas; `service.` is all that begin with it
    #[arg(long, value_name = "KINDS")]
    kind: Option<String>,
    /// Only facts about this: a stream's name such as room-<id>
    #[arg(long)]
    subject: Option<String>,
    /// Only facts of this project
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<Value>,
    next: u64,
}

const COLUMNS: [&str; 6] = ["position", "recorded_at", "kind", "stream", "actor", "data"];

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let rest = ctx.rest()?;
    let mut after = args.after;
    let mut all = Vec::new();
    loop {
        let mut query = vec![("after", after.to_string()), ("limit", PAGE_EVENTS.to_string())];
        query.extend(args.follow.then(|| ("wait_ms", FOLLOW_WAIT_MS.to_string())));
        query.extend(args.kind.iter().map(|kind| ("kind", kind.clone())));
        query.extend(args.subject.iter().map(|subject| ("subject", subject.clone())));
        query.extend(args.project.iter().map(|project| ("project", project.clone())));
        let answer = tokio::select! {
            stop = tokio::signal::ctrl_c() => return stop.map_err(CliError::from),
            answer = rest.events(&query) => answer?,
        };
        let page: Page = serde_json::from_value(answer).map_err(|error| {
            CliError::server(format!("the server's events are not a page of them: {error}"))
        })?;
        let full = page.events.len() >= PAGE_EVENTS;
        if args.follow {
            for event in &page.events {
                print_line(event, args.output.output)?;
            }
        } else {
            all.extend(page.events);
        }
        after = after.max(page.next);
        if !args.follow && !full {
            return print_all(&all, args.output.output);
        }
    }
}

fn print_all(events: &[Value], format: Format) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(&events);
    }
    let mut table = Table::new(&COLUMNS);
    for event in events {
        table.row(cells(event));
    }
    table.print("No events found.")
}

fn print_line(event: &Value, format: Format) -> Result<(), CliError> {
    match format {
        Format::Json => output::line(event.to_string()),
        Format::Table => output::line(cells(event).join("  ")),
    }
}

/// One event as table cells; the beginning of its data on one line.
fn cells(event: &Value) -> Vec<String> {
    let actor = event.pointer("/metadata/actor");
    let fields = ["position", "recorded_at", "kind", "stream"].map(|key| output::cell(event.get(key)));
    let mut data = output::cell(event.get("data"));
    if let Some((cut, _)) = data.char_indices().nth(DATA_CHARS_SHOWN) {
        data.truncate(cut);
        data.push('…');
    }
    fields.into_iter().chain([output::cell(actor), data]).collect()
}

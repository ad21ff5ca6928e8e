//! `meshagent explain …`.

use super::apply::view;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs};
use crate::cli::resolve::Ctx;
use crate::client::rest::Drift;
use serde_json::json;
use std::fmt::Write;

/// Explain how things came to be as they are. `why` says what a resource waits for.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what was applied and somebody changed since, who, and whose fields they are
    #[command(
        after_help = "Exits with 1 where there is some. `meshagent apply` of the same documents puts it right; a git source does so\n\
                            by itself.\n\nExample:\n  meshagent explain drift --source shop"
    )]
    Drift {
        /// Only what this source applied [default: every source]
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let Command::Drift { source, output } = command;
    let drift = ctx.project()?.drift(source.as_deref()).await?;
    match output.output {
        Format::Json => output::json(&json!({"drift": drift}))?,
        Format::Table if drift.is_empty() => output::note("Everything is as it was applied."),
        Format::Table => output::data(&text(&drift))?,
    }
    if drift.is_empty() { Ok(()) } else { Err(CliError::exit(1)) }
}

fn text(drift: &[Drift]) -> String {
    let mut text = String::new();
    for one in drift {
        let room = one.room.as_ref().map(|room| format!(" in room {room}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "~ {}/{}{room}: held by `{}`, changed by {} at {} (position {})",
            one.kind.to_lowercase(),
            one.name,
            one.source,
            one.by,
            one.at,
            one.position
        );
        for change in &one.changes {
            view::field(&mut text, change, view::in_colour());
        }
    }
    text
}

//! `meshagent process …`: process-backed agents.

use crate::cli::error::CliError;
use crate::cli::resolve::Globals;

/// What to do with an agent.
#[derive(Debug, clap::Subcommand)]
pub enum Command {}

/// Runs one of the commands.
#[allow(clippy::unused_async, reason = "joining is async; it comes with the agent runtime")]
pub async fn run(_globals: Globals, command: Command) -> Result<(), CliError> {
    match command {}
}

//! `meshagent up`: the whole platform in one process.

use crate::cli::error::CliError;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the server until it is told to stop.
#[allow(clippy::unused_async, reason = "the server is async; it comes with the composition root")]
pub async fn run(_args: Args) -> Result<(), CliError> {
    Err(CliError::internal("`up` is not in this build yet"))
}

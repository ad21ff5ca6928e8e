//! One file or folder per noun; each has its clap types and a `run`. They use the clients and print, and know nothing
//! of the server's inside.

mod completion;
pub mod process;
pub mod up;
mod version;

use super::Cli;
use super::error::CliError;
use super::resolve::Ctx;

/// Every command.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the whole platform on this machine, as one process
    Up(up::Args),
    /// Run, describe and deploy process-backed agents
    #[command(subcommand)]
    Process(process::Command),
    /// Print the versions of this program and of the server
    Version,
    /// Print a completion script for a shell
    Completion(completion::Args),
}

/// Runs one command.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    let globals = cli.globals;
    match cli.command {
        Command::Up(args) => up::run(args).await,
        Command::Process(command) => process::run(globals, command).await,
        Command::Version => version::run(&Ctx::load(globals)?).await,
        Command::Completion(args) => completion::run(&args),
    }
}

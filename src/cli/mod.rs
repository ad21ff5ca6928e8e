//! The command line: parses, resolves server, project and room, calls the clients, prints. It talks to a server like
//! any other client; only `up`, `log` and `bench` reach into the program itself.

pub mod args;
pub mod commands;
pub mod documents;
pub mod error;
pub mod output;
pub mod resolve;
mod secret_values;
mod service_host;
pub mod settings;
mod telemetry;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use commands::Command;
use error::CliError;
use resolve::Globals;
use std::process::ExitCode;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "meshagent",
    version,
    about = "Run agents, rooms, queues and schedules from YAML specs on your own machines",
    after_help = "Start here:\n  meshagent up -f specs/quickstart    run the whole platform on this machine\n  \
                  meshagent rooms create my-room      make a room on it\n  \
                  meshagent COMMAND --help            learn about one command",
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,

    #[command(subcommand)]
    pub command: Command,
}

/// Runs the command line of this process; answers its exit code.
pub fn main() -> ExitCode {
    let cli = match parse(commands::process::rewrite(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed stdout or stderr must not change the verdict.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::failure(&error);
            error.exit_code()
        }
    }
}

/// Reads a command line. The errors are clap's, with their own text and exit code.
pub fn parse<I, T>(args: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let matches = Cli::command().try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

fn run(cli: Cli) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::internal(format!("cannot start the async runtime: {error}")))?;
    runtime.block_on(commands::run(cli))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_well_formed() {
        Cli::command().debug_assert();
    }
}

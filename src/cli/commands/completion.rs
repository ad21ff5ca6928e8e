//! `meshagent completion SHELL`.

use crate::cli::Cli;
use crate::cli::error::CliError;
use crate::cli::output;
use clap::CommandFactory;
use clap_complete::Shell;

/// Load it with, for example, `source <(meshagent completion bash)`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meshagent", &mut script);
    output::bytes(&script)
}

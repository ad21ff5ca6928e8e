//! `meshagent env`: how other programs reach the local server.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::LocalServer;
use crate::cli::settings;
use std::path::PathBuf;

/// Prints shell lines that point the official tools and SDKs at the server on this machine.
/// The API key is a secret; it is printed here because you asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory of the server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<(), CliError> {
    let dir = match args.data_dir {
        Some(dir) => dir,
        None => settings::default_data_dir()?,
    };
    let server = LocalServer::load(&dir)?.ok_or_else(|| {
        CliError::user(format!("no server has run with data directory {}", dir.display()))
            .hint("start one with `meshagent up`, or name its directory with --data-dir")
    })?;
    let pairs = [
        ("MESHAGENT_API_URL", server.api_url),
        ("MESHAGENT_PROJECT_ID", server.project_id),
        ("MESHAGENT_API_KEY", server.api_key),
    ];
    for (name, value) in pairs {
        let quoted = shlex::try_quote(&value)
            .map_err(|_| CliError::internal(format!("the value of {name} cannot be quoted for a shell")))?;
        output::line(format!("export {name}={quoted}"))?;
    }
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        output::note("# to set them in this shell: eval \"$(meshagent env)\"");
    }
    Ok(())
}

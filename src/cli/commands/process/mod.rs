//! `meshagent process …`: process-backed agents. Turns flags into an [`crate::agent::Config`]; the runtime itself is in
//! `agent` and knows no flag.

pub mod args;
mod computer;
pub(super) mod config;
pub(super) mod deploy;
mod inspect;
pub mod join;
mod no_room;
mod programs;
mod rewrite;
mod run_here;
pub(super) mod service;
pub mod spec;
pub mod talk;
mod toolkits;
mod use_agent;

pub use join::run_agent;
pub use rewrite::rewrite;

use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, Globals};

/// What to do with an agent.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Join a room and run an agent there until it is stopped
    ///
    /// Threads are kept in the room's datasets; work that names the same thread path shares its history.
    Join(Box<join::JoinArgs>),
    /// Print the Service document of an agent, for `meshagent apply` or `meshagent service create`
    Spec(Box<spec::SpecArgs>),
    /// Create or replace the service that runs an agent
    Deploy(Box<deploy::DeployArgs>),
    /// Listen, and run an agent in each room whose server calls it, until stopped
    ///
    /// The agent is a service elsewhere: an external service of the project or a room with this address calls it. Its
    /// description is at /.well-known/meshagent-service.json.
    Service(Box<service::ServiceRunArgs>),
    /// Run an agent in a room and talk to it here
    Run(Box<run_here::RunArgs>),
    /// Talk to an agent that is in a room, or ask it one thing
    Use(use_agent::UseArgs),
    /// List the threads of an agent, newest first
    Threads(inspect::ThreadsArgs),
    /// Print a thread
    Messages(inspect::MessagesArgs),
    /// Print the lines of a thread that match a regular expression
    Grep(inspect::GrepArgs),
}

/// Runs one of the commands.
pub async fn run(globals: Globals, command: Command) -> Result<(), CliError> {
    match command {
        Command::Join(args) => join::run(globals, *args).await,
        Command::Spec(args) => spec::run(&args, &argv()),
        Command::Deploy(args) => deploy::run(globals, &args, &argv()).await,
        Command::Service(args) => service::run(globals, *args).await,
        Command::Run(args) => run_here::run(globals, *args).await,
        Command::Use(args) => use_agent::run(&Ctx::load(globals)?, args).await,
        Command::Threads(args) => inspect::threads(&Ctx::load(globals)?, args).await,
        Command::Messages(args) => inspect::messages(&Ctx::load(globals)?, args).await,
        Command::Grep(args) => inspect::grep(&Ctx::load(globals)?, args).await,
    }
}

/// This process's command line as it was typed.
pub(super) fn argv() -> Vec<String> {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

fn no_channel() -> CliError {
    CliError::user("at least one channel is required for process agents")
        .hint("add --channel queue:NAME to take jobs from a room queue")
        .hint("or --channel toolkit:NAME to offer the agent as a tool")
}

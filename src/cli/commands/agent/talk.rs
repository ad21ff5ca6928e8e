//! `meshagent agent use`: talks to a managed agent.

use crate::agent::session::Session;
use crate::cli::commands::process::talk::{Talk, input};
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;

/// `agent use`.
#[derive(Debug, clap::Args)]
pub struct Use {
    /// Name of the agent
    #[arg(required_unless_present = "name")]
    agent: Option<String>,
    /// Name of the agent
    #[arg(long)]
    name: Option<String>,
    /// Thread to continue: its path [default: a new one]
    #[arg(long, value_name = "THREAD")]
    thread_id: Option<String>,
    /// Show what was said on the thread before; on a terminal it is shown anyhow
    #[arg(long)]
    #[allow(dead_code, reason = "for commands written for the official tool")]
    load: bool,
    /// Show that from this turn on
    #[arg(long, value_name = "TURN", requires = "thread_id")]
    since_turn: Option<String>,
    /// Ask this, print the answer and leave; what is piped in is asked likewise
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// How the answer to --message is printed
    #[arg(short, long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

/// Asks once, or talks until the person leaves.
pub async fn run(ctx: &Ctx, args: Use) -> Result<(), CliError> {
    let message = input::message(args.message.as_ref()).await?;
    let project = ctx.project()?;
    let name = args.name.or(args.agent).unwrap_or_default();
    let agent = super::find(&project, name.trim()).await?;
    let connection = project.connect_agent(&agent.name).await?;
    let session = Session::at(&connection.agent_url, &connection.jwt).await?;
    let thread = args.thread_id.filter(|thread| !thread.trim().is_empty());
    let talk = Talk::new(session, thread).since(args.since_turn);
    match &message {
        Some(message) if args.output == "json" => talk.as_json().once(message).await,
        Some(message) => talk.once(message).await,
        None => talk.on_terminal().await,
    }
}

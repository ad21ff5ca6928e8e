//! `meshagent process run`: an agent in a room and a conversation with it, in one process.

use super::join::{self, JoinArgs};
use super::no_room;
use super::talk::{Talk, input};
use crate::agent;
use crate::agent::AgentChannel;
use crate::agent::channels::Memory;
use crate::agent::session::Session;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, Globals};
use crate::cli::telemetry;
use tokio_util::sync::CancellationToken;

/// `process run`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct RunArgs {
    #[command(flatten)]
    pub join: JoinArgs,

    /// Run the agent without a room: models by their keys, through the server's proxy, or builtin/echo; threads last until
    /// you leave. What needs a room is refused
    #[arg(long)]
    pub no_room: bool,

    /// Thread to continue: its path, or its name in the agent's folder [default: a new one]
    #[arg(long, value_name = "THREAD")]
    pub thread_id: Option<String>,

    /// Ask this, print the answer and leave; what is piped in is asked likewise
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,

    /// What the agent calls you
    #[arg(long, default_value = "you", value_name = "NAME")]
    pub user: String,
}

/// Runs the agent while the person talks to it.
pub async fn run(globals: Globals, mut args: RunArgs) -> Result<(), CliError> {
    telemetry::init_quiet();
    let message = input::message(args.message.as_ref()).await?;
    // It is there in any case.
    args.join.process.channels.retain(|channel| *channel != AgentChannel::Memory);
    let ctx = Ctx::load(globals)?;
    let config = if args.no_room {
        no_room::config(&ctx, &args.join)?
    } else {
        join::config(&ctx, &args.join).await?
    };
    let dir = config.threads.dir.clone();
    let (memory, there) = Memory::pair();
    let stop = CancellationToken::new();
    let running = tokio::spawn(agent::run_with(config, vec![memory], stop.clone()));
    let Ok(agent) = there.await else {
        // It ended before its channels were open, and says why.
        return running.await.map_err(|error| CliError::internal(error.to_string()))?.map_err(join::explain);
    };
    let session = Session::with_agent(agent, &args.user).await;
    let thread = args.thread_id.as_deref().map(|thread| {
        if thread.contains("://") {
            thread.to_owned()
        } else {
            format!("{dir}/{}", thread.trim_start_matches('/'))
        }
    });
    let talk = Talk::new(session, thread);
    let talked = match &message {
        Some(message) => talk.once(message).await,
        None => talk.on_terminal().await,
    };
    stop.cancel();
    let ended = running.await.map_err(|error| CliError::internal(error.to_string()))?;
    talked.and(ended.map_err(join::explain))
}

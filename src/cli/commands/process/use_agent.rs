//! `meshagent process use`: talks to an agent that is in a room.

use super::talk::{Talk, input};
use crate::agent::path::thread_dir;
use crate::agent::session::Session;
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, RoomArg};

/// `process use`.
#[derive(clap::Args, Debug, Clone)]
pub struct UseArgs {
    #[command(flatten)]
    pub room: RoomArg,

    /// The agent
    #[arg(long, value_name = "NAME")]
    pub agent_name: String,

    /// Thread to continue: its path, or its name in the agent's folder [default: a new one]
    #[arg(long, value_name = "THREAD")]
    pub thread_id: Option<String>,

    /// Ask this, print the answer and leave; what is piped in is asked likewise
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// Asks once, or talks until the person leaves.
pub async fn run(ctx: &Ctx, args: UseArgs) -> Result<(), CliError> {
    let message = input::message(args.message.as_ref()).await?;
    let room = connect(ctx, args.room.name()?).await?;
    let session = Session::in_room(room, &args.agent_name).await?;
    let thread = args.thread_id.as_deref().map(|thread| {
        if thread.contains("://") {
            thread.to_owned()
        } else {
            format!("{}/{}", thread_dir(&args.agent_name, None), thread.trim_start_matches('/'))
        }
    });
    let talk = Talk::new(session, thread);
    match &message {
        Some(message) => talk.once(message).await,
        None => talk.on_terminal().await,
    }
}

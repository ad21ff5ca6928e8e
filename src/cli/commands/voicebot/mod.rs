//! `meshagent voicebot …`: agents to speak with. A process agent with a model that hears and speaks; it makes the flags of one
//! of its own and leaves the rest to `process`.

mod args;

pub use args::BotArgs;

use super::process::args::ServiceNameArgs;
use super::process::config::{EndpointsEnv, config};
use super::process::{argv, deploy, join, run_agent, service, spec};
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, Globals};
use crate::cli::service_host::HostArgs;
use crate::cli::{output, settings, telemetry};
use args::RoomArgs;
use std::sync::Arc;

/// What to do with a voicebot.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Join a room and run a voicebot there until it is stopped
    ///
    /// It is spoken with over the room's messaging (realtime_audio messages of the chat protocol), or written to. It joins no
    /// LiveKit calls: who calls it is told so.
    Join(Box<JoinArgs>),
    /// Listen, and run a voicebot in each room whose server calls it, until stopped
    Service(Box<ServiceRunArgs>),
    /// Print the Service document of a voicebot, for `meshagent apply` or `meshagent service create`
    Spec(Box<SpecArgs>),
    /// Create or replace the service that runs a voicebot
    Deploy(Box<DeployArgs>),
}

/// `voicebot join`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct JoinArgs {
    #[command(flatten)]
    room: RoomArgs,

    #[command(flatten)]
    bot: BotArgs,
}

/// `voicebot service`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct ServiceRunArgs {
    /// Name of the agent
    #[arg(long, env = "MESHAGENT_AGENT_NAME", value_name = "NAME", hide_env_values = true)]
    agent_name: String,

    #[command(flatten)]
    host: HostArgs,

    #[command(flatten)]
    bot: BotArgs,
}

/// `voicebot spec`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct SpecArgs {
    #[command(flatten)]
    service: ServiceNameArgs,

    #[command(flatten)]
    bot: BotArgs,
}

/// `voicebot deploy`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct DeployArgs {
    /// Room to deploy to [default: every room of the project]
    #[arg(long, env = "MESHAGENT_ROOM", value_name = "ROOM", hide_env_values = true)]
    room: Option<String>,

    /// Deploy to every room of the project, whatever MESHAGENT_ROOM says
    #[arg(long)]
    global: bool,

    #[command(flatten)]
    service: ServiceNameArgs,

    #[command(flatten)]
    bot: BotArgs,
}

/// Runs one of the commands.
pub async fn run(globals: Globals, command: Command) -> Result<(), CliError> {
    match command {
        Command::Join(args) => {
            telemetry::init();
            let ctx = Ctx::load(globals)?;
            let joins = args.bot.as_process(&args.room)?;
            run_agent(args.bot.as_voicebot(join::config(&ctx, &joins).await?)).await
        }
        Command::Service(args) => {
            telemetry::init();
            let (bot, joins) = (args.bot.clone(), args.bot.as_process(&RoomArgs::default())?);
            let make = move |place| {
                let config = config(&joins, place, &EndpointsEnv::read(settings::env))?;
                Ok(bot.as_voicebot(config))
            };
            service::serve(globals, &args.agent_name, &args.host, Arc::new(make)).await
        }
        Command::Spec(args) => output::data(&format!("{}\n", document(&args.service, &args.bot, &argv())?)),
        Command::Deploy(args) => {
            let text = document(&args.service, &args.bot, &argv())?;
            let room = args.room.as_deref().filter(|_| !args.global);
            let id = deploy::put(globals, &text, room).await?;
            output::line(format!("Deployed service: {id}"))
        }
    }
}

/// The Service document of a voicebot that was described by the command line `argv`.
fn document(service: &ServiceNameArgs, bot: &BotArgs, argv: &[String]) -> Result<String, CliError> {
    // What its process would refuse is refused here.
    bot.as_process(&RoomArgs::default())?;
    let annotations = vec![("meshagent.agent.type", "VoiceBot".to_owned())];
    Ok(spec::document(service, annotations, &spec::command("voicebot", argv)))
}

#[cfg(test)]
mod tests;

//! `meshagent process join`: finds room and token, runs the agent, stops on a signal.

use super::args::{JoinOnly, ProcessArgs};
use super::config::{self, EndpointsEnv, Place};
use crate::agent::{self, AgentError};
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, Globals};
use crate::cli::{output, settings, telemetry};
use crate::client::room::{Options, Token, room_url};
use crate::client::token::{Participant, participant_name, sign};
use crate::spec::ApiScope;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `process join`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct JoinArgs {
    #[command(flatten)]
    pub join: JoinOnly,

    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Variable that holds the token unless another is named.
const TOKEN_VARIABLE: &str = "MESHAGENT_TOKEN";

/// Runs the agent until it is stopped or the room ends the session.
pub async fn run(globals: Globals, args: JoinArgs) -> Result<(), CliError> {
    telemetry::init();
    if args.process.channels.is_empty() {
        return Err(super::no_channel());
    }
    run_agent(config(&Ctx::load(globals)?, &args).await?).await
}

/// Runs an agent until it is told to stop or the room ends the session.
pub async fn run_agent(config: agent::Config) -> Result<(), CliError> {
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(stop_on_signal(stop.clone())?);
    let ended = agent::run(config, stop).await;
    watcher.abort();
    ended.map_err(explain)
}

/// The agent that the flags ask for, with its way into the room.
pub(in crate::cli::commands) async fn config(ctx: &Ctx, args: &JoinArgs) -> Result<agent::Config, CliError> {
    let room =
        args.join.room.as_deref().filter(|room| !room.is_empty()).ok_or_else(|| {
            CliError::usage("no room is named").hint("pass --room ROOM or set MESHAGENT_ROOM")
        })?;
    let (agent_name, token) = token(ctx, &args.join, room).await?;
    let api_url = ctx.api_url().ok();
    let place = Place { agent_name, room: Options::new(socket(ctx, room)?, token), api_url };
    let env = EndpointsEnv::read(settings::env);
    let config = config::config(args, place, &env)?;
    output::note("Connecting to room...");
    Ok(config)
}

pub(super) fn explain(error: AgentError) -> CliError {
    CliError::server(error.to_string())
}

/// The room's socket address: MESHAGENT_ROOM_URL (the base, or the whole address), else the server's.
fn socket(ctx: &Ctx, room: &str) -> Result<String, CliError> {
    Ok(match settings::env("MESHAGENT_ROOM_URL") {
        Some(url) if url.trim_end_matches('/').ends_with(&format!("/rooms/{room}")) => url,
        Some(base) => room_url(&base, room),
        None => room_url(&ctx.api_url()?, room),
    })
}

/// The agent's name and token: from the environment, signed here with an API key, or minted by the server.
async fn token(ctx: &Ctx, args: &JoinOnly, room: &str) -> Result<(String, Token), CliError> {
    let named = |name: &str| settings::env(name);
    let given = match (&args.token_from_env, &args.key) {
        (Some(variable), _) => Some(named(variable).ok_or_else(|| {
            CliError::user(format!("environment variable {variable}, named by --token-from-env, is not set"))
                .hint("put the participant token in it")
        })?),
        (None, Some(_)) => None,
        (None, None) => named(TOKEN_VARIABLE),
    };
    if let Some(token) = given {
        let name = participant_name(&token).ok_or_else(|| {
            CliError::user("the participant token is not a JWT with a name").hint("mint a new one")
        })?;
        return Ok((name, Token::new(token)));
    }
    let name = args.agent_name.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
        CliError::user(format!("there is no token in {TOKEN_VARIABLE} and no --agent-name to mint one for"))
            .hint("pass --agent-name NAME, or --token-from-env VARIABLE")
    })?;
    let api = json!(ApiScope::agent_default());
    let key = args.key.clone().or_else(|| ctx.api_key().map(|key| key.expose().to_owned()));
    let token = if let Some(key) = key {
        let role = Some(args.role.clone());
        let participant = Participant { name: name.clone(), room: Some(room.into()), role, api: Some(api) };
        sign(&key, &participant).map_err(|e| CliError::user(e.to_string()))?
    } else {
        let request = json!({"name": name, "room_name": room, "role": args.role, "api": api});
        ctx.project()?.participant_token(&request).await?
    };
    Ok((name, Token::new(token)))
}

/// What waits for SIGINT and SIGTERM. The first stops the agent gracefully, the second lets the system end it.
pub(in crate::cli::commands) fn stop_on_signal(
    stop: CancellationToken,
) -> Result<impl Future<Output = ()>, CliError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    })
}

//! `meshagent process service`: an agent that is called into rooms by their server, as a service elsewhere.

use super::args::ProcessArgs;
use super::config::{self, EndpointsEnv, Place};
use super::join::{self, JoinArgs};
use crate::agent;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, Globals};
use crate::cli::service_host::{self, Called, HostArgs, Work};
use crate::cli::{settings, telemetry};
use crate::client::room::{Options, Retry};
use crate::client::token::participant_name;
use clap::Parser;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Times that a lost connection is dialled again; then the server calls anew.
const DIALS_MAX: u32 = 8;

/// `process service`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct ServiceRunArgs {
    /// Name of the agent
    #[arg(long, env = "MESHAGENT_AGENT_NAME", value_name = "NAME", hide_env_values = true)]
    pub agent_name: String,

    #[command(flatten)]
    pub host: HostArgs,

    #[command(flatten)]
    pub process: ProcessArgs,
}

/// The flags of `process join` alone, as they are where none is given.
#[derive(Parser, Debug)]
struct Defaults {
    #[command(flatten)]
    join: JoinArgs,
}

/// Listens until it is stopped.
pub async fn run(globals: Globals, args: ServiceRunArgs) -> Result<(), CliError> {
    telemetry::init();
    if args.process.channels.is_empty() {
        return Err(super::no_channel());
    }
    let join = JoinArgs { process: args.process, ..no_flags()? };
    let make = move |place: Place| config::config(&join, place, &EndpointsEnv::read(settings::env));
    serve(globals, &args.agent_name, &args.host, Arc::new(make)).await
}

/// What `process join` does where no flag is given.
pub fn no_flags() -> Result<JoinArgs, CliError> {
    let defaults = Defaults::try_parse_from(["join"]);
    Ok(defaults.map_err(|error| CliError::internal(error.to_string()))?.join)
}

/// Makes the agent for a room that calls it.
pub type Make = Arc<dyn Fn(Place) -> Result<agent::Config, CliError> + Send + Sync>;

/// Listens, and runs in each room that calls the agent that `make` makes for it.
pub async fn serve(globals: Globals, name: &str, host: &HostArgs, make: Make) -> Result<(), CliError> {
    let api_url = Ctx::load(globals)?.api_url().ok();
    let agent_name = name.to_owned();
    // What cannot be is said before anybody calls.
    let room = Options::nowhere(crate::client::room::Token::new(""));
    make(Place { agent_name: agent_name.clone(), room, api_url: api_url.clone() })?;
    let work: Work = Arc::new(move |called: Called, stop: CancellationToken| {
        let (make, name, api_url) = (make.clone(), agent_name.clone(), api_url.clone());
        Box::pin(async move {
            let token = called.token();
            let agent_name = participant_name(token.reveal()).unwrap_or(name);
            let room = Options::new(called.room_url, token).retry(Retry::Times(DIALS_MAX));
            agent::run(make(Place { agent_name, room, api_url })?, stop).await.map_err(join::explain)
        })
    });
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(join::stop_on_signal(stop.clone())?);
    let secret = settings::env(&host.webhook_secret_from_env);
    let served = service_host::serve(host, secret, name, work, stop).await;
    watcher.abort();
    served
}

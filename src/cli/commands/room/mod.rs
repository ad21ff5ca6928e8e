//! `meshagent room …`: what happens inside a room. All but `storage` and `connect` go over the room's socket; `storage`
//! uses the files service. Each file is one of the room's toolkits as a person uses it.

mod agent;
mod connect;
mod container;
mod dataset;
mod developer;
mod memory;
mod messaging;
mod mounts;
mod queue;
pub mod service;
mod sqlite;
pub mod storage;
mod sync;
mod tables;

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::cli::settings;
use crate::client::room::{Options, Retry, RoomClient, RoomError, Token, room_url};
use crate::client::token::{Participant, sign};
use crate::spec::ApiScope;
use serde_json::json;

/// Work inside a room.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a command of this machine with the room's address and token in its environment
    Connect(connect::Args),
    /// Queues: durable work for agents
    #[command(subcommand)]
    Queue(queue::Command),
    /// Tables with Arrow schemas, versions and branches
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// SQLite databases
    #[command(subcommand)]
    Sqlite(sqlite::Command),
    /// Files of the room or of an agent
    #[command(subcommand)]
    Storage(storage::Command),
    /// Documents that several edit at once
    #[command(subcommand)]
    Sync(sync::Command),
    /// Toolkits and tools of the room and of those in it
    #[command(subcommand, alias = "agents")]
    Agent(agent::Command),
    /// Containers and images of the room
    #[command(subcommand, alias = "containers")]
    Container(container::Command),
    /// What the room's agents remember
    #[command(subcommand)]
    Memory(memory::Command),
    /// Messages between participants
    #[command(subcommand)]
    Messaging(messaging::Command),
    /// Volumes that containers of the room can mount
    #[command(subcommand)]
    Mounts(mounts::Command),
    /// Services of the room as they run
    #[command(subcommand, alias = "services")]
    Service(service::Command),
    /// Follow the room's developer log until Ctrl-C
    Developer(developer::Args),
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Connect(args) => connect::run(ctx, args).await,
        Command::Mounts(command) => mounts::run(ctx, command).await,
        Command::Queue(command) => queue::run(ctx, command).await,
        Command::Dataset(command) => dataset::run(ctx, command).await,
        Command::Sqlite(command) => sqlite::run(ctx, command).await,
        Command::Storage(command) => storage::run(ctx, command).await,
        Command::Sync(command) => sync::run(ctx, command).await,
        Command::Agent(command) => agent::run(ctx, command).await,
        Command::Container(command) => container::run(ctx, command).await,
        Command::Memory(command) => memory::run(ctx, command).await,
        Command::Messaging(command) => messaging::run(ctx, command).await,
        Command::Service(command) => service::run(ctx, command).await,
        Command::Developer(args) => developer::run(ctx, args).await,
    }
}

/// Enters a room: with the environment's own token inside a room, else by asking the server for a way in.
pub async fn connect(ctx: &Ctx, room: &str) -> Result<RoomClient, CliError> {
    let base = settings::env("MESHAGENT_ROOM_URL");
    let (url, token) = if let Some(token) = ctx.room_token(room) {
        let base = base.map_or_else(|| ctx.api_url(), Ok)?;
        (room_url(&base, room), Token::new(token.expose()))
    } else {
        let connection = ask(ctx, room).await?;
        let url = base.map_or(connection.room_url, |base| room_url(&base, room));
        (url, Token::new(connection.jwt))
    };
    Ok(RoomClient::connect(Options::new(url, token).retry(Retry::Never)).await?)
}

/// Enters a room as `name` and stays in it, coming back after every loss: with the environment's own token, else with one
/// signed by an API key or made by the server, which may do what an agent may by default.
pub async fn connect_as(
    ctx: &Ctx,
    room: &str,
    name: &str,
    role: &str,
    key: Option<&str>,
) -> Result<RoomClient, CliError> {
    let api = Some(json!(ApiScope::agent_default()));
    let (name, room, role) = (name.to_owned(), Some(room.to_owned()), Some(role.to_owned()));
    let who = Participant { name, room, role, api };
    let token = token_of(ctx, &who, key).await?;
    Ok(RoomClient::connect(options_of(ctx, who.room.as_deref().unwrap_or_default(), token)?).await?)
}

/// Enters a room as a participant, for as long as the connection lasts.
pub async fn connect_with(ctx: &Ctx, who: &Participant, key: Option<&str>) -> Result<RoomClient, CliError> {
    let token = token_of(ctx, who, key).await?;
    connect_by(ctx, who.room.as_deref().unwrap_or_default(), token).await
}

/// Enters a room by a token, for as long as the connection lasts.
pub async fn connect_by(ctx: &Ctx, room: &str, token: String) -> Result<RoomClient, CliError> {
    Ok(RoomClient::connect(options_of(ctx, room, token)?.retry(Retry::Never)).await?)
}

fn options_of(ctx: &Ctx, room: &str, token: String) -> Result<Options, CliError> {
    let base = settings::env("MESHAGENT_ROOM_URL").map_or_else(|| ctx.api_url(), Ok)?;
    Ok(Options::new(room_url(&base, room), Token::new(token)))
}

/// A participant's token: the environment's own, else one signed by an API key or made by the server.
pub async fn token_of(ctx: &Ctx, who: &Participant, key: Option<&str>) -> Result<String, CliError> {
    match settings::env("MESHAGENT_TOKEN") {
        Some(token) => Ok(token),
        None => minted(ctx, who, key).await,
    }
}

/// A new token for a participant, signed by an API key or made by the server.
pub async fn minted(ctx: &Ctx, who: &Participant, key: Option<&str>) -> Result<String, CliError> {
    let key = key.map(str::to_owned).or_else(|| ctx.api_key().map(|key| key.expose().to_owned()));
    if let Some(key) = key {
        return sign(&key, who).map_err(|error| CliError::user(error.to_string()));
    }
    let request = json!({"name": who.name, "room_name": who.room, "role": who.role, "api": who.api});
    Ok(ctx.project()?.participant_token(&request).await?)
}

/// The address of the server that hosts a room, and a token for the room.
pub async fn way_in(ctx: &Ctx, room: &str) -> Result<(String, Token), CliError> {
    let base = settings::env("MESHAGENT_ROOM_URL").map_or_else(|| ctx.api_url(), Ok)?;
    match ctx.room_token(room) {
        Some(token) => Ok((base, Token::new(token.expose()))),
        None => Ok((base, Token::new(ask(ctx, room).await?.jwt))),
    }
}

async fn ask(ctx: &Ctx, room: &str) -> Result<crate::client::rest::Connection, CliError> {
    let project = ctx.project()?;
    match project.connect(room).await {
        Ok(connection) => Ok(connection),
        Err(error) if error.is_not_found() => {
            // Says which room is meant, or that there is none.
            super::rooms::find(&project, room).await?;
            Err(error.into())
        }
        Err(error) if error.status() == Some(423) => {
            Err(CliError::server(format!("room `{room}` is disabled"))
                .hint(format!("enable it with `meshagent rooms update {room} --enabled`")))
        }
        Err(error) => Err(error.into()),
    }
}

impl From<RoomError> for CliError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::BadUrl { .. } => Self::user(error.to_string()),
            _ => Self::server(error.to_string()),
        }
    }
}

/// An error about a name that is not there, with the nearest of those that are.
fn missing<'a>(what: &str, name: &str, there: impl IntoIterator<Item = &'a str>) -> CliError {
    let names: Vec<&str> = there.into_iter().collect();
    let error = CliError::user(format!("there is no {what} `{name}`"));
    match (args::nearest(name, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => error.hint(format!("did you mean `{near}`?")),
        (None, true) => error,
        (None, false) => error.hint(format!("there are: {}", names.join(", "))),
    }
}

//! `meshagent mcp …`: the model context protocol at the edge of a room. `http` and `stdio` bring a server's tools into a
//! room, `serve` takes a room's toolkits out to clients, `http-proxy` puts a server of standard streams behind HTTP.

mod bridge;
mod serve;

use super::process::join::stop_on_signal;
use crate::cli::commands::room::connect_as;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, Globals, RoomArg};
use crate::cli::service_host::HostArgs;
use crate::cli::telemetry;
use crate::client::mcp::{offer, sse};
use crate::client::room::RoomClient;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// Bring MCP servers into rooms, and toolkits of rooms to MCP clients.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Offer the tools of an MCP server (streamable HTTP) as a toolkit of a room, until stopped
    #[command(
        after_help = "Example:\n  meshagent mcp http --room my-room --url https://mcp.example.com/mcp \\\n      \
                            --toolkit-name wiki -H \"Authorization: Bearer $TOKEN\""
    )]
    Http(Http),
    /// Offer the tools of an MCP server of the older way (events by SSE) as a toolkit of a room, until stopped
    Sse(Http),
    /// Start an MCP server and offer its tools as a toolkit of a room, until stopped
    #[command(after_help = "Example:\n  meshagent mcp stdio --room my-room --toolkit-name files \\\n      \
                            --command \"npx -y @modelcontextprotocol/server-filesystem /data\"")]
    Stdio(Stdio),
    /// Listen, and offer the tools of an MCP server in each room whose server calls it, until stopped
    StdioService(StdioService),
    /// Offer toolkits of a room to MCP clients: over standard input and output, or over HTTP with --listen
    ///
    /// The tools are called as the participant that this command is in the room. A client's configuration names the
    /// command itself, for example {"command": "meshagent", "args": ["mcp", "serve", "--room", "my-room", "--toolkit",
    /// "support-agent"]}.
    Serve(Serve),
    /// Serve an MCP server of standard input and output to MCP clients over streamable HTTP
    HttpProxy(HttpProxy),
    /// Serve an MCP server of standard input and output to MCP clients by the older way: events at the path, messages to an
    /// address below it
    SseProxy(SseProxy),
}

/// Who enters which room.
#[derive(Debug, Clone, clap::Args)]
pub struct Entry {
    #[command(flatten)]
    room: RoomArg,
    /// Name in the room [default: the toolkit's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Role in the room
    #[arg(long, default_value = "tool")]
    role: String,
    /// API key to sign the token with
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Entry {
    /// Joins the room, and joins again whenever the connection is lost.
    async fn join(&self, ctx: &Ctx, name: &str) -> Result<RoomClient, CliError> {
        let name = self.name.as_deref().unwrap_or(name);
        connect_as(ctx, self.room.name()?, name, &self.role, self.key.as_deref()).await
    }
}

#[derive(Debug, clap::Args)]
pub struct Http {
    #[command(flatten)]
    entry: Entry,
    /// Address of the server
    #[arg(long)]
    url: String,
    /// Header of every request, NAME:VALUE; @FILE or $VARIABLE as the value keeps a secret off the command line.
    /// Repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Name of the toolkit
    #[arg(long, default_value = "mcp", value_name = "NAME")]
    toolkit_name: String,
}

#[derive(Debug, clap::Args)]
pub struct Stdio {
    #[command(flatten)]
    entry: Entry,
    /// Command that starts the server, quoted as in a shell
    #[arg(long)]
    command: String,
    /// Environment variable of the server, NAME=VALUE. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Name of the toolkit
    #[arg(long, default_value = "mcp", value_name = "NAME")]
    toolkit_name: String,
}

#[derive(Debug, clap::Args)]
pub struct StdioService {
    #[command(flatten)]
    host: HostArgs,
    /// Command that starts the server, once for each room, quoted as in a shell
    #[arg(long)]
    command: String,
    /// Environment variable of the server, NAME=VALUE. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Name of the toolkit
    #[arg(long, default_value = "mcp", value_name = "NAME")]
    toolkit_name: String,
}

#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    entry: Entry,
    /// Toolkit to offer. Repeatable; with several, each tool is named TOOLKIT__TOOL
    #[arg(long = "toolkit", value_name = "TOOLKIT", required = true)]
    toolkits: Vec<String>,
    #[command(flatten)]
    listen: Listen,
}

/// Where clients connect over HTTP.
#[derive(Debug, Clone, clap::Args)]
pub struct Listen {
    /// Address to listen on, for example 127.0.0.1:8765. Beyond this machine the variable MESHAGENT_MCP_TOKEN must hold
    /// a token, which clients send as their bearer
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Path of the endpoint
    #[arg(long, default_value = "/mcp")]
    path: String,
}

/// A server of standard streams, and where clients find it.
#[derive(Debug, clap::Args)]
pub struct HttpProxy {
    #[command(flatten)]
    proxy: Proxy,
    /// Path of the endpoint
    #[arg(long, default_value = "/mcp")]
    path: String,
}

/// The same by the older way.
#[derive(Debug, clap::Args)]
pub struct SseProxy {
    #[command(flatten)]
    proxy: Proxy,
    /// Path of the events
    #[arg(long, default_value = "/sse")]
    path: String,
}

#[derive(Debug, clap::Args)]
pub struct Proxy {
    /// Command that starts the server, quoted as in a shell
    #[arg(long)]
    command: String,
    /// Host to listen on. Beyond this machine the variable MESHAGENT_MCP_TOKEN must hold a token, which clients send as
    /// their bearer
    #[arg(long, default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// Port to listen on; 0 for any
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Name that the endpoint gives itself
    #[arg(long, default_value = "meshagent mcp proxy")]
    name: String,
    /// Environment variable of the server, NAME=VALUE. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
}

pub async fn run(globals: Globals, command: Command) -> Result<(), CliError> {
    telemetry::init();
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    match command {
        Command::Http(args) => bridge::http(&Ctx::load(globals)?, args, stop).await,
        Command::Sse(args) => bridge::sse(&Ctx::load(globals)?, args, stop).await,
        Command::Stdio(args) => bridge::stdio(&Ctx::load(globals)?, args, stop).await,
        Command::StdioService(args) => bridge::service(args, stop).await,
        Command::Serve(args) => serve::room(&Ctx::load(globals)?, args, stop).await,
        Command::HttpProxy(args) => serve::proxy(args.proxy, &args.path, offer::over_http, stop).await,
        Command::SseProxy(args) => serve::proxy(args.proxy, &args.path, sse::router, stop).await,
    }
}

/// The words of a command line.
fn words(command: &str) -> Result<Vec<String>, CliError> {
    shlex::split(command).filter(|words| !words.is_empty()).ok_or_else(|| {
        CliError::usage("--command is empty, or a quote in it is not closed").hint("quote it as in a shell")
    })
}

/// `NAME<separator>VALUE`.
fn pairs(given: &[String], separator: char, what: &str) -> Result<Vec<(String, String)>, CliError> {
    let pair = |text: &String| {
        let (name, value) = text
            .split_once(separator)
            .filter(|(name, _)| !name.trim().is_empty())
            // What is given may be a secret.
            .ok_or_else(|| CliError::usage(format!("a {what} is not of the form NAME{separator}VALUE")))?;
        Ok((name.trim().to_owned(), value.to_owned()))
    };
    given.iter().map(pair).collect()
}

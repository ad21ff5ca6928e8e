//! `meshagent port`, also spelt `port forward`: a port of this machine that leads to one of a room's container. Each connection is a tunnel
//! of its own.

use super::room;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::tunnel::{self, Tunnels};

/// Make a port of a room's container one of this machine, until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "Example:\n  meshagent port --room my-room --name web --port 8080:80"
)]
pub struct Args {
    #[command(flatten)]
    forward: Forward,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a port of a container one of this machine, until Ctrl-C
    #[command(after_help = "Example:\n  meshagent port forward --room my-room --name web --port 8080:80")]
    Forward(Forward),
}

#[derive(Debug, clap::Args)]
pub struct Forward {
    #[command(flatten)]
    room: RoomArg,
    /// Name of the container
    #[arg(short, long, required_unless_present = "container_id")]
    name: Option<String>,
    /// Id of the container, or of a service's process
    #[arg(short, long, value_name = "ID")]
    container_id: Option<String>,
    /// Port of this machine (0: any) and of the container
    #[arg(short, long, value_name = "LOCAL:REMOTE", value_parser = mapping, required = true)]
    port: Option<(u16, u16)>,
    /// Address of this machine to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    listen_host: std::net::IpAddr,
}

fn mapping(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once(':')
        .and_then(|(local, remote)| Some((local.trim().parse().ok()?, remote.trim().parse().ok()?)));
    let parsed = parsed.filter(|(_, remote)| *remote != 0);
    parsed.ok_or_else(|| format!("want LOCAL:REMOTE such as 8080:80, not `{text}`"))
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let args = match args.command {
        Some(Command::Forward(args)) => args,
        None => args.forward,
    };
    let (base, token) = room::way_in(ctx, args.room.name()?).await?;
    let container = match (args.container_id, args.name) {
        (Some(id), _) => id,
        (None, name) => name.unwrap_or_default(),
    };
    let (local, remote) = args.port.ok_or_else(|| CliError::usage("pass --port LOCAL:REMOTE"))?;
    let tunnels = Tunnels { base, token, container, port: remote };
    // Said before anybody comes, when it cannot work.
    tunnels.open().await.map_err(|error| CliError::server(error.to_string()))?;
    let listener = tokio::net::TcpListener::bind((args.listen_host, local)).await.map_err(|error| {
        CliError::user(format!("cannot listen on {}:{local}: {error}", args.listen_host))
            .hint("choose another LOCAL port; 0 takes a free one")
    })?;
    output::note(format!(
        "forwarding {} to port {remote} of {}; Ctrl-C ends it",
        listener.local_addr()?,
        tunnels.container
    ));
    tokio::select! {
        () = tunnel::serve(listener, tunnels) => Ok(()),
        ended = tokio::signal::ctrl_c() => Ok(ended?),
    }
}

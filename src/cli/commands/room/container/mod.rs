//! `meshagent room container …`: containers of a room, and the images they are made of.

mod exec;
mod image;
mod run;
mod terminal;

use super::connect;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{Output, OutputStream};

/// Work with the containers of a room.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List containers, as JSON unless told otherwise
    List {
        #[command(flatten)]
        room: RoomArg,
        /// Exited ones too
        #[arg(short, long)]
        all: bool,
        /// How to print the result
        #[arg(short, long, value_enum, default_value = "json", value_name = "FORMAT")]
        output: Format,
    },
    /// Start a container and print its id
    Run(Box<run::Args>),
    /// Print what a container wrote
    #[command(alias = "logs")]
    Log {
        #[command(flatten)]
        room: RoomArg,
        /// Id or name of the container
        #[arg(long)]
        id: String,
        /// Go on until the container ends
        #[arg(long, overrides_with = "no_follow")]
        follow: bool,
        #[arg(long, hide = true)]
        no_follow: bool,
    },
    /// Run a program in a running container; exits with its status
    Exec(exec::Args),
    /// End a container
    Stop {
        #[command(flatten)]
        room: RoomArg,
        /// Id or name of the container
        #[arg(long)]
        id: String,
        /// At once, without asking it
        #[arg(long)]
        force: bool,
    },
    /// End and remove a container
    Delete {
        #[command(flatten)]
        room: RoomArg,
        /// Id or name of the container
        #[arg(long)]
        id: String,
    },
    /// Images
    #[command(subcommand, alias = "images")]
    Image(image::Command),
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room, all, output } => list(ctx, &room, all, output).await,
        Command::Run(args) => run::run(ctx, *args).await,
        Command::Exec(args) => exec::run(ctx, args).await,
        Command::Image(command) => image::run(ctx, command).await,
        Command::Log { room, id, follow, .. } => {
            let client = connect(ctx, room.name()?).await?;
            print(client.containers().logs(&id, follow).await?).await.map(drop)
        }
        Command::Stop { room, id, force } => {
            connect(ctx, room.name()?).await?.containers().stop(&id, force).await?;
            output::line("Stopped")
        }
        Command::Delete { room, id } => {
            connect(ctx, room.name()?).await?.containers().delete(&id).await?;
            output::line("Deleted")
        }
    }
}

async fn list(ctx: &Ctx, room: &RoomArg, all: bool, format: Format) -> Result<(), CliError> {
    let client = connect(ctx, room.name()?).await?;
    let containers = client.containers().list(all).await?;
    match format {
        Format::Json => output::json(&containers),
        Format::Table => {
            let mut table = Table::new(&["id", "image", "status", "name", "service_id"]);
            containers.iter().for_each(|container| table.object(container));
            table.print("no containers")
        }
    }
}

/// Prints a stream as it comes; the status it ends with, if any.
async fn print(mut stream: OutputStream) -> Result<Option<i64>, CliError> {
    while let Some(piece) = stream.next().await? {
        match piece {
            Output::Out(data) => output::bytes(&data)?,
            Output::Err(data) => output::error_bytes(&data),
            Output::Status(status) => return Ok(Some(status)),
        }
    }
    Ok(None)
}

/// `[REGISTRY,]USER,PASSWORD` as an argument.
fn credential(text: &str) -> Result<serde_json::Value, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts[..] {
        [username, password] => {
            Ok(serde_json::json!({"registry": null, "username": username, "password": password}))
        }
        [registry, username, password] => {
            Ok(serde_json::json!({"registry": registry, "username": username, "password": password}))
        }
        _ => Err("want USER,PASSWORD or REGISTRY,USER,PASSWORD".to_owned()),
    }
}

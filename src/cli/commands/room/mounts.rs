//! `meshagent room mounts …`: volumes beside the room's own storage.

use super::connect;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use serde_json::{Value, json};

/// Work with the volumes that containers of a room can mount.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the volumes that are ready
    List {
        #[command(flatten)]
        room: RoomArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let Command::List { room, output } = command;
    let client = connect(ctx, room.name()?).await?;
    let mut answer = client.invoke_json("mounts", "list", json!({})).await?;
    let Value::Array(volumes) = answer["volumes"].take() else {
        return Err(CliError::server("the room's answer has no list of volumes"));
    };
    if output.output == Format::Json {
        return output::json(&volumes);
    }
    let mut table = Table::new(&["id", "name", "required", "description", "consumers"]);
    volumes.iter().for_each(|volume| table.object(volume));
    table.print("No storage mounts are ready.")
}

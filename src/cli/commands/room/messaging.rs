//! `meshagent room messaging …`.

use super::{connect, missing};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{RoomClient, RoomMessage};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Longest wait for the room's list of participants.
const PARTICIPANTS_WAIT: Duration = Duration::from_secs(10);
/// Type of a broadcast message, which the command has no flag for.
const BROADCAST_KIND: &str = "message";

/// Work with the messages between participants.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the participants that take messages, as JSON
    List {
        #[command(flatten)]
        room: RoomArg,
    },
    /// Send a message to one participant
    Send {
        #[command(flatten)]
        room: RoomArg,
        /// Participant, as `list` prints it
        #[arg(long, value_name = "ID")]
        to_participant_id: String,
        /// Type of the message
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// The message, a JSON object
        #[arg(long, value_name = "JSON", value_parser = args::json_object)]
        data: Map<String, Value>,
    },
    /// Send a message to all participants
    Broadcast {
        #[command(flatten)]
        room: RoomArg,
        /// The message, a JSON object
        #[arg(long, value_name = "JSON", value_parser = args::json_object)]
        data: Map<String, Value>,
    },
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room } => {
            let client = connect(ctx, room.name()?).await?;
            output::json(&participants(&client).await?)
        }
        Command::Send { room, to_participant_id, kind, data } => {
            let client = connect(ctx, room.name()?).await?;
            let there = participants(&client).await?;
            let ids: Vec<&str> = there.iter().filter_map(|participant| participant["id"].as_str()).collect();
            if !ids.contains(&to_participant_id.as_str()) {
                return Err(missing("participant with messaging", &to_participant_id, ids));
            }
            client.send_message(&to_participant_id, &kind, &json!(data), None).await?;
            output::note("Message sent.");
            Ok(())
        }
        Command::Broadcast { room, data } => {
            let client = connect(ctx, room.name()?).await?;
            participants(&client).await?;
            client.broadcast_message(BROADCAST_KIND, &json!(data), None).await?;
            output::note("Message sent to all.");
            Ok(())
        }
    }
}

/// Joins the room's messaging and reads who else is in it: `[{id, role, attributes}]`.
async fn participants(client: &RoomClient) -> Result<Vec<Value>, CliError> {
    let mut pushes = client.pushes();
    client.enable_messaging().await?;
    let listed = async {
        loop {
            let push = pushes.recv().await.map_err(|_| CliError::server("the room connection was lost"))?;
            match RoomMessage::from_push(&push) {
                Some(mut message) if message.kind == "messaging.enabled" => {
                    return Ok(match message.body["participants"].take() {
                        Value::Array(participants) => participants,
                        _ => Vec::new(),
                    });
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PARTICIPANTS_WAIT, listed)
        .await
        .unwrap_or_else(|_| Err(CliError::server("the room did not say who is in it")))
}

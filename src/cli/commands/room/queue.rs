//! `meshagent room queue …`.

mod mail;

use super::{connect, missing};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::RoomClient;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

/// How long a leased item is ours unless the person says otherwise, milliseconds.
const LEASE_MS_DEFAULT: u64 = 30_000;

/// Pages of dead letters read at most.
const DEAD_PAGES_MAX: usize = 1_000;

/// Work with the room's queues.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List queues and how many items wait in each
    List {
        #[command(flatten)]
        room: RoomArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Put a JSON object into a queue; makes the queue if needed
    #[command(
        after_help = "Example:\n  meshagent room queue send --room my-room --queue support-jobs \\\n      \
                            --json '{\"prompt\":\"Summarize the backlog and save a report.\"}'"
    )]
    Send(Send),
    /// Put an email into a queue, as if it had come by mail; makes the queue if needed
    SendMail(mail::SendMail),
    /// Take the oldest item out and print it; an empty queue exits with 1
    Receive {
        #[command(flatten)]
        target: QueueArgs,
        /// Wait until there is an item
        #[arg(long)]
        wait: bool,
    },
    /// Print how many items wait in a queue
    Size(QueueArgs),
    /// Take the oldest item for a while; it comes back unless it is acknowledged with `ack`
    Lease {
        #[command(flatten)]
        target: QueueArgs,
        /// How long it is yours, milliseconds
        #[arg(long, default_value_t = LEASE_MS_DEFAULT)]
        lease_ms: u64,
        /// Wait until there is an item
        #[arg(long)]
        wait: bool,
    },
    /// Say that the work of a leased item is done; removes it
    Ack(LeaseArgs),
    /// Give a leased item back
    Nack {
        #[command(flatten)]
        lease: LeaseArgs,
        /// Why; kept with the item
        #[arg(long, default_value = "given back by hand")]
        reason: String,
    },
    /// List the items that failed too often, or put them back with --replay
    Dead {
        #[command(flatten)]
        target: QueueArgs,
        /// Put them back into the queue
        #[arg(long)]
        replay: bool,
        /// Put back only this item; may be given several times
        #[arg(long = "item", value_name = "ID", requires = "replay")]
        items: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    #[command(flatten)]
    room: RoomArg,
    /// Name of the queue
    #[arg(short, long)]
    queue: String,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("message").required(true))]
pub struct Send {
    #[command(flatten)]
    target: QueueArgs,
    /// The item, a JSON object
    #[arg(long, value_name = "JSON", group = "message")]
    json: Option<String>,
    /// File with the item; `-` is stdin
    #[arg(short, long, value_name = "FILE", group = "message")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct LeaseArgs {
    #[command(flatten)]
    target: QueueArgs,
    /// Item, as `lease` printed it
    #[arg(long, value_name = "ID")]
    item_id: String,
    /// Token, as `lease` printed it
    #[arg(long, value_name = "TOKEN")]
    lease_token: String,
}

#[derive(Debug, Deserialize)]
struct Listing {
    queues: Vec<Queue>,
}

#[derive(Debug, Deserialize)]
struct Queue {
    name: String,
    /// A number; some servers write it as text.
    size: Value,
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room, output } => list(ctx, &room, output.output).await,
        Command::Send(args) => send(ctx, args).await,
        Command::SendMail(args) => mail::send(ctx, args).await,
        Command::Receive { target, wait } => {
            let room = enter(ctx, &target).await?;
            match room.queues().receive(&target.queue, true, wait).await? {
                Some(message) => output::json(&message),
                None => Err(empty(&target)),
            }
        }
        Command::Size(target) => {
            let queues = listing(&enter(ctx, &target).await?).await?;
            match queues.iter().find(|queue| queue.name == target.queue) {
                Some(queue) => output::line(output::cell(Some(&queue.size))),
                None => Err(missing("queue", &target.queue, queues.iter().map(|q| q.name.as_str()))),
            }
        }
        Command::Lease { target, lease_ms, wait } => {
            // The person acknowledges from another connection.
            let input = json!({
                "name": target.queue, "create": true, "wait": wait, "lease_ms": lease_ms, "detached": true,
            });
            match enter(ctx, &target).await?.invoke_json("queues", "lease", input).await? {
                Value::Null => Err(empty(&target)),
                item => output::json(&item),
            }
        }
        Command::Ack(lease) => give(ctx, &lease, "ack", lease.input()).await,
        Command::Nack { lease, reason } => {
            let mut input = lease.input();
            input["reason"] = reason.into();
            give(ctx, &lease, "nack", input).await
        }
        Command::Dead { target, replay: true, items, .. } => replay(ctx, &target, &items).await,
        Command::Dead { target, output, .. } => dead(ctx, &target, output.output).await,
    }
}

impl LeaseArgs {
    fn input(&self) -> Value {
        json!({"name": self.target.queue, "item_id": self.item_id, "lease_token": self.lease_token})
    }
}

async fn enter(ctx: &Ctx, target: &QueueArgs) -> Result<RoomClient, CliError> {
    connect(ctx, target.room.name()?).await
}

fn empty(target: &QueueArgs) -> CliError {
    CliError::user(format!("queue `{}` is empty", target.queue)).hint("--wait waits for an item")
}

async fn listing(room: &RoomClient) -> Result<Vec<Queue>, CliError> {
    let answer = room.queues().list().await?;
    let listing: Listing = serde_json::from_value(answer)
        .map_err(|error| CliError::server(format!("the room's list of queues is not one: {error}")))?;
    Ok(listing.queues)
}

async fn list(ctx: &Ctx, room: &RoomArg, format: Format) -> Result<(), CliError> {
    let client = connect(ctx, room.name()?).await?;
    if format == Format::Json {
        return output::json(&client.queues().list().await?);
    }
    let mut table = Table::new(&["name", "size"]);
    for queue in listing(&client).await? {
        table.row([queue.name, output::cell(Some(&queue.size))]);
    }
    table.print("No queues found.")
}

async fn send(ctx: &Ctx, args: Send) -> Result<(), CliError> {
    let text = match (&args.json, &args.file) {
        (Some(json), _) => json.clone(),
        (None, Some(file)) => args::read_text(file)?,
        (None, None) => return Err(CliError::usage("pass --json JSON or --file FILE")),
    };
    let message = args::json_object(&text).map_err(CliError::usage)?;
    let queue = &args.target.queue;
    enter(ctx, &args.target).await?.queues().send(queue, true, Value::Object(message)).await?;
    output::note(format!("Sent to queue {queue}."));
    Ok(())
}

async fn give(ctx: &Ctx, lease: &LeaseArgs, tool: &str, input: Value) -> Result<(), CliError> {
    enter(ctx, &lease.target).await?.invoke_json("queues", tool, input).await?;
    output::note(format!("Item {}: {tool}.", lease.item_id));
    Ok(())
}

async fn replay(ctx: &Ctx, target: &QueueArgs, items: &[String]) -> Result<(), CliError> {
    let input = json!({"name": target.queue, "item_ids": items});
    let answer = enter(ctx, target).await?.invoke_json("queues", "replay", input).await?;
    output::note(format!("Put back into queue {}: {}", target.queue, output::cell(answer.get("replayed"))));
    Ok(())
}

async fn dead(ctx: &Ctx, target: &QueueArgs, format: Format) -> Result<(), CliError> {
    let room = enter(ctx, target).await?;
    let mut items = Vec::new();
    let mut after = Value::Null;
    for _ in 0..DEAD_PAGES_MAX {
        let input = json!({"name": target.queue, "after": after});
        let mut page = room.invoke_json("queues", "dead_letters", input).await?;
        if let Value::Array(found) = page["items"].take() {
            items.extend(found);
        }
        after = page["next"].take();
        if after.is_null() {
            break;
        }
    }
    if format == Format::Json {
        return output::json(&json!({"items": items}));
    }
    let mut table = Table::new(&["item_id", "attempts", "dead_at", "reason", "message"]);
    for item in &items {
        table.object(item);
    }
    table.print("No dead letters found.")
}

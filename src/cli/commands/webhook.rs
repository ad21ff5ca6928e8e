//! `meshagent webhook …`.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::ProjectRest;
use serde_json::{Value, json};

/// Work with webhooks: addresses that are called when rooms start and end.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a webhook
    #[command(
        after_help = "Calls are signed with the secret that `meshagent secret webhook` prints. Example:\n  \
                            meshagent webhook create --name ops --url https://ops.example/hook --event room.started"
    )]
    Create(Create),
    /// List the webhooks of the project
    List(OutputArgs),
    /// Show one webhook
    Get {
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change a webhook; what is not named stays, and what waits is tried again at once
    Update(Update),
    /// Show the calls that are still to be made, and those that were given up
    Deliveries {
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make calls again that were given up
    Replay {
        id: String,
        /// Only this call; may be given several times
        #[arg(long = "delivery", value_name = "ID")]
        deliveries: Vec<String>,
    },
    /// Delete a webhook, with the calls that wait
    Delete { id: String },
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[arg(short, long)]
    name: String,
    /// Where to POST; a host within the server's network must be allowed by its operator
    #[arg(short, long)]
    url: String,
    /// What to tell of; may be given several times
    #[arg(short, long = "event", value_name = "EVENT", required = true, value_parser = EVENTS)]
    events: Vec<String>,
    #[arg(long, default_value = "")]
    description: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    /// Its id, as `list` shows it
    id: String,
    /// Another name
    #[arg(short, long)]
    name: Option<String>,
    /// Where it is told from now on
    #[arg(short, long)]
    url: Option<String>,
    /// What to tell of, in place of what was named before; may be given several times
    #[arg(short, long = "event", value_name = "EVENT", value_parser = EVENTS)]
    events: Vec<String>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
}

const EVENTS: [&str; 2] = ["room.started", "room.ended"];
const COLUMNS: [&str; 7] = ["id", "name", "url", "events", "waiting", "delivered", "abandoned"];
const DELIVERY_COLUMNS: [&str; 8] =
    ["state", "id", "event", "room_name", "at", "attempts", "again_at", "reason"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Create(args) => create(&project, args).await,
        Command::List(args) => {
            let webhooks = project.webhooks().await?;
            match args.output {
                Format::Json => output::json(&json!({"webhooks": webhooks})),
                Format::Table => table(&webhooks).print("No webhooks found."),
            }
        }
        Command::Get { id, output } => {
            let webhook = project.webhook(&id).await?;
            match output.output {
                Format::Json => output::json(&webhook),
                Format::Table => table(&[webhook]).print(""),
            }
        }
        Command::Update(args) => update(&project, args).await,
        Command::Deliveries { id, output } => deliveries(&project, &id, output.output).await,
        Command::Replay { id, deliveries } => {
            let replayed = project.replay_webhook(&id, &deliveries).await?;
            output::note(format!("Replayed calls: {replayed}"));
            Ok(())
        }
        Command::Delete { id } => {
            project.delete_webhook(&id).await?;
            output::note(format!("Deleted webhook: {id}"));
            Ok(())
        }
    }
}

async fn create(project: &ProjectRest, args: Create) -> Result<(), CliError> {
    let body = json!({
        "name": args.name, "url": args.url, "events": args.events, "description": args.description,
    });
    let webhook = project.create_webhook(&body).await?;
    match args.output.output {
        Format::Json => output::json(&webhook),
        Format::Table => output::line(format!("Created webhook: {}", output::cell(webhook.get("id")))),
    }
}

async fn update(project: &ProjectRest, args: Update) -> Result<(), CliError> {
    let old = project.webhook(&args.id).await?;
    let events = if args.events.is_empty() { old["events"].clone() } else { json!(args.events) };
    let or_old = |new: Option<String>, field: &str| new.map_or_else(|| old[field].clone(), Value::from);
    let body = json!({
        "name": or_old(args.name, "name"), "url": or_old(args.url, "url"), "events": events,
        "description": or_old(args.description, "description"),
    });
    project.update_webhook(&args.id, &body).await?;
    output::note(format!("Updated webhook: {}", args.id));
    Ok(())
}

async fn deliveries(project: &ProjectRest, id: &str, format: Format) -> Result<(), CliError> {
    let answer = project.webhook_deliveries(id).await?;
    if format == Format::Json {
        return output::json(&answer);
    }
    let mut table = Table::new(&DELIVERY_COLUMNS);
    for state in ["waiting", "dead"] {
        for delivery in answer[state].as_array().into_iter().flatten() {
            let mut row = delivery.clone();
            row["state"] = state.into();
            table.object(&row);
        }
    }
    table.print("No calls wait, and none was given up.")
}

fn table(webhooks: &[Value]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for webhook in webhooks {
        table.object(webhook);
    }
    table
}

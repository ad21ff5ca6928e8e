//! `meshagent mailbox …`.

mod deliveries;

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::rest::{Mailbox, ProjectRest};
use serde_json::json;
use std::collections::BTreeMap;

/// Work with mailboxes: addresses whose mail becomes items of a room's queue.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a mailbox
    #[command(
        after_help = "An agent with --channel mail:ADDRESS reads the queue that is named like the address:\n  \
                            meshagent mailbox create --address help@mail.example --room my-room --queue help@mail.example"
    )]
    Create(Create),
    /// List the mailboxes of the project, or of one room
    List(List),
    /// Show one mailbox
    Get {
        address: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change a mailbox; what is not named stays
    Update(Update),
    /// Show what became of mail that a mailbox sent, newest first
    Deliveries(deliveries::Deliveries),
    /// Show one delivery
    Delivery { address: String, delivery_id: String },
    /// Show what happened to a delivery, in order
    DeliveryEvents(deliveries::Events),
    /// Delete a mailbox
    Delete { address: String },
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Address, for example help@mail.example
    #[arg(short, long)]
    address: String,
    #[command(flatten)]
    room: RoomArg,
    /// Queue of the room that gets the mail
    #[arg(short, long)]
    queue: String,
    /// Take mail from anyone
    #[arg(long)]
    public: bool,
    /// Annotations, a JSON object of texts
    #[arg(short = 'n', long, value_name = "JSON", value_parser = args::annotations)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only this room's
    #[arg(short, long)]
    room: Option<String>,
    /// Only addresses that contain this
    #[arg(long)]
    filter: Option<String>,
    /// Most mailboxes to show
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Mailboxes to skip
    #[arg(long, default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    address: String,
    /// Room that gets the mail
    #[arg(short, long)]
    room: Option<String>,
    /// Queue that gets the mail
    #[arg(short, long)]
    queue: Option<String>,
    /// Take mail from anyone: --public, or --public=false
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    public: Option<bool>,
    /// Annotations, a JSON object of texts; replaces what is there
    #[arg(short = 'n', long, value_name = "JSON", value_parser = args::annotations)]
    annotations: Option<BTreeMap<String, String>>,
}

const COLUMNS: [&str; 4] = ["address", "room", "queue", "public"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Create(args) => create(&project, args).await,
        Command::List(args) => list(&project, args).await,
        Command::Get { address, output } => {
            let mailbox = find(&project, &address).await?;
            match output.output {
                Format::Json => output::json(&mailbox),
                Format::Table => table(&[mailbox])?.print(""),
            }
        }
        Command::Update(args) => update(&project, args).await,
        Command::Deliveries(args) => deliveries::list(&project, args).await,
        Command::Delivery { address, delivery_id } => deliveries::one(&project, &address, &delivery_id).await,
        Command::DeliveryEvents(args) => deliveries::events(&project, args).await,
        Command::Delete { address } => {
            find(&project, &address).await?;
            project.delete_mailbox(&address).await?;
            output::note(format!("Deleted mailbox: {address}"));
            Ok(())
        }
    }
}

async fn create(project: &ProjectRest, args: Create) -> Result<(), CliError> {
    let mailbox = Mailbox {
        address: args.address,
        room: args.room.name()?.to_owned(),
        room_id: None,
        queue: args.queue,
        public: args.public,
        annotations: args.annotations.unwrap_or_default(),
    };
    match project.create_mailbox(&mailbox).await {
        Ok(()) => {
            output::note(format!("Created mailbox: {}", mailbox.address));
            Ok(())
        }
        Err(error) if error.is_conflict() => Err(CliError::user(format!(
            "Mailbox address already in use: {}",
            mailbox.address
        ))
        .hint(format!("change it with `meshagent mailbox update {}`, or choose another", mailbox.address))),
        Err(error) => Err(error.into()),
    }
}

async fn list(project: &ProjectRest, args: List) -> Result<(), CliError> {
    let all = project.mailboxes(args.room.as_deref(), args.filter.as_deref()).await?;
    let count = usize::try_from(args.count).unwrap_or(usize::MAX);
    let mailboxes: Vec<Mailbox> = all.into_iter().skip(args.offset).take(count).collect();
    match args.output.output {
        Format::Json => output::json(&json!({"mailboxes": mailboxes})),
        Format::Table => table(&mailboxes)?.print("No mailboxes found."),
    }
}

async fn update(project: &ProjectRest, args: Update) -> Result<(), CliError> {
    let old = find(project, &args.address).await?;
    let mailbox = Mailbox {
        room: args.room.unwrap_or(old.room),
        queue: args.queue.unwrap_or(old.queue),
        public: args.public.unwrap_or(old.public),
        annotations: args.annotations.unwrap_or(old.annotations),
        ..old
    };
    project.update_mailbox(&mailbox).await?;
    output::note(format!("Updated mailbox: {}", mailbox.address));
    Ok(())
}

fn table(mailboxes: &[Mailbox]) -> Result<Table, CliError> {
    let mut table = Table::new(&COLUMNS);
    for mailbox in mailboxes {
        table.object(&serde_json::to_value(mailbox)?);
    }
    Ok(table)
}

async fn find(project: &ProjectRest, address: &str) -> Result<Mailbox, CliError> {
    project.mailbox(address).await?.ok_or_else(|| {
        CliError::user(format!("there is no mailbox `{address}`"))
            .hint("`meshagent mailbox list` shows those there are")
    })
}

//! `meshagent rooms …`.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, Room};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Work with rooms: the live places where people, agents, tools and services meet.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a room
    #[command(after_help = "Example:\n  meshagent rooms create my-room --if-not-exists")]
    Create(Create),
    /// List rooms
    List(List),
    /// Show one room
    Get(RoomName),
    /// Rename, enable, disable or annotate a room
    Update(Update),
    /// Delete a room and what is in it
    Delete(RoomName),
    /// Say whether a server runs the room at this moment
    Status {
        room: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List what happened to the room: sessions, starts, failures
    Events {
        room: String,
        /// Most events to show
        #[arg(long, alias = "limit", default_value_t = 100)]
        count: usize,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name: 1 to 63 of a-z, 0-9 and -
    #[arg(value_name = "NAME", required_unless_present = "name_flag")]
    name: Option<String>,
    #[arg(long = "name", value_name = "NAME", hide = true, conflicts_with = "name")]
    name_flag: Option<String>,
    /// Succeed without a change if the room is there
    #[arg(long, overrides_with = "no_if_not_exists")]
    if_not_exists: bool,
    #[arg(long, hide = true)]
    no_if_not_exists: bool,
    /// Make the caller the owner (this server always does)
    #[arg(long, hide = true, overrides_with = "no_owner")]
    owner: bool,
    #[arg(long, hide = true)]
    no_owner: bool,
    /// Free data about the room, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    metadata: Option<Map<String, Value>>,
    /// Annotations, a JSON object of texts
    #[arg(long, value_name = "JSON", value_parser = args::annotations)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    output: OutputArgs,
    /// Most rooms to show
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Rooms to skip
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Order of the listing
    #[arg(long, default_value = "room_name", value_parser = ["room_name"])]
    order_by: String,
    /// Only rooms whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// All rooms of the project, not only those this credential may enter
    #[arg(long)]
    all: bool,
}

/// A room by position, `--name` or `--id`.
#[derive(Debug, clap::Args)]
pub struct RoomName {
    /// Name or id of the room
    #[arg(value_name = "ROOM", required_unless_present_any = ["name", "id"])]
    room: Option<String>,
    /// Name of the room
    #[arg(long, conflicts_with = "room")]
    name: Option<String>,
    /// Id of the room
    #[arg(long, conflicts_with_all = ["room", "name"])]
    id: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    #[command(flatten)]
    room: RoomName,
    /// New name
    #[arg(long)]
    new_name: Option<String>,
    /// Let participants in again
    #[arg(long, conflicts_with = "disabled")]
    enabled: bool,
    /// Let nobody in
    #[arg(long)]
    disabled: bool,
    /// Free data, a JSON object; replaces what is there
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    metadata: Option<Map<String, Value>>,
    /// Annotations, a JSON object of texts; replaces what is there
    #[arg(long, value_name = "JSON", value_parser = args::annotations)]
    annotations: Option<BTreeMap<String, String>>,
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Create(args) => create(&project, args).await,
        Command::List(args) => list(&project, args).await,
        Command::Get(room) => output::json(&find(&project, room.text()).await?),
        Command::Update(args) => update(&project, args).await,
        Command::Delete(room) => {
            project.delete_room(&find(&project, room.text()).await?.id).await?;
            output::note("Room deleted.");
            Ok(())
        }
        Command::Status { room, output } => {
            let status = project.room_status(&find(&project, &room).await?.name).await?;
            match output.output {
                Format::Json => output::json(&status),
                Format::Table => {
                    let mut table = Table::new(&["status", "allocated_at", "running_for_seconds"]);
                    table.object(&serde_json::to_value(&status)?);
                    table.print("")
                }
            }
        }
        Command::Events { room, count, output } => events(&project, &room, count, output.output).await,
    }
}

impl RoomName {
    fn text(&self) -> &str {
        let given = [&self.room, &self.name, &self.id];
        given.into_iter().flatten().next().map(String::as_str).unwrap_or_default()
    }
}

async fn create(project: &ProjectRest, args: Create) -> Result<(), CliError> {
    let name = args.name.or(args.name_flag).unwrap_or_default();
    output::note(format!("Creating room {name}"));
    let (metadata, annotations) = (json!(args.metadata), json!(args.annotations));
    let created = project.create_room(&name, args.if_not_exists, &metadata, &annotations).await;
    match created {
        Ok(room) => output::json(&room),
        Err(error) if error.is_conflict() => Err(CliError::user(format!("there is a room `{name}` already"))
            .hint("pass --if-not-exists to go on with the one that is there")),
        Err(error) => Err(error.into()),
    }
}

async fn list(project: &ProjectRest, args: List) -> Result<(), CliError> {
    let mut rooms = project.rooms(args.all, args.filter.as_deref()).await?;
    rooms.sort_by(|a, b| a.name.cmp(&b.name));
    let rooms: Vec<Room> = rooms.into_iter().skip(args.offset).take(args.count).collect();
    if args.output.output == Format::Json {
        return output::json(&rooms);
    }
    let mut table = Table::new(&["id", "name", "enabled"]);
    for room in rooms {
        table.row([room.id, room.name, room.enabled.to_string()]);
    }
    table.print("No rooms found.")
}

async fn update(project: &ProjectRest, args: Update) -> Result<(), CliError> {
    let room = find(project, args.room.text()).await?;
    let mut change = json!({"name": args.new_name.unwrap_or(room.name)});
    if args.enabled || args.disabled {
        change["enabled"] = json!(args.enabled);
    }
    if let Some(metadata) = args.metadata {
        change["metadata"] = json!(metadata);
    }
    if let Some(annotations) = args.annotations {
        change["annotations"] = json!(annotations);
    }
    project.update_room(&room.id, &change).await?;
    output::note("Room updated.");
    Ok(())
}

async fn events(project: &ProjectRest, room: &str, count: usize, format: Format) -> Result<(), CliError> {
    let events = project.room_events(&find(project, room).await?.name, count).await?;
    if format == Format::Json {
        return output::json(&json!({"events": events}));
    }
    let mut table = Table::new(&["created_at", "type", "session_id", "severity", "message"]);
    for event in &events {
        table.object(&serde_json::to_value(event)?);
    }
    table.print("No events found.")
}

/// The room with this name or id; not finding it is an error that names the nearest.
pub async fn find(project: &ProjectRest, name_or_id: &str) -> Result<Room, CliError> {
    if let Some(room) = project.room(name_or_id).await? {
        return Ok(room);
    }
    let missing = CliError::user(format!("there is no room `{name_or_id}`"));
    let rooms = project.rooms(true, None).await.unwrap_or_default();
    Err(match args::nearest(name_or_id, rooms.iter().map(|room| room.name.as_str())) {
        Some(near) => missing.hint(format!("did you mean `{near}`?")),
        None => missing.hint(
            "`meshagent rooms list --all` shows those there are, `meshagent rooms create NAME` makes one",
        ),
    })
}

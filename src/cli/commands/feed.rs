//! `meshagent feed …` and `meshagent subscription …`.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Feeds: messages in JSON that rooms subscribe to.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a feed
    #[command(after_help = "For example:\n  meshagent feed create --name orders \
                            --message-schema '{\"type\": \"object\", \"required\": [\"id\"]}'")]
    Create(Create),
    /// Change a feed; what is not named stays
    Update(Update),
    /// Show one feed
    Get { feed_id: String },
    /// List the feeds of the project, or those that a room has subscribed to
    List(List),
    /// Delete a feed and its subscriptions
    Delete { feed_id: String },
    /// Publish one message, any JSON
    Send {
        feed_id: String,
        /// The message
        #[arg(long, value_name = "JSON", required_unless_present = "message_file")]
        message: Option<String>,
        /// File that holds it; `-` is stdin
        #[arg(long, value_name = "FILE", conflicts_with = "message")]
        message_file: Option<PathBuf>,
    },
    /// Publish the lines of a file, each a message; all or none
    SendBatch {
        feed_id: String,
        /// File of JSON lines; `-` is stdin
        #[arg(long, value_name = "FILE")]
        jsonl_file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Visibility {
    Public,
    Project,
    Private,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Lowercase letters, digits and hyphens
    #[arg(short, long)]
    name: String,
    #[arg(short, long, default_value = "")]
    description: String,
    /// Who may know of it; whoever may use the project may use it in any case
    #[arg(long, value_enum, default_value = "private")]
    visibility: Visibility,
    /// Takes no messages until it is resumed
    #[arg(long)]
    paused: bool,
    /// Notes, as a JSON object of texts
    #[arg(long, value_name = "JSON")]
    annotations: Option<String>,
    #[command(flatten)]
    schema: Schema,
}

#[derive(Debug, clap::Args)]
pub struct Schema {
    /// JSON Schema that messages must fit
    #[arg(long, value_name = "JSON")]
    message_schema: Option<String>,
    /// File that holds the schema; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "message_schema")]
    message_schema_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    feed_id: String,
    #[arg(short, long)]
    name: Option<String>,
    #[arg(short, long)]
    description: Option<String>,
    /// Take no messages until it is resumed
    #[arg(long)]
    paused: bool,
    /// Take messages again
    #[arg(long, conflicts_with = "paused")]
    resume: bool,
    /// Notes, as a JSON object of texts
    #[arg(long, value_name = "JSON")]
    annotations: Option<String>,
    #[command(flatten)]
    schema: Schema,
    /// Take any JSON
    #[arg(long, conflicts_with_all = ["message_schema", "message_schema_file"])]
    clear_message_schema: bool,
}

#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    room: RoomArg,
    /// Only those with this in their name
    #[arg(long)]
    filter: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// How many to leave out at the beginning
    #[arg(long, default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: [&str; 4] = ["id", "name", "visibility", "paused"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Create(args) => {
            let mut body = json!({
                "name": args.name, "description": args.description, "paused": args.paused,
                "visibility": args.visibility.to_possible_value().map(|value| value.get_name().to_owned()),
                "annotations": annotations(args.annotations.as_deref())?.unwrap_or_else(|| json!({})),
            });
            if let Some(schema) = args.schema.read()? {
                body["message_schema"] = schema;
            }
            output::json(&project.create_feed(&body).await?)
        }
        Command::Update(args) => {
            let body = args.body(project.feed(&args.feed_id).await?)?;
            project.update_feed(&args.feed_id, &body).await?;
            output::note(format!("Updated feed: {}", args.feed_id));
            Ok(())
        }
        Command::Get { feed_id } => output::json(&project.feed(&feed_id).await?),
        Command::List(args) => list(ctx, args).await,
        Command::Delete { feed_id } => {
            project.delete_feed(&feed_id).await?;
            output::note(format!("Deleted feed: {feed_id}"));
            Ok(())
        }
        Command::Send { feed_id, message, message_file } => {
            let text = given(message, message_file.as_deref())?.unwrap_or_default();
            project.publish(&feed_id, &json_of("the message", &text)?).await?;
            output::note(format!("Published message to feed: {feed_id}"));
            Ok(())
        }
        Command::SendBatch { feed_id, jsonl_file } => {
            let messages = lines(&args::read_text(&jsonl_file)?)?;
            project.publish_batch(&feed_id, &messages).await?;
            output::note(format!("Published {} messages to feed: {feed_id}", messages.len()));
            Ok(())
        }
    }
}

impl Schema {
    fn read(self) -> Result<Option<Value>, CliError> {
        let text = given(self.message_schema, self.message_schema_file.as_deref())?;
        text.map(|text| json_of("the schema", &text)).transpose()
    }
}

impl Update {
    fn body(&self, old: Value) -> Result<Value, CliError> {
        let mut body = json!({
            "name": self.name.clone().map_or_else(|| old["name"].clone(), Value::from),
            "description": self.description.clone().map_or_else(|| old["description"].clone(), Value::from),
            "paused": if self.paused || self.resume { json!(self.paused) } else { old["paused"].clone() },
            "annotations": annotations(self.annotations.as_deref())?.unwrap_or_else(|| old["annotations"].clone()),
        });
        let schema = Schema {
            message_schema: self.schema.message_schema.clone(),
            message_schema_file: self.schema.message_schema_file.clone(),
        };
        let schema = schema.read()?.unwrap_or_else(|| old["message_schema"].clone());
        if !self.clear_message_schema && !schema.is_null() {
            body["message_schema"] = schema;
        }
        Ok(body)
    }
}

async fn list(ctx: &Ctx, args: List) -> Result<(), CliError> {
    let project = ctx.project()?;
    let room = args.room.room.filter(|room| !room.is_empty());
    let all = match room {
        Some(room) => project.room_feeds(&room).await?,
        None => project.feeds().await?,
    };
    let wants = |feed: &Value| {
        let name = feed["name"].as_str().unwrap_or_default();
        args.filter.as_deref().is_none_or(|part| name.contains(&part.to_lowercase()))
    };
    let feeds: Vec<Value> = all.into_iter().filter(wants).skip(args.offset).take(args.count).collect();
    match args.output.output {
        Format::Json => output::json(&json!({"feeds": feeds})),
        Format::Table => table(&COLUMNS, &feeds).print("No feeds found."),
    }
}

fn table(columns: &[&'static str], rows: &[Value]) -> Table {
    let mut table = Table::new(columns);
    rows.iter().for_each(|row| table.object(row));
    table
}

/// A text, or the one of a file.
fn given(text: Option<String>, file: Option<&Path>) -> Result<Option<String>, CliError> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text)),
        (None, Some(file)) => args::read_text(file).map(Some),
        (None, None) => Ok(None),
    }
}

fn json_of(what: &str, text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text).map_err(|error| CliError::usage(format!("{what} is no JSON: {error}")))
}

/// Each line that is not blank.
fn lines(text: &str) -> Result<Vec<Value>, CliError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(n, line)| json_of(&format!("line {}", n + 1), line));
    let all: Vec<Value> = read.collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Err(CliError::usage("the file has no messages; give one JSON value per line"));
    }
    Ok(all)
}

/// An object of texts; `None` where nothing is given.
pub(super) fn annotations(text: Option<&str>) -> Result<Option<Value>, CliError> {
    let Some(text) = text else { return Ok(None) };
    if text.trim().is_empty() {
        return Ok(Some(json!({})));
    }
    let read: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| CliError::usage(format!("--annotations is no JSON object: {error}")))?;
    let text = |(name, value): (String, Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name, Value::from(value))
    };
    Ok(Some(Value::Object(read.into_iter().map(text).collect())))
}

/// Subscriptions: feeds that are written into files of a room.
#[derive(Debug, clap::Subcommand)]
pub enum Subscription {
    /// Have a feed written into files below a folder of a room
    Create {
        /// Feed of the subscription
        #[arg(long)]
        feed_id: String,
        #[command(flatten)]
        room: RoomArg,
        /// Folder in the room's storage
        #[arg(long)]
        path: String,
        /// How the time stands in names of files [default: YYYY-MM-DDThh_mm_ssZ]; slashes make folders
        #[arg(long, value_name = "FORMAT")]
        filename_datetime_format: Option<String>,
        /// Notes, as a JSON object of texts
        #[arg(long, value_name = "JSON")]
        annotations: Option<String>,
    },
    /// Change how files are named, or the notes
    Update {
        /// Feed of the subscription
        #[arg(long)]
        feed_id: String,
        subscription_id: String,
        /// How the time stands in names of files; empty for the default
        #[arg(long, value_name = "FORMAT")]
        filename_datetime_format: Option<String>,
        /// Notes, as a JSON object of texts
        #[arg(long, value_name = "JSON")]
        annotations: Option<String>,
    },
    /// Show one subscription, and why it does not get on where that is so
    Get {
        /// Feed of the subscription
        #[arg(long)]
        feed_id: String,
        subscription_id: String,
    },
    /// List the subscriptions of a feed
    List {
        /// Feed of the subscription
        #[arg(long)]
        feed_id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// End a subscription; its files stay
    Delete {
        /// Feed of the subscription
        #[arg(long)]
        feed_id: String,
        subscription_id: String,
    },
}

const SUBSCRIPTION_COLUMNS: [&str; 4] = ["id", "room", "path", "filename_datetime_format"];

pub async fn run_subscription(ctx: &Ctx, command: Subscription) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Subscription::Create { feed_id, room, path, filename_datetime_format, annotations: notes } => {
            let body = json!({
                "room": room.name()?, "path": path, "filename_datetime_format": filename_datetime_format,
                "annotations": annotations(notes.as_deref())?.unwrap_or_else(|| json!({})),
            });
            output::json(&project.create_feed_subscription(&feed_id, &body).await?)
        }
        Subscription::Update { feed_id, subscription_id, filename_datetime_format, annotations: notes } => {
            let old = project.feed_subscription(&feed_id, &subscription_id).await?;
            let format = filename_datetime_format.map(Value::from);
            let body = json!({
                "filename_datetime_format": format.unwrap_or_else(|| old["filename_datetime_format"].clone()),
                "annotations": annotations(notes.as_deref())?.unwrap_or_else(|| old["annotations"].clone()),
            });
            project.update_feed_subscription(&feed_id, &subscription_id, &body).await?;
            output::note(format!("Updated subscription: {subscription_id}"));
            Ok(())
        }
        Subscription::Get { feed_id, subscription_id } => {
            output::json(&project.feed_subscription(&feed_id, &subscription_id).await?)
        }
        Subscription::List { feed_id, output } => {
            let all = project.feed_subscriptions(&feed_id).await?;
            match output.output {
                Format::Json => output::json(&json!({"subscriptions": all})),
                Format::Table => table(&SUBSCRIPTION_COLUMNS, &all).print("No subscriptions found."),
            }
        }
        Subscription::Delete { feed_id, subscription_id } => {
            project.delete_feed_subscription(&feed_id, &subscription_id).await?;
            output::note(format!("Deleted subscription: {subscription_id}"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_notes_are_read_and_mistakes_are_placed() {
        assert_eq!(lines("1\n\n{\"a\": 2}\n").unwrap(), [json!(1), json!({"a": 2})]);
        assert!(lines("1\nx").unwrap_err().to_string().contains("line 2"));
        assert!(lines("\n").is_err());
        assert_eq!(annotations(Some(r#"{"a": 1, "b": "c"}"#)).unwrap(), Some(json!({"a": "1", "b": "c"})));
        assert_eq!(annotations(Some("")).unwrap(), Some(json!({})));
        assert!(annotations(Some("[1]")).is_err() && annotations(None).unwrap().is_none());
    }
}

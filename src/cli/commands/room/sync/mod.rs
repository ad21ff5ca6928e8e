//! `meshagent room sync …`: documents of the room.

mod import;
mod patch;
mod search;

use super::connect;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{NewDocument, OpenDocument, RoomClient, RoomError};
use crate::clock::{IdSource, System};
use crate::yjs::{MeshSchema, Replica};
use serde_json::Value;
use std::path::PathBuf;

/// The room's code for a document that is there already.
const ALREADY_EXISTS: u16 = 1004;

/// Work with documents that several edit at once.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print a document as JSON
    Get {
        #[command(flatten)]
        document: DocumentArgs,
        /// Print the `$id` of each element too
        #[arg(long)]
        include_ids: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Search a document for elements whose tag, property names or values match
    Grep(Grep),
    /// Print a document's schema as JSON
    Inspect {
        #[command(flatten)]
        document: DocumentArgs,
        #[command(flatten)]
        form: Form,
    },
    /// Make a document
    Create {
        #[command(flatten)]
        document: DocumentArgs,
        /// MeshSchema, a JSON file
        #[arg(long, value_name = "FILE")]
        schema: PathBuf,
        /// The content
        #[arg(long, value_name = "JSON", value_parser = args::json_value, conflicts_with = "json_file")]
        json: Option<Value>,
        /// The content, a JSON file
        #[arg(long, value_name = "FILE")]
        json_file: Option<PathBuf>,
    },
    /// Change a document with a JSON patch (RFC 6902) of what `get` prints
    Update {
        #[command(flatten)]
        document: DocumentArgs,
        /// The patch, a JSON array
        #[arg(long, value_name = "JSON", value_parser = args::json_value)]
        patch: Option<Value>,
        /// The patch, a JSON file
        #[arg(long, value_name = "FILE", conflicts_with = "patch", required_unless_present = "patch")]
        patch_file: Option<PathBuf>,
    },
    /// Make thread documents of a Claude data export
    Import(import::Args),
}

#[derive(Debug, clap::Args)]
pub struct DocumentArgs {
    #[command(flatten)]
    room: RoomArg,
    /// The document's path in the room's storage
    path: String,
}

#[derive(Debug, clap::Args)]
pub struct Grep {
    #[command(flatten)]
    document: DocumentArgs,
    /// Regular expression
    pattern: String,
    /// Upper and lower case are the same
    #[arg(long)]
    ignore_case: bool,
    /// Also this many elements before each match
    #[arg(long, default_value_t = 0)]
    before: usize,
    /// Also this many elements after each match
    #[arg(long, default_value_t = 0)]
    after: usize,
    /// Print the `$id` of each element too, and search it
    #[arg(long)]
    include_ids: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Form {
    /// JSON over several lines (the default)
    #[arg(long, overrides_with = "compact")]
    pretty: bool,
    /// JSON in one line
    #[arg(long, overrides_with = "pretty")]
    compact: bool,
}

impl Form {
    fn print(self, value: &Value) -> Result<(), CliError> {
        if self.compact { output::line(value.to_string()) } else { output::json(value) }
    }
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Get { document, include_ids, form } => {
            let (_client, open) = open(ctx, &document).await?;
            let (schema, replica) = read(&document.path, &open)?;
            let json = replica.render_with(&schema, include_ids).map_err(internal)?;
            open.close().await?;
            form.print(&json)
        }
        Command::Grep(grep) => search(ctx, grep).await,
        Command::Inspect { document, form } => {
            let (_client, open) = open(ctx, &document).await?;
            let schema = open.schema.clone();
            open.close().await?;
            form.print(&schema)
        }
        Command::Create { document, schema, json, json_file } => {
            let json = match json_file {
                Some(file) => Some(json_of(&file)?),
                None => json,
            };
            create(ctx, &document, NewDocument { schema: Some(json_of(&schema)?), json }).await
        }
        Command::Update { document, patch, patch_file } => {
            let patch = match patch_file {
                Some(file) => json_of(&file)?,
                None => patch.unwrap_or_default(),
            };
            update(ctx, &document, &patch).await
        }
        Command::Import(args) => import::run(ctx, args).await,
    }
}

async fn search(ctx: &Ctx, grep: Grep) -> Result<(), CliError> {
    let pattern = regex::RegexBuilder::new(&grep.pattern).case_insensitive(grep.ignore_case).build();
    let pattern = pattern
        .map_err(|error| CliError::user(format!("`{}` is no regular expression: {error}", grep.pattern)))?;
    let (_client, open) = open(ctx, &grep.document).await?;
    let (schema, replica) = read(&grep.document.path, &open)?;
    let json = replica.render_with(&schema, grep.include_ids).map_err(internal)?;
    open.close().await?;
    let found = search::grep(&json, &schema, &pattern, grep.before, grep.after);
    grep.form.print(&Value::Array(found.into_iter().cloned().collect()))
}

async fn create(ctx: &Ctx, document: &DocumentArgs, new: NewDocument) -> Result<(), CliError> {
    let client = connect(ctx, document.room.name()?).await?;
    let path = &document.path;
    match client.documents().create(path, &new).await {
        Ok(()) => {
            output::note(format!("Created document at {path}"));
            Ok(())
        }
        Err(RoomError::Failed { code: Some(ALREADY_EXISTS), .. }) => {
            Err(CliError::user(format!("document `{path}` exists already"))
                .hint("change it with `room sync update`, or delete it with `room storage rm`"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn update(ctx: &Ctx, document: &DocumentArgs, patch: &Value) -> Result<(), CliError> {
    let (_client, open) = open(ctx, document).await?;
    let path = &document.path;
    let (schema, mut replica) = read(path, &open)?;
    let mut json = replica.render(&schema).map_err(internal)?;
    patch::apply(&mut json, patch).map_err(|error| CliError::user(error.to_string()))?;
    let ids = || System.fresh().to_string();
    let update = replica.rewrite(&schema, &json, &ids).map_err(|error| CliError::user(error.to_string()))?;
    if let Some(update) = &update {
        open.send(update).await?;
    }
    // Returns when the change is on the server's disk.
    open.close().await?;
    output::note(match update {
        Some(_) => format!("Updated document at {path}"),
        None => format!("Document at {path} is so already"),
    });
    Ok(())
}

async fn open(ctx: &Ctx, document: &DocumentArgs) -> Result<(RoomClient, OpenDocument), CliError> {
    let client = connect(ctx, document.room.name()?).await?;
    let open = client.documents().open(&document.path, None).await?;
    Ok((client, open))
}

/// The schema and the content of an open document.
fn read(path: &str, open: &OpenDocument) -> Result<(MeshSchema, Replica), CliError> {
    let broken = |error: String| CliError::server(format!("document `{path}` cannot be read: {error}"));
    let schema = MeshSchema::parse(open.schema.clone()).map_err(|error| broken(error.to_string()))?;
    let mut replica = Replica::empty(System.fresh().as_u128());
    replica.replay(&open.state).map_err(|error| broken(error.to_string()))?;
    Ok((schema, replica))
}

fn json_of(file: &std::path::Path) -> Result<Value, CliError> {
    serde_json::from_str(&args::read_text(file)?)
        .map_err(|error| CliError::user(format!("{} is not JSON: {error}", file.display())))
}

fn internal(error: impl std::fmt::Display) -> CliError {
    CliError::internal(error.to_string())
}

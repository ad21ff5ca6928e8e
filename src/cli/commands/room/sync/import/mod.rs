//! `meshagent room sync import`: conversations of a Claude data export as thread documents, listed in an index document
//! beside them. `claude` reads the export, `thread` knows the documents' forms.

mod claude;
mod thread;

use super::read;
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{NewDocument, OpenDocument, RoomClient};
use crate::clock::{Clock, IdSource, System};
use crate::yjs::{MeshSchema, Replica};
use chrono::SecondsFormat;
use claude::{Authors, Conversation};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use thread::Entry;
use uuid::Uuid;

/// Largest export that is read, bytes.
const EXPORT_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Conversations after which the index is written; what a lost connection leaves out of it the next import puts in.
const INDEX_EVERY: usize = 64;

/// Make thread documents of the conversations of a Claude data export.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  meshagent room sync import --room my-room --file conversations.json")]
pub struct Args {
    #[command(flatten)]
    room: RoomArg,
    /// `conversations.json` of the export
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Folder of the room for the documents
    #[arg(long, default_value = ".threads/anthropic", value_name = "FOLDER", value_parser = folder)]
    thread_dir: String,
    /// Replace threads that are there already
    #[arg(long)]
    overwrite: bool,
    /// Most conversations to import
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Author of the human's messages
    #[arg(long, alias = "human-name", default_value = "human", value_name = "NAME")]
    user_name: String,
    /// Author of the assistant's messages
    #[arg(long, default_value = "assistant", value_name = "NAME")]
    assistant_name: String,
    /// Keep messages without a text
    #[arg(long)]
    include_empty_messages: bool,
}

fn folder(text: &str) -> Result<String, String> {
    let trimmed = text.trim().trim_end_matches('/');
    if trimmed.is_empty() { Err("name a folder".to_owned()) } else { Ok(trimmed.to_owned()) }
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let export = load(&args.file)?;
    let client = connect(ctx, args.room.name()?).await?;
    let mut import = Import::begin(&client, &args).await?;
    let limit = args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    for (number, raw) in export.iter().take(limit).enumerate() {
        import.one(number, raw).await?;
    }
    import.end().await
}

/// The export as it is: a JSON array.
fn load(file: &Path) -> Result<Vec<Value>, CliError> {
    let cannot = |error: std::io::Error| CliError::user(format!("cannot read {}: {error}", file.display()));
    let bytes = std::fs::metadata(file).map_err(cannot)?.len();
    if bytes > EXPORT_BYTES_MAX {
        let text = format!("{} has {bytes} bytes; at most {EXPORT_BYTES_MAX} are read", file.display());
        return Err(CliError::user(text).hint("split the array into several files"));
    }
    let read = std::fs::read(file).map_err(cannot)?;
    serde_json::from_slice(&read).map_err(|error| {
        CliError::user(format!("{} is no JSON array of conversations: {error}", file.display()))
            .hint("it is the file conversations.json of the export")
    })
}

/// An import under way.
struct Import<'a> {
    client: &'a RoomClient,
    args: &'a Args,
    authors: Authors<'a>,
    open: OpenDocument,
    schema: MeshSchema,
    replica: Replica,
    /// What the index is to say beside what it says.
    entries: Vec<Entry>,
    /// How often each path was made in this import: exports may tell a conversation twice.
    seen: HashMap<String, usize>,
    imported: usize,
    existing: usize,
    invalid: usize,
}

impl<'a> Import<'a> {
    async fn begin(client: &'a RoomClient, args: &'a Args) -> Result<Self, CliError> {
        let path = format!("{}/index.threadl", args.thread_dir);
        let new = NewDocument { schema: Some(thread::index_schema()), json: None };
        let open = client.documents().open(&path, Some(&new)).await?;
        let (schema, replica) = read(&path, &open)?;
        let authors = Authors {
            human: &args.user_name,
            assistant: &args.assistant_name,
            with_empty: args.include_empty_messages,
        };
        Ok(Self {
            client,
            args,
            authors,
            open,
            schema,
            replica,
            entries: Vec::new(),
            seen: HashMap::new(),
            imported: 0,
            existing: 0,
            invalid: 0,
        })
    }

    async fn one(&mut self, number: usize, raw: &Value) -> Result<(), CliError> {
        let conversation = match claude::conversation(raw, &self.authors) {
            Ok(conversation) => conversation,
            Err(why) => {
                self.invalid += 1;
                output::note(format!("Skipping conversation {number}: {why}."));
                return Ok(());
            }
        };
        let (name, path) = self.place(&conversation.id);
        let there = self.client.storage().exists(&path).await?;
        if there && !self.args.overwrite {
            self.existing += 1;
        } else {
            if there {
                self.client.storage().delete(&path, false).await?;
            }
            let json = thread::document(&conversation, &name, &self.authors);
            let new = NewDocument { schema: Some(thread::schema()), json: Some(json) };
            self.client.documents().create(&path, &new).await?;
            self.imported += 1;
        }
        self.entries.push(entry(&conversation, name, path, there && !self.args.overwrite));
        if self.entries.len() >= INDEX_EVERY { self.index().await } else { Ok(()) }
    }

    /// Name and path of a conversation's document.
    fn place(&mut self, id: &str) -> (String, String) {
        let name = Uuid::parse_str(id).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_URL, id.as_bytes()));
        let path = format!("{}/{name}", self.args.thread_dir);
        let times = self.seen.entry(path.clone()).or_default();
        *times += 1;
        let path = if *times == 1 { format!("{path}.thread") } else { format!("{path} {times}.thread") };
        (name.to_string(), path)
    }

    /// Writes the entries into the index.
    async fn index(&mut self) -> Result<(), CliError> {
        let internal = |error: String| CliError::internal(error);
        let mut json = self.replica.render(&self.schema).map_err(|error| internal(error.to_string()))?;
        thread::list(&mut json, std::mem::take(&mut self.entries));
        let ids = || System.fresh().to_string();
        let update = self.replica.rewrite(&self.schema, &json, &ids);
        if let Some(update) = update.map_err(|error| internal(error.to_string()))? {
            self.open.send(&update).await?;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<(), CliError> {
        self.index().await?;
        self.open.close().await?;
        output::note(format!(
            "Imported {} thread(s); skipped existing: {}; skipped invalid: {}.",
            self.imported, self.existing, self.invalid
        ));
        Ok(())
    }
}

fn entry(conversation: &Conversation, name: String, path: String, is_old: bool) -> Entry {
    let now = || System.now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let made = conversation.created_at.clone().unwrap_or_else(now);
    Entry {
        name: conversation.name.clone().unwrap_or(name),
        path,
        modified_at: conversation.updated_at.clone().unwrap_or_else(|| made.clone()),
        created_at: made,
        is_old,
    }
}

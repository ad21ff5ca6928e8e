//! `meshagent room memory …`: what the room's agents remember.

mod ingest;

use super::connect;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{Memory, RoomClient};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Look into memories, write to them, and have texts remembered.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the memories of a namespace
    List {
        #[command(flatten)]
        room: RoomArg,
        #[command(flatten)]
        namespace: Namespace,
        #[command(flatten)]
        print: Print,
    },
    /// Make an empty memory
    Create {
        #[command(flatten)]
        which: Which,
        /// In the place of one that is there, with everything in it
        #[arg(long)]
        overwrite: bool,
    },
    /// Remove a memory with everything in it
    Drop {
        #[command(flatten)]
        which: Which,
        /// Be content if there is none
        #[arg(long)]
        ignore_missing: bool,
    },
    /// Show the tables of a memory
    #[command(visible_alias = "get")]
    Inspect {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        print: Print,
    },
    /// Answer a query in a subset of openCypher
    #[command(after_help = "Example:\n  meshagent room memory query -r my-room -m facts \\\n      \
                      -s \"MATCH (p:PERSON)-[:WORKS_AT]->(o) RETURN p.name, o.name LIMIT 10\"")]
    Query {
        #[command(flatten)]
        which: Which,
        /// What to ask
        #[arg(short, long)]
        statement: String,
        #[command(flatten)]
        print: Print,
    },
    /// Add or change rows of a table of the memory
    UpsertTable {
        #[command(flatten)]
        which: Which,
        /// Name of the table; made if it is missing
        #[arg(short, long)]
        table: String,
        #[command(flatten)]
        records: Records,
        #[command(flatten)]
        merge: Merge,
    },
    /// Add or change entities
    UpsertNodes {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        records: Records,
        #[command(flatten)]
        merge: Merge,
    },
    /// Add or change relationships
    UpsertRelationships {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        records: Records,
        #[command(flatten)]
        merge: Merge,
    },
    /// Remember a text and what it speaks of
    IngestText(ingest::Text),
    /// Remember a picture by its caption, annotations and, with a model, what it shows
    IngestImage(ingest::Image),
    /// Remember a file by its text
    IngestFile(ingest::File),
    /// Remember the texts in a dataset's rows
    IngestFromTable(ingest::FromTable),
    /// Remember files of the room's storage
    IngestFromStorage(ingest::FromStorage),
    /// Find the entities that fit a question best
    Recall {
        #[command(flatten)]
        which: Which,
        /// The question
        #[arg(short, long)]
        query: String,
        /// Entities to show at most
        #[arg(long, default_value_t = 5)]
        limit: usize,
        /// Show their relationships [default]
        #[arg(long, overrides_with = "no_include_relationships")]
        include_relationships: bool,
        /// Leave the relationships out
        #[arg(long)]
        no_include_relationships: bool,
        #[command(flatten)]
        print: Print,
    },
    /// Remove entities and their relationships
    DeleteEntities {
        #[command(flatten)]
        which: Which,
        /// Id of an entity; may be given several times
        #[arg(short, long = "entity-id", value_name = "ID", required = true)]
        entity_ids: Vec<String>,
        #[command(flatten)]
        print: Print,
    },
    /// Remove relationships
    DeleteRelationships {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        records: Records,
        #[command(flatten)]
        print: Print,
    },
    /// Compact the tables of a memory
    Optimize {
        #[command(flatten)]
        which: Which,
        /// Rewrite tables compactly [default]
        #[arg(long, overrides_with = "no_compact")]
        compact: bool,
        #[arg(long, hide = true)]
        no_compact: bool,
        /// Remove older versions of the tables [default]
        #[arg(long, overrides_with = "no_cleanup")]
        cleanup: bool,
        #[arg(long, hide = true)]
        no_cleanup: bool,
        #[command(flatten)]
        print: Print,
    },
}

/// A namespace.
#[derive(Debug, clap::Args)]
pub struct Namespace {
    /// Segment of the namespace; may be given several times
    #[arg(short, long = "namespace", value_name = "SEGMENT")]
    namespace: Vec<String>,
}

impl Namespace {
    fn get(&self) -> Option<Vec<String>> {
        (!self.namespace.is_empty()).then(|| self.namespace.clone())
    }
}

/// A memory of a room.
#[derive(Debug, clap::Args)]
pub struct Which {
    #[command(flatten)]
    room: RoomArg,
    /// Name of the memory
    #[arg(short = 'm', long = "name")]
    name: String,
    #[command(flatten)]
    namespace: Namespace,
}

impl Which {
    async fn enter(&self, ctx: &Ctx) -> Result<RoomClient, CliError> {
        connect(ctx, self.room.name()?).await
    }

    fn of<'a>(&self, room: &'a RoomClient) -> Memory<'a> {
        room.memory(&self.name, self.namespace.get())
    }
}

/// Records as JSON.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("records").required(true))]
pub struct Records {
    /// JSON list of objects
    #[arg(long, value_name = "JSON", group = "records")]
    records_json: Option<String>,
    /// File with a JSON list of objects; `-` is stdin
    #[arg(long, value_name = "FILE", group = "records")]
    records_file: Option<PathBuf>,
}

impl Records {
    fn read(&self) -> Result<Value, CliError> {
        let text = match (&self.records_json, &self.records_file) {
            (Some(json), _) => json.clone(),
            (None, Some(file)) => args::read_text(file)?,
            (None, None) => return Err(CliError::usage("pass --records-json JSON or --records-file FILE")),
        };
        let value = args::json_value(&text).map_err(CliError::usage)?;
        let objects = value.as_array().is_some_and(|all| all.iter().all(Value::is_object));
        if objects { Ok(value) } else { Err(CliError::usage("the records must be a JSON list of objects")) }
    }
}

#[derive(Debug, clap::Args)]
pub struct Merge {
    /// Keep values that are not given [default]
    #[arg(long, overrides_with = "no_merge")]
    merge: bool,
    /// Replace whole records
    #[arg(long)]
    no_merge: bool,
}

/// How JSON is printed.
#[derive(Debug, clap::Args)]
pub struct Print {
    /// On several lines [default]
    #[arg(long, overrides_with = "no_pretty")]
    pretty: bool,
    /// On one line
    #[arg(long)]
    no_pretty: bool,
}

impl Print {
    fn json(&self, value: &Value) -> Result<(), CliError> {
        if self.no_pretty { output::line(value.to_string()) } else { output::json(value) }
    }
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room, namespace, print } => {
            let client = connect(ctx, room.name()?).await?;
            print.json(&client.memory("", namespace.get()).list().await?)
        }
        Command::Create { which, overwrite } => {
            let room = which.enter(ctx).await?;
            which.of(&room).create(overwrite, false).await?;
            output::line(format!("Created memory: {}", which.name))
        }
        Command::Drop { which, ignore_missing } => {
            let room = which.enter(ctx).await?;
            which.of(&room).drop(ignore_missing).await?;
            output::line(format!("Dropped memory: {}", which.name))
        }
        Command::Inspect { which, print } => {
            let room = which.enter(ctx).await?;
            print.json(&which.of(&room).inspect().await?)
        }
        Command::Query { which, statement, print } => {
            let room = which.enter(ctx).await?;
            let results = which.of(&room).query(&statement).await?;
            print.json(&json!({"results": results}))
        }
        Command::UpsertTable { which, table, records, merge } => {
            let (records, room) = (records.read()?, which.enter(ctx).await?);
            which.of(&room).upsert_table(&table, &records, !merge.no_merge).await?;
            upserted(&records, &format!("into table {table}"))
        }
        Command::UpsertNodes { which, records, merge } => {
            let (records, room) = (records.read()?, which.enter(ctx).await?);
            which.of(&room).upsert_nodes(&records, !merge.no_merge).await?;
            upserted(&records, "as entities")
        }
        Command::UpsertRelationships { which, records, merge } => {
            let (records, room) = (records.read()?, which.enter(ctx).await?);
            which.of(&room).upsert_relationships(&records, !merge.no_merge).await?;
            upserted(&records, "as relationships")
        }
        Command::IngestText(args) => args.run(ctx).await,
        Command::IngestImage(args) => args.run(ctx).await,
        Command::IngestFile(args) => args.run(ctx).await,
        Command::IngestFromTable(args) => args.run(ctx).await,
        Command::IngestFromStorage(args) => args.run(ctx).await,
        command => find_or_remove(ctx, command).await,
    }
}

async fn find_or_remove(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Recall { which, query, limit, no_include_relationships, print, .. } => {
            let room = which.enter(ctx).await?;
            print.json(&which.of(&room).recall(&query, limit, !no_include_relationships).await?)
        }
        Command::DeleteEntities { which, entity_ids, print } => {
            let room = which.enter(ctx).await?;
            print.json(&which.of(&room).delete_entities(&entity_ids).await?)
        }
        Command::DeleteRelationships { which, records, print } => {
            let (records, room) = (records.read()?, which.enter(ctx).await?);
            print.json(&which.of(&room).delete_relationships(&records).await?)
        }
        Command::Optimize { which, no_compact, no_cleanup, print, .. } => {
            let room = which.enter(ctx).await?;
            print.json(&which.of(&room).optimize(!no_compact, !no_cleanup).await?)
        }
        _ => Ok(()),
    }
}

fn upserted(records: &Value, how: &str) -> Result<(), CliError> {
    output::line(format!("Upserted {} record(s) {how}", records.as_array().map_or(0, Vec::len)))
}

//! Databases as such.

use super::{DatabaseArgs, namespace};
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table, note};
use crate::cli::resolve::{Ctx, RoomArg};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List databases
    List {
        #[command(flatten)]
        room: RoomArg,
        /// Segment of the namespace; give it several times for a path
        #[arg(short, long = "namespace", value_name = "SEGMENT")]
        namespace: Vec<String>,
    },
    /// Make a database
    Create {
        #[command(flatten)]
        database: DatabaseArgs,
        /// create, overwrite or create_if_not_exists
        #[arg(long, default_value = "create")]
        mode: String,
        #[command(flatten)]
        settings: ReplicationArgs,
    },
    /// Delete a database
    Drop {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Do not fail when it does not exist
        #[arg(long)]
        ignore_missing: bool,
    },
    /// Print the number of tables and the size
    Inspect {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print how durable a database is, or change it
    Settings {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        settings: ReplicationArgs,
    },
    /// Write everything to the disk
    Flush(DatabaseArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Writes are on disk when they are acknowledged
    Synchronous,
    /// Writes are on disk within the flush interval
    Asynchronous,
}

#[derive(Debug, clap::Args)]
pub struct ReplicationArgs {
    /// When a change is acknowledged: once on the disk, or once in memory
    #[arg(long, value_enum)]
    replication_mode: Option<Mode>,
    /// 1 to 3600000
    #[arg(long, value_name = "MS")]
    flush_interval_ms: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct Backup {
    #[command(flatten)]
    database: DatabaseArgs,
    /// File to write; it must not exist
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Restore {
    #[command(flatten)]
    database: DatabaseArgs,
    /// SQLite file to upload
    #[arg(long)]
    input: PathBuf,
}

impl ReplicationArgs {
    fn merged_into(&self, mut input: Value) -> Value {
        if let Some(mode) = self.replication_mode {
            let mode = if mode == Mode::Synchronous { "synchronous" } else { "asynchronous" };
            input["replication_mode"] = json!(mode);
        }
        if let Some(interval) = self.flush_interval_ms {
            input["flush_interval_ms"] = json!(interval);
        }
        input
    }

    fn changes(&self) -> bool {
        self.replication_mode.is_some() || self.flush_interval_ms.is_some()
    }
}

impl DatabaseArgs {
    fn named(&self, mut fields: Value) -> Value {
        fields["name"] = json!(self.database);
        fields["namespace"] = self.namespace();
        fields
    }
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room, namespace: segments } => {
            let room = connect(ctx, room.name()?).await?;
            let input = json!({"namespace": namespace(&segments)});
            let answer = room.sqlite().call("list_databases", input).await?;
            let names: Vec<String> = serde_json::from_value(answer["databases"].clone())?;
            if names.is_empty() {
                note("No databases found.");
            }
            names.iter().try_for_each(output::line)
        }
        Command::Create { database, mode, settings } => {
            let input = settings.merged_into(database.named(json!({"mode": mode})));
            database.enter(ctx).await?.sqlite().call("create_database", input).await?;
            output::line(format!("Created database: {}", database.database))
        }
        Command::Drop { database, ignore_missing } => {
            let input = database.named(json!({"ignore_missing": ignore_missing}));
            database.enter(ctx).await?.sqlite().call("drop_database", input).await?;
            output::line(format!("Dropped database: {}", database.database))
        }
        Command::Inspect { database, output } => {
            let room = database.enter(ctx).await?;
            let details = room.sqlite().call("inspect_database", database.named(json!({}))).await?;
            if output.output == Format::Json {
                return output::json(&details);
            }
            let mut table = Table::new(&["name", "namespace", "tables", "size_bytes"]);
            table.object(&details);
            table.print("Nothing to tell.")
        }
        Command::Settings { database, settings } => {
            let tool = if settings.changes() { "update_database_settings" } else { "get_database_settings" };
            let input = settings.merged_into(database.named(json!({})));
            output::json(&database.enter(ctx).await?.sqlite().call(tool, input).await?)
        }
        Command::Flush(database) => {
            let room = database.enter(ctx).await?;
            room.sqlite().call("flush_database", database.named(json!({}))).await?;
            output::line("Everything is on disk")
        }
    }
}

pub async fn backup(ctx: &Ctx, args: Backup) -> Result<(), CliError> {
    let failed =
        |error: std::io::Error| CliError::user(format!("cannot write {}: {error}", args.output.display()));
    let room = args.database.enter(ctx).await?;
    let file =
        tokio::fs::File::options().write(true).create_new(true).open(&args.output).await.map_err(failed)?;
    let copied = room.sqlite().backup(&args.database.database, &args.database.namespace(), file).await;
    if copied.is_err() {
        // What is there is no whole database.
        tokio::fs::remove_file(&args.output).await.map_err(failed)?;
    }
    let size = copied?;
    output::line(format!("Saved database: {} ({size} bytes)", args.output.display()))
}

pub async fn restore(ctx: &Ctx, args: Restore) -> Result<(), CliError> {
    let failed =
        |error: std::io::Error| CliError::user(format!("cannot read {}: {error}", args.input.display()));
    let file = tokio::fs::File::open(&args.input).await.map_err(failed)?;
    let room = args.database.enter(ctx).await?;
    let size = room.sqlite().restore(&args.database.database, &args.database.namespace(), file).await?;
    output::line(format!("Restored database: {} ({size} bytes)", args.database.database))
}

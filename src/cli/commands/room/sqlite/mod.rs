//! `meshagent room sqlite …`: SQLite databases of the room.

mod databases;
mod rows;
mod tables;

use super::connect;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::RoomClient;
use serde_json::{Value, json};

/// SQLite databases of the room.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Databases themselves
    #[command(subcommand)]
    Database(databases::Command),
    /// Download a consistent copy of a database
    Backup(databases::Backup),
    /// Upload a local file as a new database
    Restore(databases::Restore),
    /// List tables
    #[command(name = "table", alias = "tables")]
    Table(DatabaseArgs),
    /// Print the schema of a table
    Inspect(tables::Inspect),
    /// Make a table
    Create(tables::Create),
    /// Read a local file into a new table
    Import(tables::Import),
    /// Delete a table
    Drop(tables::Drop),
    /// Rename a table
    Rename(tables::Rename),
    /// Add columns
    AddColumns(tables::AddColumns),
    /// Drop columns
    DropColumns(tables::DropColumns),
    /// Add rows
    Insert(rows::Insert),
    /// Set columns of the rows that a condition selects
    Update(rows::Update),
    /// Delete the rows that a condition selects
    Delete(rows::Delete),
    /// Read rows; prints JSON
    Search(rows::Search),
    /// Count rows
    Count(rows::Count),
    /// Run one SQL statement
    Sql(rows::Sql),
}

/// A database of a room.
#[derive(Debug, clap::Args)]
pub struct DatabaseArgs {
    #[command(flatten)]
    pub room: RoomArg,
    /// Name of the database
    #[arg(short, long)]
    pub database: String,
    /// Segment of the namespace; give it several times for a path
    #[arg(short, long = "namespace", value_name = "SEGMENT")]
    pub namespace: Vec<String>,
}

/// A table of a database.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Name of the table
    #[arg(short, long)]
    pub table: String,
}

/// A namespace as it goes over the wire.
fn namespace(segments: &[String]) -> Value {
    if segments.is_empty() { Value::Null } else { json!(segments) }
}

impl DatabaseArgs {
    pub async fn enter(&self, ctx: &Ctx) -> Result<RoomClient, CliError> {
        connect(ctx, self.room.name()?).await
    }

    pub fn namespace(&self) -> Value {
        namespace(&self.namespace)
    }

    /// `fields` with the database and the namespace.
    pub fn with(&self, fields: Value) -> Value {
        let mut all = fields;
        all["database"] = json!(self.database);
        all["namespace"] = self.namespace();
        all
    }
}

impl TableArgs {
    /// `fields` with the table.
    pub fn with(&self, fields: Value) -> Value {
        let mut all = self.database.with(fields);
        all["table"] = json!(self.table);
        all
    }

    /// `fields` with the table under `name`.
    pub fn named(&self, fields: Value) -> Value {
        let mut all = self.database.with(fields);
        all["name"] = json!(self.table);
        all
    }

    /// For people.
    pub fn path(&self) -> String {
        format!("{}.{}", self.database.database, self.table)
    }
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Database(command) => databases::run(ctx, command).await,
        Command::Backup(args) => databases::backup(ctx, args).await,
        Command::Restore(args) => databases::restore(ctx, args).await,
        Command::Table(args) => tables::list(ctx, args).await,
        Command::Inspect(args) => tables::inspect(ctx, args).await,
        Command::Create(args) => tables::create(ctx, args).await,
        Command::Import(args) => tables::import(ctx, args).await,
        Command::Drop(args) => tables::drop(ctx, args).await,
        Command::Rename(args) => tables::rename(ctx, args).await,
        Command::AddColumns(args) => tables::add_columns(ctx, args).await,
        Command::DropColumns(args) => tables::drop_columns(ctx, args).await,
        Command::Insert(args) => rows::insert(ctx, args).await,
        Command::Update(args) => rows::update(ctx, args).await,
        Command::Delete(args) => rows::delete(ctx, args).await,
        Command::Search(args) => rows::search(ctx, args).await,
        Command::Count(args) => rows::count(ctx, args).await,
        Command::Sql(args) => rows::sql(ctx, args).await,
    }
}

//! `meshagent room dataset …`: tables with Arrow schemas, versions and branches.

mod rows;
mod sql;
mod tables;
mod versions;

pub use rows::new_values;

use super::connect;
use crate::cli::error::CliError;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::RoomClient;
use serde_json::{Map, Value, json};

/// Tables with Arrow schemas, versions and branches.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List tables
    #[command(name = "table", alias = "tables")]
    Table(PlaceArgs),
    /// Print the schema of a table
    Inspect(tables::Inspect),
    /// Make the tables that a requirements file names
    Install(tables::Install),
    /// Make a table
    Create(tables::Create),
    /// Read a local file into a table
    Import(tables::Import),
    /// Delete a table with its history
    Drop(tables::Drop),
    /// Add columns
    AddColumns(tables::AddColumns),
    /// Drop columns
    DropColumns(tables::DropColumns),
    /// Add rows
    Insert(rows::Insert),
    /// Replace the rows with the same key, add the others
    Merge(rows::Merge),
    /// Set columns of the rows that a condition selects
    Update(rows::Update),
    /// Delete the rows that a condition selects
    Delete(rows::Delete),
    /// Read rows by condition, text or vector; prints JSON
    Search(rows::Search),
    /// Run one SQL statement
    Sql(sql::Sql),
    /// Compact a table and forget old versions
    Optimize(versions::Optimize),
    /// Print how large a table is
    Stats(versions::Stats),
    /// List the versions of a table
    #[command(name = "version", alias = "versions")]
    Version(versions::List),
    /// Make an old version the newest
    Restore(versions::Restore),
    /// List the indexes of a table
    #[command(name = "index", alias = "indexes")]
    Index(versions::Indexes),
    /// Make an index
    IndexCreate(versions::IndexCreate),
    /// Drop an index
    IndexDrop(versions::IndexDrop),
    /// Branches of a namespace
    #[command(subcommand)]
    Branch(versions::Branch),
}

/// A room, a namespace and a branch.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    #[command(flatten)]
    pub room: RoomArg,
    /// Segment of the namespace; give it several times for a path
    #[arg(short, long = "namespace", value_name = "SEGMENT")]
    pub namespace: Vec<String>,
    /// Branch; the main one when absent
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
}

/// A table on a branch.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Name of the table
    #[arg(short, long)]
    pub table: String,
}

/// A table as it is or was.
#[derive(Debug, clap::Args)]
pub struct TableAtArgs {
    #[command(flatten)]
    pub table: TableArgs,
    /// Version to read; the newest when absent
    #[arg(short, long)]
    pub version: Option<u64>,
}

/// JSON for people or for one line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Pretty {
    /// Pretty-print JSON
    #[arg(long, overrides_with = "no_pretty")]
    pretty: bool,
    /// Print JSON on one line
    #[arg(long)]
    no_pretty: bool,
}

impl Pretty {
    pub fn on(self) -> bool {
        !self.no_pretty
    }

    pub fn print(self, value: &Value) -> Result<(), CliError> {
        if self.on() { crate::cli::output::json(value) } else { crate::cli::output::line(value.to_string()) }
    }
}

impl PlaceArgs {
    pub async fn enter(&self, ctx: &Ctx) -> Result<RoomClient, CliError> {
        connect(ctx, self.room.name()?).await
    }

    /// `fields` with the namespace and the branch.
    pub fn with(&self, fields: Value) -> Value {
        let mut all: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
        all.insert("namespace".into(), self.namespace());
        all.insert("branch".into(), json!(self.branch));
        Value::Object(all)
    }

    pub fn namespace(&self) -> Value {
        if self.namespace.is_empty() { Value::Null } else { json!(self.namespace) }
    }
}

impl TableArgs {
    /// `fields` with the table.
    pub fn with(&self, fields: Value) -> Value {
        let mut all = self.place.with(fields);
        all["table"] = json!(self.table);
        all
    }
}

impl TableAtArgs {
    /// `fields` with the table and the version.
    pub fn with(&self, fields: Value) -> Value {
        let mut all = self.table.with(fields);
        all["version"] = json!(self.version);
        all
    }
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Table(args) => tables::list(ctx, args).await,
        Command::Inspect(args) => tables::inspect(ctx, args).await,
        Command::Install(args) => tables::install(ctx, args).await,
        Command::Create(args) => tables::create(ctx, args).await,
        Command::Import(args) => tables::import(ctx, args).await,
        Command::Drop(args) => tables::drop(ctx, args).await,
        Command::AddColumns(args) => tables::add_columns(ctx, args).await,
        Command::DropColumns(args) => tables::drop_columns(ctx, args).await,
        Command::Insert(args) => rows::insert(ctx, args).await,
        Command::Merge(args) => rows::merge(ctx, args).await,
        Command::Update(args) => rows::update(ctx, args).await,
        Command::Delete(args) => rows::delete(ctx, args).await,
        Command::Search(args) => rows::search(ctx, args).await,
        Command::Sql(args) => sql::run(ctx, args).await,
        Command::Optimize(args) => versions::optimize(ctx, args).await,
        Command::Stats(args) => versions::stats(ctx, args).await,
        Command::Version(args) => versions::list(ctx, args).await,
        Command::Restore(args) => versions::restore(ctx, args).await,
        Command::Index(args) => versions::indexes(ctx, args).await,
        Command::IndexCreate(args) => versions::index_create(ctx, args).await,
        Command::IndexDrop(args) => versions::index_drop(ctx, args).await,
        Command::Branch(command) => versions::branch(ctx, command).await,
    }
}

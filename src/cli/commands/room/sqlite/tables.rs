//! Tables of a database and their columns.

use super::{DatabaseArgs, TableArgs};
use crate::cli::commands::room::tables::{FromFile, batch, columns, json_argument, schema_text};
use crate::cli::error::CliError;
use crate::cli::output::{self, note};
use crate::cli::resolve::Ctx;
use arrow_schema::Schema;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Inspect {
    #[command(flatten)]
    table: TableArgs,
    /// Print only the columns
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    table: TableArgs,
    /// create, overwrite or create_if_not_exists
    #[arg(long, default_value = "create")]
    mode: String,
    /// Columns, such as `id int not null, tags list(text), at timestamp`
    #[arg(short, long, value_parser = columns, value_name = "COLUMNS")]
    columns: Option<Schema>,
    /// First rows, a JSON list of objects
    #[arg(long, value_name = "JSON", conflicts_with = "data_file")]
    data_json: Option<String>,
    /// JSON file with the first rows; `-` is stdin
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Import {
    #[command(flatten)]
    table: TableArgs,
    /// Local file
    #[arg(short, long)]
    file: PathBuf,
    /// create or replace
    #[arg(long, default_value = "create")]
    mode: String,
    /// auto, json, jsonl, arrow, parquet, csv, tsv or excel
    #[arg(long, default_value = "auto")]
    format: String,
    /// Sheet of an Excel file [default: the first]
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Rows of a block
    #[arg(long, default_value_t = crate::columnar::files::BATCH_ROWS)]
    batch_size: usize,
}

#[derive(Debug, clap::Args)]
pub struct Drop {
    #[command(flatten)]
    table: TableArgs,
    /// Do not fail when it does not exist
    #[arg(long)]
    ignore_missing: bool,
}

#[derive(Debug, clap::Args)]
pub struct Rename {
    #[command(flatten)]
    table: TableArgs,
    /// Its name from now on
    #[arg(long)]
    new_name: String,
}

#[derive(Debug, clap::Args)]
pub struct AddColumns {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, null in every row
    #[arg(short, long, value_parser = columns, value_name = "COLUMNS")]
    columns: Schema,
}

#[derive(Debug, clap::Args)]
pub struct DropColumns {
    #[command(flatten)]
    table: TableArgs,
    /// Name of a column; may be given several times
    #[arg(short, long = "column", required = true)]
    column: Vec<String>,
}

pub async fn list(ctx: &Ctx, args: DatabaseArgs) -> Result<(), CliError> {
    let room = args.enter(ctx).await?;
    let answer = room.sqlite().call("list_tables", args.with(json!({}))).await?;
    let names: Vec<String> = serde_json::from_value(answer["tables"].clone())?;
    if names.is_empty() {
        note("No tables found.");
    }
    names.iter().try_for_each(output::line)
}

pub async fn inspect(ctx: &Ctx, args: Inspect) -> Result<(), CliError> {
    let room = args.table.database.enter(ctx).await?;
    let schema = room.sqlite().schema(args.table.with(json!({}))).await?;
    if !args.json {
        output::line(args.table.path())?;
    }
    output::line(schema_text(&schema))
}

pub async fn create(ctx: &Ctx, args: Create) -> Result<(), CliError> {
    let data = json_argument(args.data_json.as_deref(), args.data_file.as_deref())?;
    if data.is_none() && args.columns.is_none() {
        return Err(CliError::usage("want --columns, or rows with --data-json or --data-file"));
    }
    let rows = data.map(|data| batch(&data, args.columns.as_ref())).transpose()?;
    let schema = args.columns.or_else(|| rows.as_ref().map(|rows| rows.schema_ref().as_ref().clone()));
    let start = args.table.named(json!({"kind": "start", "mode": args.mode}));
    let room = args.table.database.enter(ctx).await?;
    room.sqlite().write("create_table", start, schema.as_ref(), rows.into_iter().map(Ok)).await?;
    output::line(format!("Created table: {}", args.table.path()))
}

pub async fn import(ctx: &Ctx, args: Import) -> Result<(), CliError> {
    let (mode, done) = match args.mode.as_str() {
        "create" => ("create", "Created"),
        "replace" => ("overwrite", "Replaced"),
        other => return Err(CliError::usage(format!("--mode is create or replace, not `{other}`"))),
    };
    let blocks = FromFile::open(&args.file, &args.format, args.sheet.as_deref(), args.batch_size)?;
    let start = args.table.named(json!({"kind": "start", "mode": mode}));
    let room = args.table.database.enter(ctx).await?;
    let rows = room.sqlite().write("create_table", start, None, blocks).await?;
    output::line(format!("{done} table {} from {}: {rows} row(s)", args.table.path(), args.file.display()))
}

pub async fn drop(ctx: &Ctx, args: Drop) -> Result<(), CliError> {
    let input = args.table.named(json!({"ignore_missing": args.ignore_missing}));
    args.table.database.enter(ctx).await?.sqlite().call("drop_table", input).await?;
    output::line(format!("Dropped table: {}", args.table.path()))
}

pub async fn rename(ctx: &Ctx, args: Rename) -> Result<(), CliError> {
    let input = args.table.named(json!({"new_name": args.new_name}));
    args.table.database.enter(ctx).await?.sqlite().call("rename_table", input).await?;
    output::line(format!("Renamed table {} to {}", args.table.path(), args.new_name))
}

pub async fn add_columns(ctx: &Ctx, args: AddColumns) -> Result<(), CliError> {
    let room = args.table.database.enter(ctx).await?;
    room.sqlite().with_schema("add_columns", args.table.with(json!({})), &args.columns).await?;
    output::line(format!("Added columns to {}", args.table.path()))
}

pub async fn drop_columns(ctx: &Ctx, args: DropColumns) -> Result<(), CliError> {
    let input = args.table.with(json!({"columns": args.column}));
    args.table.database.enter(ctx).await?.sqlite().call("drop_columns", input).await?;
    output::line(format!("Dropped columns from {}", args.table.path()))
}

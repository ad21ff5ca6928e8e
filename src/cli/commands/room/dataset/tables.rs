//! Tables and their columns.

use super::{PlaceArgs, TableArgs, TableAtArgs};
use crate::cli::args;
use crate::cli::commands::room::tables::{FromFile, batch, columns, json_argument, schema_text};
use crate::cli::error::CliError;
use crate::cli::output::{self, note};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::columnar::ipc;
use arrow_schema::Schema;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Inspect {
    #[command(flatten)]
    table: TableAtArgs,
    /// Print only the columns
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct Install {
    #[command(flatten)]
    room: RoomArg,
    /// JSON file `{"tables": [{"table", "schema", "namespace", "scalar_indexes", …}]}`; `-` is stdin
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    table: TableArgs,
    /// create, overwrite or create_if_not_exists
    #[arg(long, default_value = "create")]
    mode: String,
    /// Columns, such as `id int not null, tags list(text), v vector(20)`
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
    /// create, replace or merge
    #[arg(long, default_value = "create")]
    mode: String,
    /// auto, json, jsonl, arrow, parquet, csv, tsv or excel
    #[arg(long, default_value = "auto")]
    format: String,
    /// Column to match, for `--mode merge`
    #[arg(long)]
    on: Option<String>,
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
#[command(group = clap::ArgGroup::new("new").required(true))]
pub struct AddColumns {
    #[command(flatten)]
    table: TableArgs,
    /// Columns, null in every row
    #[arg(short, long, value_parser = columns, value_name = "COLUMNS", group = "new")]
    columns: Option<Schema>,
    /// JSON object of names and the SQL that fills them
    #[arg(long, value_name = "JSON", value_parser = args::json_object, group = "new")]
    columns_json: Option<serde_json::Map<String, Value>>,
}

#[derive(Debug, clap::Args)]
pub struct DropColumns {
    #[command(flatten)]
    table: TableArgs,
    /// Name of a column; may be given several times
    #[arg(short, long = "column", required = true)]
    column: Vec<String>,
}

pub async fn list(ctx: &Ctx, args: PlaceArgs) -> Result<(), CliError> {
    let room = args.enter(ctx).await?;
    let answer = room.datasets().call("list_tables", args.with(json!({}))).await?;
    let names: Vec<String> = serde_json::from_value(answer["tables"].clone())?;
    if names.is_empty() {
        note("No tables found.");
    }
    names.iter().try_for_each(output::line)
}

pub async fn inspect(ctx: &Ctx, args: Inspect) -> Result<(), CliError> {
    let room = args.table.table.place.enter(ctx).await?;
    let schema = room.datasets().schema(args.table.with(json!({}))).await?;
    if !args.json {
        output::line(&args.table.table.table)?;
    }
    output::line(schema_text(&schema))
}

pub async fn install(ctx: &Ctx, args: Install) -> Result<(), CliError> {
    let wrong = |text: String| CliError::user(format!("{}: {text}", args.file.display()));
    let wanted = json_argument(None, Some(&args.file))?.unwrap_or_default();
    let tables = wanted
        .get("tables")
        .and_then(Value::as_array)
        .ok_or_else(|| wrong("want an array `tables`".into()))?;
    let room = super::connect(ctx, args.room.name()?).await?;
    for table in tables {
        let name = table
            .get("table")
            .and_then(Value::as_str)
            .ok_or_else(|| wrong("a table has no `table`".into()))?;
        let encoded = table.get("schema").and_then(Value::as_str).unwrap_or_default();
        let schema = BASE64.decode(encoded).map_err(|error| error.to_string());
        let schema = schema.and_then(|bytes| ipc::decode_schema(&bytes).map_err(|error| error.to_string()));
        let schema = schema
            .map_err(|error| wrong(format!("the schema of `{name}` is no base64 Arrow schema: {error}")))?;
        let namespace = table.get("namespace").cloned().unwrap_or_default();
        let start = json!({
            "kind": "start", "name": name, "mode": "create_if_not_exists", "namespace": namespace, "branch": null,
        });
        room.datasets().write("create_table", start, Some(&schema), std::iter::empty()).await?;
        let there =
            room.datasets().call("list_indexes", json!({"table": name, "namespace": namespace})).await?;
        let has = |column: &str| {
            there["indexes"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|index| index["columns"].as_array().is_some_and(|c| c.contains(&column.into())))
            })
        };
        for (key, kind) in [
            ("vector_indexes", "IVF_PQ"),
            ("full_text_search_indexes", "INVERTED"),
            ("scalar_indexes", "BTREE"),
        ] {
            for column in
                table.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
            {
                if !has(column) {
                    let config = json!({"column": column, "index_type": kind, "replace": true});
                    let input = json!({"table": name, "namespace": namespace, "config": config});
                    room.datasets().call("create_index", input).await?;
                }
            }
        }
        output::line(format!("Installed table {name}"))?;
    }
    Ok(())
}

pub async fn create(ctx: &Ctx, args: Create) -> Result<(), CliError> {
    let data = json_argument(args.data_json.as_deref(), args.data_file.as_deref())?;
    if data.is_none() && args.columns.is_none() {
        return Err(CliError::usage("want --columns, or rows with --data-json or --data-file"));
    }
    let rows = data.map(|data| batch(&data, args.columns.as_ref())).transpose()?;
    let schema = args.columns.or_else(|| rows.as_ref().map(|rows| rows.schema_ref().as_ref().clone()));
    let mut start =
        args.table.place.with(json!({"kind": "start", "name": args.table.table, "mode": args.mode}));
    start["metadata"] = Value::Null;
    let room = args.table.place.enter(ctx).await?;
    room.datasets().write("create_table", start, schema.as_ref(), rows.into_iter().map(Ok)).await?;
    output::line(format!("Created table: {}", args.table.table))
}

pub async fn import(ctx: &Ctx, args: Import) -> Result<(), CliError> {
    let merges = args.mode == "merge";
    let (tool, mode, done) = match (args.mode.as_str(), &args.on) {
        ("merge", None) => return Err(CliError::usage("--mode merge needs --on COLUMN")),
        ("create" | "replace", Some(_)) => return Err(CliError::usage("--on goes with --mode merge only")),
        ("merge", Some(_)) => ("merge", "", "Merged into"),
        ("create", None) => ("create_table", "create", "Created"),
        ("replace", None) => ("create_table", "overwrite", "Replaced"),
        (other, _) => {
            return Err(CliError::usage(format!("--mode is create, replace or merge, not `{other}`")));
        }
    };
    let blocks = FromFile::open(&args.file, &args.format, args.sheet.as_deref(), args.batch_size)?;
    let mut start = args.table.place.with(json!({"kind": "start"}));
    if merges {
        start["table"] = json!(args.table.table);
        start["on"] = json!(args.on);
    } else {
        start["name"] = json!(args.table.table);
        start["mode"] = json!(mode);
    }
    let room = args.table.place.enter(ctx).await?;
    let rows = room.datasets().write(tool, start, None, blocks).await?;
    output::line(format!("{done} table {} from {}: {rows} row(s)", args.table.table, args.file.display()))
}

pub async fn drop(ctx: &Ctx, args: Drop) -> Result<(), CliError> {
    let input = json!({"name": args.table.table, "ignore_missing": args.ignore_missing});
    let room = args.table.place.enter(ctx).await?;
    room.datasets().call("drop_table", args.table.place.with(input)).await?;
    output::line(format!("Dropped table: {}", args.table.table))
}

pub async fn add_columns(ctx: &Ctx, args: AddColumns) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    match (args.columns, args.columns_json) {
        (Some(columns), _) => {
            room.datasets().with_schema("add_columns", args.table.with(json!({})), &columns).await?;
        }
        (None, sql) => {
            let columns: Vec<Value> = sql
                .unwrap_or_default()
                .into_iter()
                .map(|(name, sql)| json!({"name": name, "value_sql": sql}))
                .collect();
            room.datasets().call("add_columns", args.table.with(json!({"columns": columns}))).await?;
        }
    }
    output::line(format!("Added columns to {}", args.table.table))
}

pub async fn drop_columns(ctx: &Ctx, args: DropColumns) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    room.datasets().call("drop_columns", args.table.with(json!({"columns": args.column}))).await?;
    output::line(format!("Dropped columns from {}", args.table.table))
}

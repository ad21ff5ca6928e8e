//! Rows.

use super::{Pretty, TableArgs, TableAtArgs};
use crate::cli::args;
use crate::cli::commands::room::tables::{Rows, print_rows, where_text};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::columnar::typed::{Form, Typed};
use serde_json::{Map, Value, json};

#[derive(Debug, clap::Args)]
pub struct Insert {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, clap::Args)]
pub struct Merge {
    #[command(flatten)]
    table: TableArgs,
    /// Column to match
    #[arg(long)]
    on: String,
    #[command(flatten)]
    rows: Rows,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    #[command(flatten)]
    table: TableArgs,
    /// SQL condition
    #[arg(long = "where", value_name = "SQL")]
    condition: String,
    /// JSON object of columns and values; a value may be {"expression": SQL}
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    values_json: Map<String, Value>,
}

#[derive(Debug, clap::Args)]
pub struct Delete {
    #[command(flatten)]
    table: TableArgs,
    /// SQL condition
    #[arg(long = "where", value_name = "SQL")]
    condition: String,
}

#[derive(Debug, clap::Args)]
pub struct Search {
    #[command(flatten)]
    table: TableAtArgs,
    /// Full-text query
    #[arg(long)]
    text: Option<String>,
    /// Vector, a JSON array of numbers: the nearest rows come first
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    vector_json: Option<Value>,
    /// SQL condition
    #[arg(long = "where", value_name = "SQL", conflicts_with = "where_json")]
    condition: Option<String>,
    /// JSON object of columns and the values they must have
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    where_json: Option<Map<String, Value>>,
    /// Column to read; may be given several times
    #[arg(long, value_name = "COLUMN")]
    select: Vec<String>,
    /// Most rows
    #[arg(long)]
    limit: Option<u64>,
    /// Rows to skip
    #[arg(long)]
    offset: Option<u64>,
    #[command(flatten)]
    pretty: Pretty,
}

pub async fn insert(ctx: &Ctx, args: Insert) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    let schema = room.datasets().schema(args.table.with(json!({}))).await?;
    let rows = args.rows.batch(Some(&schema))?;
    let start = args.table.with(json!({"kind": "start"}));
    let count = room.datasets().write("insert", start, None, std::iter::once(Ok(rows))).await?;
    output::line(format!("Inserted {count} record(s) into {}", args.table.table))
}

pub async fn merge(ctx: &Ctx, args: Merge) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    let schema = room.datasets().schema(args.table.with(json!({}))).await?;
    let rows = args.rows.batch(Some(&schema))?;
    let start = args.table.with(json!({"kind": "start", "on": args.on}));
    let count = room.datasets().write("merge", start, None, std::iter::once(Ok(rows))).await?;
    output::line(format!("Merged {count} record(s) into {} on {}", args.table.table, args.on))
}

pub async fn update(ctx: &Ctx, args: Update) -> Result<(), CliError> {
    let values = new_values(&args.values_json)?;
    let room = args.table.place.enter(ctx).await?;
    let input = args.table.with(json!({"where": args.condition, "values": values}));
    room.datasets().call("update", input).await?;
    output::line(format!("Updated {} where {}", args.table.table, args.condition))
}

/// Values for an update: expressions and typed values as they are, plain arrays and objects as lists and structs.
pub fn new_values(values: &Map<String, Value>) -> Result<Vec<Value>, CliError> {
    let one = |(column, value): (&String, &Value)| {
        let typed = value.get("expression").is_some() || Typed::read(value, Form::Wrapped).is_ok();
        let value = if typed {
            value.clone()
        } else {
            let value = Typed::read(value, Form::Plain)
                .map_err(|reason| CliError::user(format!("the value for column `{column}`: {reason}")))?;
            value.json(Form::Wrapped)
        };
        Ok(json!({"column": column, "value_json": value.to_string()}))
    };
    values.iter().map(one).collect()
}

pub async fn delete(ctx: &Ctx, args: Delete) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    room.datasets().call("delete", args.table.with(json!({"where": args.condition}))).await?;
    output::line(format!("Deleted from {} where {}", args.table.table, args.condition))
}

pub async fn search(ctx: &Ctx, args: Search) -> Result<(), CliError> {
    let condition = match (&args.condition, &args.where_json) {
        (Some(sql), _) => Some(sql.clone()),
        (None, Some(columns)) => Some(where_text(columns)?),
        (None, None) => None,
    };
    let select = if args.select.is_empty() { Value::Null } else { json!(args.select) };
    let start = args.table.with(json!({
        "kind": "start", "text": args.text, "vector": args.vector_json, "text_columns": null, "where": condition,
        "offset": args.offset, "limit": args.limit, "select": select,
    }));
    let room = args.table.table.place.enter(ctx).await?;
    print_rows(room.datasets().read("search", start).await?, args.pretty.on()).await
}

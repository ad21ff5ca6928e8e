//! Rows, and SQL.

use super::{DatabaseArgs, TableArgs};
use crate::cli::args;
use crate::cli::commands::room::dataset::{Pretty, new_values};
use crate::cli::commands::room::tables::{Rows, SqlOutput, json_argument, print_rows, write_sql};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::Ctx;
use crate::client::room::Executed;
use arrow_schema::Schema;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub struct Insert {
    #[command(flatten)]
    table: TableArgs,
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
    /// Parameters of the condition, a JSON array or object
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    params_json: Option<Value>,
}

#[derive(Debug, clap::Args)]
pub struct Delete {
    #[command(flatten)]
    table: TableArgs,
    /// SQL condition
    #[arg(long = "where", value_name = "SQL")]
    condition: String,
    /// Parameters of the condition, a JSON array or object
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    params_json: Option<Value>,
}

/// Which rows.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// SQL condition
    #[arg(long = "where", value_name = "SQL", conflicts_with = "where_json")]
    condition: Option<String>,
    /// JSON object of columns and the values they must have
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    where_json: Option<Map<String, Value>>,
    /// Parameters of the condition, a JSON array or object
    #[arg(long, value_name = "JSON", value_parser = args::json_value)]
    params_json: Option<Value>,
}

#[derive(Debug, clap::Args)]
pub struct Search {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    wanted: Wanted,
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

#[derive(Debug, clap::Args)]
pub struct Count {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, clap::Args)]
pub struct Sql {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The statement
    #[arg(short, long, value_name = "SQL")]
    query: String,
    /// Parameters, a JSON array or object
    #[arg(long, value_name = "JSON", conflicts_with = "params_file")]
    params_json: Option<String>,
    /// JSON file with the parameters
    #[arg(long, value_name = "FILE")]
    params_file: Option<PathBuf>,
    #[command(flatten)]
    output: SqlOutput,
}

impl Wanted {
    fn into(self, mut fields: Value) -> Value {
        fields["where"] = match (self.condition, self.where_json) {
            (Some(sql), _) => json!(sql),
            (None, Some(columns)) => Value::Object(columns),
            (None, None) => Value::Null,
        };
        fields["params"] = json!(self.params_json);
        fields
    }
}

pub async fn insert(ctx: &Ctx, args: Insert) -> Result<(), CliError> {
    let room = args.table.database.enter(ctx).await?;
    let schema = room.sqlite().schema(args.table.with(json!({}))).await?;
    let rows = args.rows.batch(Some(&schema))?;
    let start = args.table.with(json!({"kind": "start"}));
    let count = room.sqlite().write("insert", start, None, std::iter::once(Ok(rows))).await?;
    output::line(format!("Inserted {count} record(s) into {}", args.table.path()))
}

pub async fn update(ctx: &Ctx, args: Update) -> Result<(), CliError> {
    let values = new_values(&args.values_json)?;
    let input =
        args.table.with(json!({"where": args.condition, "values": values, "params": args.params_json}));
    changed(
        args.table.database.enter(ctx).await?.sqlite().call("update", input).await?,
        "Updated",
        &args.table,
    )
}

pub async fn delete(ctx: &Ctx, args: Delete) -> Result<(), CliError> {
    let input = args.table.with(json!({"where": args.condition, "params": args.params_json}));
    changed(
        args.table.database.enter(ctx).await?.sqlite().call("delete", input).await?,
        "Deleted",
        &args.table,
    )
}

fn changed(answer: Value, what: &str, table: &TableArgs) -> Result<(), CliError> {
    output::line(format!("{what} {} row(s) in {}", answer["rows_affected"], table.path()))
}

pub async fn search(ctx: &Ctx, args: Search) -> Result<(), CliError> {
    let select = if args.select.is_empty() { Value::Null } else { json!(args.select) };
    let start = json!({"kind": "start", "offset": args.offset, "limit": args.limit, "select": select});
    let start = args.wanted.into(args.table.with(start));
    let room = args.table.database.enter(ctx).await?;
    print_rows(room.sqlite().read("search", start).await?, args.pretty.on()).await
}

pub async fn count(ctx: &Ctx, args: Count) -> Result<(), CliError> {
    let input = args.wanted.into(args.table.with(json!({})));
    let answer = args.table.database.enter(ctx).await?.sqlite().call("count", input).await?;
    output::line(answer["count"].to_string())
}

pub async fn sql(ctx: &Ctx, args: Sql) -> Result<(), CliError> {
    let params = json_argument(args.params_json.as_deref(), args.params_file.as_deref())?;
    let headers = args.database.with(json!({"query": args.query, "params": params}));
    let room = args.database.enter(ctx).await?;
    match room.sqlite().execute(headers, None).await? {
        Executed::Affected(rows) => write_sql(&args.output, Arc::new(Schema::empty()), None, rows).await,
        Executed::Rows(query) => {
            let rows = room.sqlite().read_query(&query).await?;
            let written = write_sql(&args.output, query.schema.clone(), Some(rows), 0).await;
            room.sqlite().close_query(&query).await?;
            written
        }
    }
}

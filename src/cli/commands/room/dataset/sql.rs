//! SQL over datasets.

use super::{PlaceArgs, Value, json};
use crate::cli::commands::room::tables::{SqlOutput, batch, json_argument, write_sql};
use crate::cli::error::CliError;
use crate::cli::resolve::Ctx;
use crate::client::room::Executed;
use arrow_schema::Schema;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub struct Sql {
    #[command(flatten)]
    place: PlaceArgs,
    /// The statement
    #[arg(short, long, value_name = "SQL")]
    query: String,
    /// A table that the statement names; may be given several times. Without any: all of the namespace
    #[arg(short, long = "table")]
    table: Vec<String>,
    /// JSON list of tables: {"name", "namespace", "alias", "branch", "version"}
    #[arg(long, value_name = "JSON", conflicts_with = "tables_file")]
    tables_json: Option<String>,
    /// JSON file with that list
    #[arg(long, value_name = "FILE")]
    tables_file: Option<PathBuf>,
    /// JSON object of parameters, `$name` in the statement
    #[arg(long, value_name = "JSON", conflicts_with = "params_file")]
    params_json: Option<String>,
    /// JSON file with the parameters
    #[arg(long, value_name = "FILE")]
    params_file: Option<PathBuf>,
    /// Version of the tables to read
    #[arg(short, long)]
    version: Option<u64>,
    #[command(flatten)]
    output: SqlOutput,
}

pub async fn run(ctx: &Ctx, args: Sql) -> Result<(), CliError> {
    let params = match json_argument(args.params_json.as_deref(), args.params_file.as_deref())? {
        None => None,
        Some(params @ Value::Object(_)) => Some(batch(&Value::Array(vec![params]), None)?),
        Some(_) => return Err(CliError::user("the parameters must be a JSON object")),
    };
    let headers = args.place.with(json!({"query": args.query, "tables": tables(&args)?}));
    let room = args.place.enter(ctx).await?;
    match room.datasets().execute(headers, params.as_ref()).await? {
        Executed::Affected(rows) => write_sql(&args.output, Arc::new(Schema::empty()), None, rows).await,
        Executed::Rows(query) => {
            let rows = room.datasets().read_query(&query).await?;
            let written = write_sql(&args.output, query.schema.clone(), Some(rows), 0).await;
            room.datasets().close_query(&query).await?;
            written
        }
    }
}

/// The tables that are named, with what the flags say of all of them.
fn tables(args: &Sql) -> Result<Vec<Value>, CliError> {
    let mut tables: Vec<Value> = args.table.iter().map(|name| json!({"name": name})).collect();
    match json_argument(args.tables_json.as_deref(), args.tables_file.as_deref())? {
        None => {}
        Some(Value::Array(more)) => tables.extend(more),
        Some(_) => return Err(CliError::user("the tables must be a JSON list")),
    }
    for table in &mut tables {
        let Value::Object(fields) = table else {
            return Err(CliError::user("each table must be a JSON object with a `name`"));
        };
        fields.entry("namespace").or_insert(args.place.namespace());
        fields.entry("branch").or_insert(json!(args.place.branch));
        fields.entry("version").or_insert(json!(args.version));
    }
    Ok(tables)
}

//! Versions, indexes, branches and upkeep.

use super::{PlaceArgs, Pretty, TableArgs, TableAtArgs};
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use serde_json::{Map, Value, json};

#[derive(Debug, clap::Args)]
pub struct Optimize {
    #[command(flatten)]
    table: TableArgs,
    /// Leave the rows as they lie
    #[arg(long)]
    no_compact_files: bool,
    /// Merge small pieces (the default)
    #[arg(long, conflicts_with = "no_compact_files")]
    compact_files: bool,
    /// Leave the indexes alone
    #[arg(long)]
    no_optimize_indices: bool,
    /// Bring the indexes up to date (the default)
    #[arg(long, conflicts_with = "no_optimize_indices")]
    optimize_indices: bool,
    /// Forget old versions
    #[arg(long)]
    cleanup_old_versions: bool,
    /// Age of the versions to forget, seconds
    #[arg(long, value_name = "SECONDS")]
    older_than_seconds: Option<f64>,
    /// Versions to keep at least
    #[arg(long, value_name = "COUNT")]
    retain_versions: Option<u64>,
    /// More settings, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    config_json: Option<Map<String, Value>>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct Stats {
    #[command(flatten)]
    table: TableAtArgs,
    #[arg(long, hide = true)]
    max_rows_per_group: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    pretty: Pretty,
}

#[derive(Debug, clap::Args)]
pub struct Restore {
    #[command(flatten)]
    table: TableArgs,
    /// Version to go back to
    #[arg(short, long)]
    version: u64,
}

#[derive(Debug, clap::Args)]
pub struct Indexes {
    #[command(flatten)]
    table: TableAtArgs,
    #[command(flatten)]
    pretty: Pretty,
}

#[derive(Debug, clap::Args)]
pub struct IndexCreate {
    #[command(flatten)]
    table: TableArgs,
    /// Column; may be given several times
    #[arg(short, long = "column")]
    column: Vec<String>,
    /// BTREE, BITMAP, FTS, INVERTED, IVF_PQ, …
    #[arg(long, value_name = "TYPE")]
    index_type: Option<String>,
    /// Name of the index
    #[arg(long)]
    name: Option<String>,
    /// Distance of a vector index: l2, cosine or dot
    #[arg(long)]
    metric: Option<String>,
    /// Replace an index of that name
    #[arg(long, overrides_with = "no_replace")]
    replace: bool,
    /// Fail when there is an index of that name
    #[arg(long)]
    no_replace: bool,
    /// Partitions of a vector index
    #[arg(long, value_name = "COUNT")]
    num_partitions: Option<u64>,
    /// Language of a text index
    #[arg(long)]
    language: Option<String>,
    /// Reduce words of a text index to their stem
    #[arg(long)]
    stem: bool,
    /// More settings, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    config_json: Option<Map<String, Value>>,
}

#[derive(Debug, clap::Args)]
pub struct IndexDrop {
    #[command(flatten)]
    table: TableArgs,
    /// Name of the index
    #[arg(long)]
    name: String,
}

#[derive(Debug, clap::Subcommand)]
pub enum Branch {
    /// List branches
    List {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        pretty: Pretty,
    },
    /// Print one branch, named with --branch
    Get {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        pretty: Pretty,
    },
    /// Make a branch, named with --branch
    Create {
        #[command(flatten)]
        place: PlaceArgs,
        /// Branch it starts from; the main one when absent
        #[arg(long, value_name = "BRANCH")]
        from_branch: Option<String>,
    },
    /// Delete a branch, named with --branch
    Delete(PlaceArgs),
}

pub async fn optimize(ctx: &Ctx, args: Optimize) -> Result<(), CliError> {
    let mut config = args.config_json.unwrap_or_default();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            config.insert(name.into(), value);
        }
    };
    set("compact_files", if args.no_compact_files { json!(false) } else { Value::Null });
    set("optimize_indices", if args.no_optimize_indices { json!(false) } else { Value::Null });
    set("cleanup_old_versions", if args.cleanup_old_versions { json!(true) } else { Value::Null });
    set("older_than_seconds", json!(args.older_than_seconds));
    set("retain_versions", json!(args.retain_versions));
    let config = if config.is_empty() { Value::Null } else { Value::Object(config) };
    let room = args.table.place.enter(ctx).await?;
    let result = room.datasets().call("optimize", args.table.with(json!({"config": config}))).await?;
    groups(args.output.output, &result)
}

pub async fn stats(ctx: &Ctx, args: Stats) -> Result<(), CliError> {
    let room = args.table.table.place.enter(ctx).await?;
    let input = args.table.with(json!({"max_rows_per_group": args.max_rows_per_group}));
    groups(args.output.output, &room.datasets().call("stats", input).await?)
}

/// Numbers in groups, as JSON or as a table.
fn groups(format: Format, result: &Value) -> Result<(), CliError> {
    if format == Format::Json {
        return output::json(result);
    }
    let mut table = Table::new(&["group", "name", "value"]);
    for (group, values) in result.as_object().into_iter().flatten() {
        match values {
            Value::Object(values) => {
                for (name, value) in values {
                    table.row([group.clone(), name.clone(), output::cell(Some(value))]);
                }
            }
            other => table.row([group.clone(), String::new(), output::cell(Some(other))]),
        }
    }
    table.print("Nothing to tell.")
}

pub async fn list(ctx: &Ctx, args: List) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    let mut answer = room.datasets().call("list_versions", args.table.with(json!({}))).await?;
    unpack(&mut answer["versions"], &[("metadata_json", "metadata")])?;
    args.pretty.print(&answer["versions"])
}

pub async fn restore(ctx: &Ctx, args: Restore) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    room.datasets().call("restore", args.table.with(json!({"version": args.version}))).await?;
    output::line(format!("Restored {} to version {}", args.table.table, args.version))
}

pub async fn indexes(ctx: &Ctx, args: Indexes) -> Result<(), CliError> {
    let room = args.table.table.place.enter(ctx).await?;
    let mut answer = room.datasets().call("list_indexes", args.table.with(json!({}))).await?;
    unpack(&mut answer["indexes"], &[("details_json", "details"), ("statistics_json", "statistics")])?;
    args.pretty.print(&answer["indexes"])
}

/// Puts JSON that stands as text in its place.
fn unpack(list: &mut Value, names: &[(&str, &str)]) -> Result<(), CliError> {
    for entry in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        for (packed, name) in names {
            if let Some(Value::String(text)) = entry.remove(*packed) {
                entry.insert((*name).to_owned(), serde_json::from_str(&text)?);
            }
        }
    }
    Ok(())
}

pub async fn index_create(ctx: &Ctx, args: IndexCreate) -> Result<(), CliError> {
    let mut config = args.config_json.unwrap_or_default();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            config.insert(name.into(), value);
        }
    };
    match args.column.as_slice() {
        [] => {}
        [column] => set("column", json!(column)),
        columns => set("column", json!(columns)),
    }
    set("index_type", json!(args.index_type));
    set("name", json!(args.name));
    set("metric", json!(args.metric));
    set("num_partitions", json!(args.num_partitions));
    set("language", json!(args.language));
    set("stem", if args.stem { json!(true) } else { Value::Null });
    if args.replace || args.no_replace {
        set("replace", json!(!args.no_replace));
    }
    if !config.contains_key("column") || !config.contains_key("index_type") {
        return Err(CliError::usage("want --column and --index-type, as flags or in --config-json"));
    }
    let room = args.table.place.enter(ctx).await?;
    room.datasets().call("create_index", args.table.with(json!({"config": config}))).await?;
    output::line(format!("Created index on {}", args.table.table))
}

pub async fn index_drop(ctx: &Ctx, args: IndexDrop) -> Result<(), CliError> {
    let room = args.table.place.enter(ctx).await?;
    room.datasets().call("drop_index", args.table.with(json!({"name": args.name}))).await?;
    output::line(format!("Dropped index {} on {}", args.name, args.table.table))
}

pub async fn branch(ctx: &Ctx, command: Branch) -> Result<(), CliError> {
    match command {
        Branch::List { place, pretty } => {
            let room = place.enter(ctx).await?;
            let answer =
                room.datasets().call("list_branches", json!({"namespace": place.namespace()})).await?;
            pretty.print(&answer["branches"])
        }
        Branch::Get { place, pretty } => {
            let name = named(&place)?.to_owned();
            let room = place.enter(ctx).await?;
            let answer =
                room.datasets().call("list_branches", json!({"namespace": place.namespace()})).await?;
            let branches = answer["branches"].as_array().cloned().unwrap_or_default();
            if let Some(branch) = branches.iter().find(|branch| branch["name"] == *name) {
                pretty.print(branch)
            } else {
                let there = branches.iter().filter_map(|branch| branch["name"].as_str());
                Err(crate::cli::commands::room::missing("branch", &name, there))
            }
        }
        Branch::Create { place, from_branch } => {
            let name = named(&place)?;
            let room = place.enter(ctx).await?;
            let input = json!({"branch": name, "from_branch": from_branch, "namespace": place.namespace()});
            room.datasets().call("create_branch", input).await?;
            output::line(format!("Created branch {name} from {}", from_branch.as_deref().unwrap_or("main")))
        }
        Branch::Delete(place) => {
            let name = named(&place)?;
            let room = place.enter(ctx).await?;
            let input = json!({"branch": name, "namespace": place.namespace()});
            room.datasets().call("delete_branch", input).await?;
            output::line(format!("Deleted branch {name}"))
        }
    }
}

fn named(place: &PlaceArgs) -> Result<&str, CliError> {
    place.branch.as_deref().ok_or_else(|| CliError::usage("want --branch BRANCH"))
}

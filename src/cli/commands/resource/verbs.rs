//! `get`, `describe`, `delete`.

use super::kind::Kind;
use super::{Subject, store};
use crate::cli::commands::room::{self, service};
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, Table};
use crate::cli::resolve::Ctx;
use serde_json::{Map, Value, json};

/// Facts shown by `describe`.
const EVENTS_SHOWN: usize = 20;

/// List resources of a kind, or show one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meshagent get rooms\n  meshagent get service/my-agent --room my-room -o json"
)]
pub struct GetArgs {
    #[command(flatten)]
    subject: Subject,
    /// As it was then, as documents
    #[arg(long, value_name = "POSITION|TIME")]
    at: Option<String>,
    /// How to print it: yaml and wide tell the state too
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    output: Form,
}

/// How `get` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Form {
    /// Aligned columns for people.
    #[default]
    Table,
    /// More columns: whether it is ready, why, whether it is paused, and how often it failed.
    Wide,
    /// JSON for programs.
    Json,
    /// The document with its sources and its state.
    Yaml,
}

/// Columns of `wide` and their places in a resource.
const WIDE: [(&str, &str); 5] = [
    ("ready", "/ready"),
    ("reason", "/reason"),
    ("paused", "/status/reconcile/pausedSince"),
    ("failed", "/status/reconcile/attempts"),
    ("next", "/status/reconcile/nextAttempt"),
];

/// Show one resource with its state and what happened to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  meshagent describe service/my-agent --room my-room")]
pub struct DescribeArgs {
    #[command(flatten)]
    subject: Subject,
}

/// Delete a resource.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  meshagent delete service/my-agent --room my-room")]
pub struct DeleteArgs {
    #[command(flatten)]
    subject: Subject,
    /// Succeed if it is not there
    #[arg(long)]
    ignore_not_found: bool,
}

pub async fn get(ctx: &Ctx, args: GetArgs) -> Result<(), CliError> {
    let (kind, name) = args.subject.resolve()?;
    let room = args.subject.room.as_deref();
    let json = args.output == Form::Json;
    if let Some(at) = &args.at {
        return then(ctx, kind, name, room, at, if json { Format::Json } else { Format::Table }).await;
    }
    if matches!(args.output, Form::Wide | Form::Yaml) {
        return told(ctx, kind, name, room, args.output).await;
    }
    let (resources, whole) = match name {
        Some(name) => (vec![store::find(ctx, kind, name, room).await?], false),
        None => (store::list(ctx, kind, room).await?, true),
    };
    if json {
        let listing = || Value::Object(Map::from_iter([(kind.plural(), Value::from(resources.clone()))]));
        return output::json(&if whole { listing() } else { resources[0].clone() });
    }
    let mut table = Table::new(&kind.columns());
    for resource in &resources {
        table.row(kind.cells(resource));
    }
    table.print(&format!("No {} found.", kind.plural().replace('_', " ")))
}

/// Resources with their state.
async fn told(
    ctx: &Ctx,
    kind: Kind,
    name: Option<&str>,
    room: Option<&str>,
    form: Form,
) -> Result<(), CliError> {
    let project = ctx.project()?;
    let query: Vec<_> = room.map(|room| ("room", room.to_owned())).into_iter().collect();
    if crate::spec::Kind::from_argument(kind.name()).is_none_or(|kind| kind == crate::spec::Kind::Project) {
        let error =
            CliError::usage(format!("a {} has no document, and no state that is told so", kind.name()));
        return Err(error.hint("leave -o out, or take -o json"));
    }
    let resources = match name {
        None => project.resources(kind.name(), &query).await?,
        Some(name) => match project.resource(kind.name(), name, &query).await? {
            Some(found) => vec![found],
            None => {
                return Err(store::find(ctx, kind, name, room)
                    .await
                    .err()
                    .unwrap_or_else(|| missing(kind, name)));
            }
        },
    };
    if form == Form::Yaml {
        let text = match resources.as_slice() {
            [one] if name.is_some() => serde_yaml::to_string(one),
            all => serde_yaml::to_string(all),
        };
        let text = text.map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))?;
        return output::data(&text);
    }
    let heads: Vec<&str> = ["room", "name"].into_iter().chain(WIDE.map(|(head, _)| head)).collect();
    let mut table = Table::new(&heads);
    for resource in &resources {
        let conditions = resource.status["conditions"].as_array();
        let ready = conditions.and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
        let mut row = json!(resource);
        row["ready"] = ready.map(|ready| ready["status"].clone()).unwrap_or_default();
        row["reason"] = ready.map(|ready| ready["reason"].clone()).unwrap_or_default();
        let cells = WIDE.iter().map(|(_, place)| output::cell(row.pointer(place)));
        let place = [resource.room.clone().unwrap_or_default(), resource.name.clone()];
        table.row(place.into_iter().chain(cells));
    }
    table.print(&format!("No {} found.", kind.plural().replace('_', " ")))
}

fn missing(kind: Kind, name: &str) -> CliError {
    CliError::user(format!("there is no {} `{name}`", kind.name()))
}

/// Resources as they were at a moment.
async fn then(
    ctx: &Ctx,
    kind: Kind,
    name: Option<&str>,
    room: Option<&str>,
    at: &str,
    format: Format,
) -> Result<(), CliError> {
    let project = ctx.project()?;
    let mut query = vec![("at", at.to_owned())];
    query.extend(room.map(|room| ("room", room.to_owned())));
    let resources = match name {
        None => project.resources(kind.name(), &query).await?,
        Some(name) => {
            let found = project.resource(kind.name(), name, &query).await?;
            vec![found.ok_or_else(|| CliError::user(format!("there was no {} `{name}` then", kind.name())))?]
        }
    };
    if format == Format::Json {
        let documents: Vec<&Value> = resources.iter().map(|resource| &resource.document).collect();
        return match documents.as_slice() {
            [document] if name.is_some() => output::json(document),
            documents => output::json(&documents),
        };
    }
    let mut table = Table::new(&["id", "room", "name", "generation"]);
    for resource in &resources {
        table.object(&json!(resource));
    }
    table.print(&format!("There were no {} then.", kind.plural().replace('_', " ")))
}

pub async fn describe(ctx: &Ctx, args: DescribeArgs) -> Result<(), CliError> {
    let (kind, name) = args.subject.resolve_one()?;
    let room = args.subject.room.as_deref();
    let resource = store::find(ctx, kind, name, room).await?;
    output::line(kind.label(&resource))?;
    let text = serde_yaml::to_string(&resource)
        .map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))?;
    output::data(&indent(&text))?;
    if matches!(kind, Kind::Room) {
        run_of(ctx, &resource).await?;
    }
    if let (Kind::Service, Some(room)) = (kind, room) {
        state(ctx, room, &resource).await?;
    }
    events(ctx, kind.names(&resource)[1]).await
}

/// Whether the room runs, its limits, and what it uses of them.
async fn run_of(ctx: &Ctx, room: &Value) -> Result<(), CliError> {
    let status = ctx.project()?.room_status(room["name"].as_str().unwrap_or_default()).await?;
    let text = serde_yaml::to_string(&status)
        .map_err(|error| CliError::internal(format!("cannot write this as YAML: {error}")))?;
    output::line("\nState:")?;
    output::data(&indent(&text))
}

/// How the service runs in this room.
async fn state(ctx: &Ctx, room: &str, resource: &Value) -> Result<(), CliError> {
    output::line(format!("\nState in room {room}:"))?;
    match room::connect(ctx, room).await {
        Ok(client) => {
            let services = service::fetch(&client).await?;
            match services.iter().find(|running| running.spec["id"] == resource["id"]) {
                Some(running) => service::describe(running),
                None => output::line("  not listed by the room"),
            }
        }
        Err(error) => {
            output::note(format!("the room could not be asked: {error}"));
            Ok(())
        }
    }
}

async fn events(ctx: &Ctx, id: &str) -> Result<(), CliError> {
    output::line("\nEvents:")?;
    let query = [("subject", id.to_owned()), ("limit", EVENTS_SHOWN.to_string())];
    let answer = match ctx.rest()?.events(&query).await {
        Ok(answer) => answer,
        Err(error) => {
            output::note(format!("the log could not be read: {error}"));
            return Ok(());
        }
    };
    let mut table = Table::new(&["position", "recorded_at", "kind", "actor"]);
    for event in answer["events"].as_array().into_iter().flatten() {
        let actor = event.pointer("/metadata/actor").cloned();
        table.object(&json!({
            "position": event["position"], "recorded_at": event["recorded_at"], "kind": event["kind"],
            "actor": actor,
        }));
    }
    table.print("No events yet.")
}

pub async fn delete(ctx: &Ctx, args: DeleteArgs) -> Result<(), CliError> {
    let (kind, name) = args.subject.resolve_one()?;
    let room = args.subject.room.as_deref();
    if args.ignore_not_found && store::look_up(ctx, kind, name, room).await?.is_none() {
        output::note(format!("{}/{name} is not there", kind.name()));
        return Ok(());
    }
    let resource = store::find(ctx, kind, name, room).await?;
    store::delete(ctx, kind, &resource, room).await?;
    output::line(format!("{} deleted", kind.label(&resource)))
}

fn indent(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

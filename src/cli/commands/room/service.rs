//! `meshagent room service …`: services as they run.

use super::{connect, missing};
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::RoomClient;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

/// Look at the services of a room as they run.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List services with their state
    List {
        #[command(flatten)]
        room: RoomArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one service and what happened to it
    Describe {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Start a service anew
    Restart(Which),
}

/// A service by `--id` or `--name`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub struct Which {
    #[command(flatten)]
    room: RoomArg,
    /// Id of the service
    #[arg(long, group = "which")]
    id: Option<String>,
    /// Name of the service
    #[arg(long, group = "which")]
    name: Option<String>,
}

const COLUMNS: [&str; 12] = [
    "id",
    "name",
    "image",
    "state",
    "ports",
    "container_id",
    "started_at",
    "restart_scheduled_at",
    "restart_count",
    "last_exit_code",
    "last_start_error",
    "events",
];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room, output } => {
            let services = fetch(&connect(ctx, room.name()?).await?).await?;
            if output.output == Format::Json {
                let (specs, states): (Vec<_>, Vec<_>) =
                    services.into_iter().map(|service| (service.spec, service.state)).unzip();
                let states: Vec<Value> = states.into_iter().filter(|state| !state.is_null()).collect();
                return output::json(&json!({"services": specs, "service_states": states}));
            }
            let mut table = Table::new(&COLUMNS);
            for service in &services {
                table.object(&service.row());
            }
            table.print("No services found.")
        }
        Command::Describe { which, output } => {
            let service = find(&connect(ctx, which.room.name()?).await?, &which).await?;
            match output.output {
                Format::Json => {
                    output::json(&json!({"service": service.spec, "service_state": service.state}))
                }
                Format::Table => describe(&service),
            }
        }
        Command::Restart(which) => {
            let client = connect(ctx, which.room.name()?).await?;
            let service = find(&client, &which).await?;
            client.invoke_json("services", "restart", json!({"service_id": service.id()})).await?;
            output::note(format!("Restarted service: {}", service.name()));
            Ok(())
        }
    }
}

/// A service: its document and its state, null where the room reports none.
#[derive(Debug)]
pub struct Service {
    pub spec: Value,
    pub state: Value,
}

impl Service {
    fn id(&self) -> &str {
        self.spec["id"].as_str().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.spec.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    fn row(&self) -> Value {
        let state = &self.state;
        let ports = self.spec["ports"].as_array().cloned().unwrap_or_default();
        let ports: Vec<String> = ports.iter().map(|port| output::cell(port.get("num"))).collect();
        let events = state["events"].as_array().map_or(0, Vec::len);
        json!({
            "id": self.id(), "name": self.name(), "image": self.spec.pointer("/container/image"),
            "state": state["state"], "ports": ports.join(","), "container_id": state["container_id"],
            "started_at": time(&state["started_at"]),
            "restart_scheduled_at": time(&state["restart_scheduled_at"]),
            "restart_count": state["restart_count"], "last_exit_code": state["last_exit_code"],
            "last_start_error": state["last_start_error"], "events": events,
        })
    }
}

/// Seconds since 1970 as a text people read; anything else as it is.
fn time(value: &Value) -> Value {
    let millis = value.as_f64().map(|seconds| seconds * 1000.0);
    #[allow(clippy::cast_possible_truncation, reason = "a time of milliseconds fits")]
    let time = millis.and_then(|millis| DateTime::from_timestamp_millis(millis as i64));
    time.map_or(value.clone(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true).into())
}

/// The services that the room lists.
pub async fn fetch(client: &RoomClient) -> Result<Vec<Service>, CliError> {
    let answer = client.invoke_json("services", "list", json!({})).await?;
    let texts = answer["services_json"].as_array().cloned().unwrap_or_default();
    let states = answer["service_states"].as_array().cloned().unwrap_or_default();
    let services = texts.iter().filter_map(Value::as_str).map(|text| {
        let spec: Value = serde_json::from_str(text).map_err(|error| {
            CliError::server(format!("the room listed a service that is not JSON: {error}"))
        })?;
        let state = states.iter().find(|state| state["service_id"] == spec["id"]);
        Ok(Service { state: state.cloned().unwrap_or_default(), spec })
    });
    services.collect()
}

async fn find(client: &RoomClient, which: &Which) -> Result<Service, CliError> {
    let mut services = fetch(client).await?;
    let wanted = which.id.as_deref().or(which.name.as_deref()).unwrap_or_default();
    let found = services.iter().position(|service| match &which.id {
        Some(id) => service.id() == id,
        None => service.name() == wanted,
    });
    match found {
        Some(index) => Ok(services.swap_remove(index)),
        None => Err(missing("service", wanted, services.iter().map(Service::name))),
    }
}

/// Prints a service's state and what happened to it.
pub fn describe(service: &Service) -> Result<(), CliError> {
    let row = service.row();
    for column in COLUMNS.iter().filter(|column| **column != "events") {
        output::line(format!("{column:22}{}", output::cell(row.get(*column))))?;
    }
    let mut table = Table::new(&["last_timestamp", "type", "reason", "count", "message"]);
    for event in service.state["events"].as_array().into_iter().flatten() {
        let mut event = event.clone();
        event["last_timestamp"] = time(&event["last_timestamp"]);
        table.object(&event);
    }
    output::line("")?;
    table.print("No events yet.")
}

//! `meshagent process deploy`: the Service document of an agent, made or replaced on the server.

use super::args::{ProcessArgs, ServiceArgs};
use super::spec;
use crate::cli::commands::service::{logical_id, put_service};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, Globals};
use crate::client::rest::{ServiceBody, ServiceScope};
use serde_json::Value;

/// `process deploy`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_override_self = true)]
pub struct DeployArgs {
    /// Room to deploy to [default: every room of the project]
    #[arg(long, env = "MESHAGENT_ROOM", value_name = "ROOM", hide_env_values = true)]
    pub room: Option<String>,

    /// Deploy to every room of the project, whatever MESHAGENT_ROOM says
    #[arg(long)]
    pub global: bool,

    #[command(flatten)]
    pub service: ServiceArgs,

    #[command(flatten)]
    pub process: ProcessArgs,
}

/// Creates the service, or replaces the one of the same name or logical id in the same place.
pub async fn run(globals: Globals, args: &DeployArgs, argv: &[String]) -> Result<(), CliError> {
    let text = spec::yaml(&args.service, &args.process, argv)?;
    let room = args.room.as_deref().filter(|_| !args.global);
    let id = put(globals, &text, room).await?;
    for flag in args.process.unsupported() {
        output::note(format!("warning: this version does not support {flag}; the agent runs without it"));
    }
    output::line(format!("Deployed service: {id}"))
}

/// Creates the service of a document, or replaces the one of the same name or logical id in the same place; its id.
pub async fn put(globals: Globals, text: &str, room: Option<&str>) -> Result<String, CliError> {
    let document: Value = serde_yaml::from_str(text)
        .map_err(|error| CliError::internal(format!("the agent's own document does not read: {error}")))?;
    let scope = match room.filter(|room| !room.is_empty()) {
        Some(room) => ServiceScope::Room(room.to_owned()),
        None => ServiceScope::Project,
    };
    let project = Ctx::load(globals)?.project()?;
    let name = document["metadata"]["name"].as_str().unwrap_or_default();
    let services = project.services(&scope).await?;
    let same = services
        .iter()
        .find(|service| logical_id(service) == Some(name) || service["metadata"]["name"] == name);
    let existing = same.and_then(|service| service["id"].as_str());
    put_service(&project, &scope, existing, &ServiceBody::Spec(document.clone())).await
}

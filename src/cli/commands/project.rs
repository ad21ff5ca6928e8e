//! `meshagent project …`.

mod users;

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::Project;
use crate::spec::router::Router;
use crate::spec::{ROOM_ROLES_NAME, RoleSettings, RoomRolesMetadata};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Work with projects. A project holds rooms, services, keys and all else.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a project; prints its id
    Create { name: String },
    /// List the projects this credential may see; the active one is starred
    List(OutputArgs),
    /// Show one project
    Get {
        /// Id or key of the project
        project: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a project the default of later commands
    Activate {
        /// Id or key of the project
        project: String,
    },
    /// Members: people, by address, and their roles in the project
    #[command(subcommand)]
    Users(users::Command),
    /// Set what each role of a user may do in rooms, from a file of kind RoomRoles
    #[command(after_help = "Example of a file:\n  \
                            version: v1\n  kind: RoomRoles\n  roles:\n    viewer:\n      participant:\n        \
                            api: {messaging: {}, queues: {send: [questions]}}")]
    SetRoomRoles {
        /// File; `-` is stdin
        file: PathBuf,
    },
    /// Forget what was set: roles may do what they usually may
    ResetRoomRoles,
    /// Print which models and programs may use the model providers, and what is changed in requests, as YAML
    GetLlmRouterConfig {
        /// Write to this file instead
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Set which models and programs may use the model providers, and what is changed in requests, from a YAML file
    #[command(after_help = "For example:\n  \
                            allowedModels: [{provider: openai, model: gpt-*}]\n  \
                            apps: {mode: allowed, userAgentPatterns: [meshagent*]}\n  \
                            rules:\n  - {name: policy, then: {instructions: {append: Follow policy.}}}\n\
                            An empty mapping, {}, lets everything through. docs/models.md says all.")]
    SetLlmRouterConfig {
        /// File; `-` is stdin
        file: PathBuf,
    },
}

const COLUMNS: [&str; 3] = ["id", "name", "project_key"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Create { name } => output::line(ctx.rest()?.create_project(&name).await?.id),
        Command::List(args) => list(ctx, args.output).await,
        Command::Get { project, output } => {
            let project = find(ctx, &project).await?;
            match output.output {
                Format::Json => output::json(&project),
                Format::Table => table(&[project], None).print(""),
            }
        }
        Command::Activate { project } => {
            let project = find(ctx, &project).await?;
            activate(ctx, &project.id, None)?;
            output::note(format!("Active project: {} ({})", project.name, project.id));
            Ok(())
        }
        Command::Users(command) => users::run(ctx, command).await,
        Command::SetRoomRoles { file } => {
            let roles = room_roles(&args::read_text(&file)?)?;
            ctx.project()?.set_settings(ROOM_ROLES, &json!(roles)).await?;
            output::note("Set the roles of users in rooms");
            Ok(())
        }
        Command::GetLlmRouterConfig { output } => print_router(ctx, output).await,
        Command::SetLlmRouterConfig { file } => {
            let router = router(&args::read_text(&file)?)?;
            ctx.project()?.set_settings(ROUTER, &json!(router)).await?;
            output::note("Set which models and programs may use the model providers");
            Ok(())
        }
        Command::ResetRoomRoles => {
            ctx.project()?.delete_settings(ROOM_ROLES).await?;
            output::note("Reset the roles of users in rooms");
            Ok(())
        }
    }
}

/// Names of settings documents.
const ROOM_ROLES: &str = "room-roles";
const ROUTER: &str = "router";

/// The document as it is, or what holds without one.
async fn print_router(ctx: &Ctx, file: Option<PathBuf>) -> Result<(), CliError> {
    let document = ctx.project()?.settings(ROUTER).await?.unwrap_or_else(|| json!(Router::default()));
    let text = serde_yaml::to_string(&document)
        .map_err(|error| CliError::internal(format!("the document cannot be written as YAML: {error}")))?;
    match file {
        None => output::data(&text),
        Some(file) => tokio::fs::write(&file, text)
            .await
            .map_err(|error| CliError::user(format!("cannot write {}: {error}", file.display()))),
    }
}

/// Reads a router document.
fn router(text: &str) -> Result<Router, CliError> {
    let wrong = |why: String| {
        CliError::user(format!("this is no router document: {why}"))
            .hint("`meshagent project set-llm-router-config --help` shows one")
    };
    let document: Value = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let read: Router = serde_path_to_error::deserialize(document)
        .map_err(|error| wrong(format!("`{}`: {}", error.path(), error.inner())))?;
    read.checked().map_err(wrong)
}

/// Reads a document of kind RoomRoles.
fn room_roles(text: &str) -> Result<RoleSettings, CliError> {
    let wrong = |why: String| {
        CliError::user(format!("this is no RoomRoles document: {why}"))
            .hint("`meshagent project set-room-roles --help` shows one")
    };
    let mut document: Value = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let fields = document.as_object_mut().ok_or_else(|| wrong("it is no mapping".to_owned()))?;
    let (version, kind) = (fields.remove("version"), fields.remove("kind"));
    if version != Some(json!("v1")) || kind != Some(json!("RoomRoles")) {
        return Err(wrong("it begins with `version: v1` and `kind: RoomRoles`".to_owned()));
    }
    // As `apply` takes it; there is one, so that its name says nothing.
    if let Some(metadata) = fields.remove("metadata") {
        let metadata: RoomRolesMetadata = serde_path_to_error::deserialize(metadata)
            .map_err(|error| wrong(format!("`metadata.{}`: {}", error.path(), error.inner())))?;
        if metadata.name != ROOM_ROLES_NAME {
            return Err(wrong(format!(
                "`metadata.name`: a project has one such document, named `{ROOM_ROLES_NAME}`"
            )));
        }
    }
    if !fields.contains_key("roles") {
        return Err(wrong("`roles` is missing".to_owned()));
    }
    serde_path_to_error::deserialize(document)
        .map_err(|error| wrong(format!("`{}`: {}", error.path(), error.inner())))
}

async fn list(ctx: &Ctx, format: Format) -> Result<(), CliError> {
    let projects = ctx.rest()?.projects().await?;
    match format {
        Format::Json => output::json(&json!({"projects": projects})),
        Format::Table => table(&projects, ctx.project_id().ok().as_deref()).print("No projects found."),
    }
}

fn table(projects: &[Project], active: Option<&str>) -> Table {
    let mut table = Table::new(&COLUMNS);
    for project in projects {
        let star = if active == Some(&project.id) { "*" } else { "" };
        let key = project.project_key.clone().unwrap_or_else(|| "-".into());
        table.row([format!("{star}{}", project.id), project.name.clone(), key]);
    }
    table
}

/// The project with this id or key; not finding it is an error that says what there is.
pub async fn find(ctx: &Ctx, id_or_key: &str) -> Result<Project, CliError> {
    ctx.rest()?.find_project(id_or_key).await?.ok_or_else(|| {
        CliError::user(format!("there is no project `{id_or_key}`"))
            .hint("`meshagent project list` shows those this credential may see")
    })
}

/// Makes a project the active one of the server in the settings file; keeps a key for it if one is given.
pub fn activate(ctx: &Ctx, project_id: &str, api_key: Option<&str>) -> Result<(), CliError> {
    let mut settings = ctx.settings().clone();
    let project = &mut settings.activate(&ctx.api_url()?).project;
    project.active_project = Some(project_id.to_owned());
    if let Some(key) = api_key {
        project.active_api_keys.insert(project_id.to_owned(), key.to_owned());
    }
    settings.save()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn router_documents_are_read_and_mistakes_are_placed() {
        let read = |text: &str| router(text).map_err(|error| error.to_string());
        assert_eq!(read("- {provider: openai, model: gpt-*}").unwrap().allowed_models.unwrap().len(), 1);
        assert_eq!(read("{}").unwrap(), Router::default());
        let wrong = read("rules: [{then: {tools: {ensure: [{type: static, name: a}]}}}]").unwrap_err();
        assert!(wrong.contains("answers none itself"), "{wrong}");
        assert!(read("rules: [{name: a, then: {}}]").unwrap_err().contains("`a`"));
    }

    #[test]
    fn documents_of_roles_are_read_and_mistakes_are_placed() {
        let head = "version: v1\nkind: RoomRoles\n";
        let read = |rest: &str| room_roles(&format!("{head}{rest}")).map_err(|error| error.to_string());
        assert_eq!(read("roles: {viewer: {site_user: true}}").unwrap().roles.len(), 1);
        assert!(read("metadata: {name: default}\nroles: {viewer: {}}").is_ok());
        assert!(read("metadata: {name: other}\nroles: {}").unwrap_err().contains("metadata.name"));
        assert!(room_roles("roles: {}").unwrap_err().to_string().contains("begins with"));
        assert!(read("").unwrap_err().contains("`roles` is missing"));
        assert!(read("roles: {owner: {}}").unwrap_err().contains("owner"));
        let wrong = read("roles: {viewer: {participant: {api: {zap: {}}}}}").unwrap_err();
        assert!(wrong.contains("roles.viewer.participant.api") && wrong.contains("zap"), "{wrong}");
    }
}

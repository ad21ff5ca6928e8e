//! `meshagent project …`.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::Project;
use serde_json::json;

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
    }
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

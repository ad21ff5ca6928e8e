//! `meshagent service …`: what runs in a room or in every room of a project. `write` makes and replaces services,
//! `template` does so from templates, this file looks at them and switches them.

mod template;
mod write;

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, ServiceBody, ServiceScope};
use serde_json::{Value, json};

pub use write::{logical_id, put_service};

/// Work with services.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print a service document as it would be sent
    Spec(write::Spec),
    /// Make a service from a document; prints its id
    #[command(after_help = "Examples:\n  meshagent service create --file service.yaml --room my-room\n  \
                            meshagent service create --file service.yaml --global --replace\n  \
                            meshagent service create --mcp https://mcp.deepwiki.com/mcp --room my-room")]
    Create(write::Create),
    /// Replace a service by a document; prints its id
    Update(write::Update),
    /// Check a service document without a server
    Validate(write::Validate),
    /// Render a template and make a service of it; prints its id
    CreateTemplate(template::Create),
    /// Render a template and replace a service by it; prints its id
    UpdateTemplate(template::Update),
    /// Render a template and say what is wrong with it
    ValidateTemplate(template::TemplateSource),
    /// Render a template and print the document
    RenderTemplate(template::TemplateSource),
    /// Let a service run
    Enable(Which),
    /// Stop a service and keep it from starting
    Disable(Which),
    /// Print a service document as JSON
    Get(Which),
    /// List the services of the project, or of a room
    List {
        /// Services of this room, instead of the project's
        #[arg(short, long)]
        room: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete a service
    Delete(Which),
}

/// A service of a scope.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Id or name of the service
    service_id: String,
    /// The service is this room's, not the project's
    #[arg(short, long)]
    room: Option<String>,
}

/// `--room` or `--global`: one of them must be given.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("scope").required(true))]
pub struct ScopeArgs {
    /// In this room
    #[arg(short, long, group = "scope")]
    room: Option<String>,
    /// In every room of the project
    #[arg(long, group = "scope")]
    global: bool,
}

impl ScopeArgs {
    fn scope(&self) -> ServiceScope {
        scope(self.room.as_deref())
    }
}

/// The room's services, or without a room the project's.
pub fn scope(room: Option<&str>) -> ServiceScope {
    room.map_or(ServiceScope::Project, |room| ServiceScope::Room(room.to_owned()))
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::Spec(args) => write::spec(ctx, args).await,
        Command::Validate(args) => write::validate(args).await,
        Command::Create(args) => write::create(ctx, args).await,
        Command::Update(args) => write::update(ctx, args).await,
        Command::CreateTemplate(args) => template::create(&ctx.project()?, args).await,
        Command::UpdateTemplate(args) => template::update(&ctx.project()?, args).await,
        Command::ValidateTemplate(args) => template::validate(&ctx.rest()?, args).await,
        Command::RenderTemplate(args) => template::render(&ctx.rest()?, args).await,
        Command::Enable(which) => switch(&ctx.project()?, &which, true).await,
        Command::Disable(which) => switch(&ctx.project()?, &which, false).await,
        Command::Get(which) => output::json(&which.find(&ctx.project()?).await?),
        Command::List { room, output } => list(&ctx.project()?, room.as_deref(), output.output).await,
        Command::Delete(which) => {
            let project = ctx.project()?;
            let service = which.find(&project).await?;
            project.delete_service(&which.scope(), id(&service)).await?;
            output::note(format!("Deleted service: {}", name(&service)));
            Ok(())
        }
    }
}

impl Which {
    fn scope(&self) -> ServiceScope {
        scope(self.room.as_deref())
    }

    async fn find(&self, project: &ProjectRest) -> Result<Value, CliError> {
        find(project, &self.scope(), &self.service_id).await
    }
}

/// A service by id or name; not finding it is an error that names the nearest.
pub async fn find(project: &ProjectRest, scope: &ServiceScope, text: &str) -> Result<Value, CliError> {
    if let Some(service) = project.service(scope, text).await? {
        return Ok(service);
    }
    let place = match scope {
        ServiceScope::Project => "the project (pass --room ROOM for a room's service)".to_owned(),
        ServiceScope::Room(room) => format!("room `{room}`"),
    };
    let missing = CliError::user(format!("there is no service `{text}` in {place}"));
    let services = project.services(scope).await.unwrap_or_default();
    Err(match args::nearest(text, services.iter().map(name)) {
        Some(near) => missing.hint(format!("did you mean `{near}`?")),
        None => missing.hint("`meshagent service list` shows those there are"),
    })
}

async fn switch(project: &ProjectRest, which: &Which, enabled: bool) -> Result<(), CliError> {
    let mut service = which.find(project).await?;
    service["enabled"] = enabled.into();
    let (id, name) = (id(&service).to_owned(), name(&service).to_owned());
    project.update_service(&which.scope(), &id, &ServiceBody::Spec(service)).await?;
    output::note(format!("{} service: {name}", if enabled { "Enabled" } else { "Disabled" }));
    Ok(())
}

async fn list(project: &ProjectRest, room: Option<&str>, format: Format) -> Result<(), CliError> {
    let services = project.services(&scope(room)).await?;
    match format {
        Format::Json => output::json(&json!({"services": services})),
        Format::Table => table(&services).print("No services found."),
    }
}

/// Services as the official tool's table.
pub fn table(services: &[Value]) -> Table {
    let mut table = Table::new(&["id", "name", "enabled", "image"]);
    for service in services {
        let cells = [Some(&service["id"]), service.pointer("/metadata/name"), Some(&service["enabled"])];
        table.row(cells.into_iter().chain([service.pointer("/container/image")]).map(output::cell));
    }
    table
}

/// A service document's id.
pub fn id(service: &Value) -> &str {
    service["id"].as_str().unwrap_or_default()
}

/// A service document's name.
pub fn name(service: &Value) -> &str {
    service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

//! `meshagent agent …`: agents that the server runs by itself.

mod serve;
mod talk;

use super::room::storage;
use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::{Ctx, Globals};
use crate::client::rest::{ManagedAgent, ProjectRest};
use crate::spec::{self, Document};
use serde_json::{Value, json};

/// Work with managed agents: the server runs them, and people talk to them without a room.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a managed agent
    #[command(after_help = "Example:\n  meshagent agent create -c '{\"metadata\": {\"name\": \"helper\"}, \
                            \"allowed_models\": [{\"provider\": \"openai\", \"model\": \"gpt-5.4\"}]}'\n  \
                            meshagent agent create -c specs/managed-agent/helper.yaml")]
    Create(Create),
    /// Replace the configuration of a managed agent
    Update(Update),
    /// Delete a managed agent, with its threads
    Delete(Which),
    /// List the managed agents of the project
    List(List),
    /// Talk to a managed agent, or ask it one thing
    Use(talk::Use),
    /// Files of managed agents: --agent NAME, agent://PATH (the same as `files`)
    #[command(subcommand)]
    Storage(storage::Command),
    /// Run a managed agent: the server does
    #[command(hide = true)]
    Serve,
    /// Show one managed agent
    Get {
        /// Name or id
        #[arg(required_unless_present = "name")]
        agent: Option<String>,
        /// Name
        #[arg(long, conflicts_with = "agent")]
        name: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub struct Configuration {
    /// A ManagedAgent document: its JSON, or the file it is in (YAML or JSON; - is stdin)
    #[arg(short, long, value_name = "JSON|FILE")]
    configuration: String,
    /// Who sees which threads; instead of what the document says
    #[arg(long, value_parser = ["global", "participant"])]
    thread_isolation: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    configuration: Configuration,
    /// An agent of that name is as good
    #[arg(long, overrides_with = "no_if_not_exists")]
    if_not_exists: bool,
    #[arg(long, hide = true)]
    no_if_not_exists: bool,
}

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = true)]
pub struct Which {
    /// Id
    #[arg(long)]
    id: Option<String>,
    /// Name
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only names that contain this
    #[arg(long)]
    filter: Option<String>,
    /// Most agents to show
    #[arg(long, visible_alias = "limit", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=500))]
    count: u64,
    /// Agents to skip
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Agents are ordered by name
    #[arg(long, default_value = "agent_name", value_parser = ["agent_name"])]
    order_by: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn run(globals: Globals, command: Command) -> Result<(), CliError> {
    if matches!(command, Command::Serve) {
        return serve::run().await;
    }
    let ctx = &Ctx::load(globals)?;
    let project = ctx.project()?;
    match command {
        Command::Serve => Ok(()),
        Command::Use(args) => talk::run(ctx, args).await,
        Command::Storage(command) => storage::run(ctx, command).await,
        Command::Create(args) => {
            let document = args.configuration.read().await?;
            let agent = project.create_agent(&document, args.if_not_exists).await?;
            output::note(format!("Created agent: {}", agent.name));
            output::json(&agent)
        }
        Command::Update(args) => {
            let id = args.which.id(&project).await?;
            project.update_agent(&id, &args.configuration.read().await?).await?;
            output::note(format!("Updated agent: {id}"));
            Ok(())
        }
        Command::Delete(which) => {
            let id = which.id(&project).await?;
            project.delete_agent(&id).await?;
            output::note(format!("Deleted agent: {id}"));
            Ok(())
        }
        Command::List(args) => list(&project, args).await,
        Command::Get { agent, name } => {
            output::json(&find(&project, &name.or(agent).unwrap_or_default()).await?)
        }
    }
}

impl Configuration {
    /// The document as JSON, checked.
    async fn read(&self) -> Result<Value, CliError> {
        let text = self.configuration.trim();
        let mut document = if text.starts_with('{') {
            let value: Value = serde_json::from_str(text)
                .map_err(|error| CliError::usage(format!("--configuration is not JSON: {error}")))?;
            spec::from_json::<spec::ManagedAgent>(value)
                .map_err(|problems| CliError::user(spec::summary(&problems)))?
        } else {
            from_file(text).await?
        };
        match self.thread_isolation.as_deref() {
            Some("participant") => document.thread_isolation = spec::ThreadIsolation::Participant,
            Some(_) => document.thread_isolation = spec::ThreadIsolation::Global,
            None => {}
        }
        Ok(serde_json::to_value(document)?)
    }
}

async fn from_file(path: &str) -> Result<spec::ManagedAgent, CliError> {
    let texts = crate::cli::documents::read(&[path.into()]).await?;
    let written = crate::cli::documents::parse(&texts)?;
    let mut agents = written.into_iter().filter_map(|written| match written.document {
        Document::ManagedAgent(agent) => Some(agent),
        _ => None,
    });
    match (agents.next(), agents.next()) {
        (Some(agent), None) => Ok(agent),
        (None, _) => Err(CliError::user(format!("`{path}` has no ManagedAgent document"))),
        (Some(_), Some(_)) => Err(CliError::user(format!("`{path}` has several ManagedAgent documents"))
            .hint("make all of them with `meshagent apply -f`")),
    }
}

impl Which {
    async fn id(&self, project: &ProjectRest) -> Result<String, CliError> {
        match (&self.id, &self.name) {
            (Some(id), _) => Ok(id.clone()),
            (None, name) => Ok(find(project, name.as_deref().unwrap_or_default()).await?.id),
        }
    }
}

async fn list(project: &ProjectRest, args: List) -> Result<(), CliError> {
    let all = project.agents(args.filter.as_deref()).await?;
    let count = usize::try_from(args.count).unwrap_or(usize::MAX);
    let agents: Vec<ManagedAgent> = all.into_iter().skip(args.offset).take(count).collect();
    match args.output.output {
        Format::Json => output::json(&agents),
        Format::Table => {
            let mut table = Table::new(&["id", "name"]);
            for agent in &agents {
                table.object(&json!({"id": agent.id, "name": agent.name}));
            }
            table.print("No agents found.")
        }
    }
}

async fn find(project: &ProjectRest, name: &str) -> Result<ManagedAgent, CliError> {
    if let Some(agent) = project.agent(name).await? {
        return Ok(agent);
    }
    let error = CliError::user(format!("there is no agent `{name}`"));
    let all = project.agents(None).await.unwrap_or_default();
    Err(match args::nearest(name, all.iter().map(|agent| agent.name.as_str())) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`meshagent agent list` shows those there are"),
    })
}

//! `meshagent route …`.

mod spec;

use self::spec::{Changes, Source};
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, Route};
use serde_json::{Value, json};

/// Work with routes: what answers at a domain, a service's port or files of a room.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a route
    #[command(after_help = "Examples:\n  \
        meshagent route create -d shop.example.com --room shop --port 8000\n  \
        meshagent route create -d docs.example.com --room shop --content-path site --index\n  \
        meshagent route create -f route.yaml\n\
        The server answers on the address of `meshagent up --proxy ADDRESS`.")]
    Create(Create),
    /// Change a route; what is not named stays
    Update(Update),
    /// Show one route
    #[command(visible_alias = "show")]
    Get {
        domain: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the routes of the project, or those to one room
    List(List),
    /// Delete a route
    Delete { domain: String },
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Domain that is to answer, for example shop.example.com
    #[arg(short, long, required_unless_present = "file")]
    domain: Option<String>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
pub struct Update {
    domain: String,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those to this room
    #[arg(short, long)]
    room: Option<String>,
    /// Only domains that contain this
    #[arg(long)]
    filter: Option<String>,
    /// Most routes to show
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Routes to skip
    #[arg(long, default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: [&str; 9] =
    ["domain", "backend", "path", "port", "content_path", "index", "iap", "compression", "cors"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::Create(args) => create(&project, args).await,
        Command::Update(args) => update(&project, args).await,
        Command::Get { domain, output } => {
            let route = find(&project, &domain).await?;
            match output.output {
                Format::Json => output::json(&route),
                Format::Table => table(&[route]).print(""),
            }
        }
        Command::List(args) => list(&project, args).await,
        Command::Delete { domain } => {
            find(&project, &domain).await?;
            project.delete_route(&domain).await?;
            output::note(format!("Route deleted: {domain}"));
            Ok(())
        }
    }
}

async fn create(project: &ProjectRest, args: Create) -> Result<(), CliError> {
    let spec = match args.changes.source()? {
        Source::File(file) => spec::from_file(&file).await?,
        Source::Flags => spec::made(args.domain.as_deref().unwrap_or_default(), args.changes)?,
    };
    match project.create_route(&serde_json::to_value(&spec)?).await {
        Ok(()) => {
            output::note(format!("Created route: {}", spec.domain));
            Ok(())
        }
        Err(error) if error.is_conflict() => {
            Err(CliError::user(format!("Route domain already in use: {}", spec.domain))
                .hint(format!("change it with `meshagent route update {}`, or choose another", spec.domain)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn update(project: &ProjectRest, args: Update) -> Result<(), CliError> {
    let spec = match args.changes.source()? {
        Source::File(file) => spec::from_file(&file).await?,
        Source::Flags => spec::changed(&find(project, &args.domain).await?.spec, args.changes)?,
    };
    project.update_route(&args.domain, &serde_json::to_value(&spec)?).await?;
    output::note(format!("Updated route: {}", args.domain));
    Ok(())
}

async fn list(project: &ProjectRest, args: List) -> Result<(), CliError> {
    let all = project.routes(args.room.as_deref(), args.filter.as_deref()).await?;
    let count = usize::try_from(args.count).unwrap_or(usize::MAX);
    let routes: Vec<Route> = all.into_iter().skip(args.offset).take(count).collect();
    match args.output.output {
        Format::Json => output::json(&json!({"routes": routes})),
        Format::Table => table(&routes).print("No routes found."),
    }
}

/// One line per route; what its paths have is joined.
fn table(routes: &[Route]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for route in routes {
        table.row(row(route));
    }
    table
}

fn row(route: &Route) -> Vec<String> {
    let spec = &route.spec;
    let none = vec![];
    let paths = spec["paths"].as_array().unwrap_or(&none);
    let content: Vec<&Value> = paths.iter().filter_map(|path| path.get("targetContent")).collect();
    let joined = |values: Vec<String>| values.join(", ");
    let of = |key: &str| joined(content.iter().map(|content| output::cell(content.get(key))).collect());
    let name = |of: &str| spec["backend"][of]["name"].as_str().map(str::to_owned);
    let folder = |content: &&Value| match content["subpath"].as_str().unwrap_or_default() {
        "" => "/".to_owned(),
        folder => folder.to_owned(),
    };
    let cors = content.iter().map(|content| content["cors"].to_string()).collect::<Vec<_>>();
    vec![
        route.domain.clone(),
        name("room").or_else(|| name("agent")).unwrap_or_default(),
        joined(paths.iter().map(|path| output::cell(path.get("path"))).collect()),
        joined(
            paths
                .iter()
                .filter_map(|path| path.get("targetPort"))
                .map(|port| output::cell(Some(port)))
                .collect(),
        ),
        joined(content.iter().map(folder).collect()),
        of("index"),
        of("iap"),
        of("compression"),
        cors.join(" | "),
    ]
}

async fn find(project: &ProjectRest, domain: &str) -> Result<Route, CliError> {
    project.route(domain).await?.ok_or_else(|| {
        CliError::user(format!("Route not found: {domain}"))
            .hint("`meshagent route list` shows those there are")
    })
}

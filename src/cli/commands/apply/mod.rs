//! `meshagent apply` and `meshagent diff`: documents are read and checked here, and the server decides what they change.
//! `sources` reads them, `view` shows plans and problems.

mod overlay;
mod sources;
pub mod view;
mod wait;

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs};
use crate::cli::resolve::Ctx;
use crate::client::rest::{Plan, PlanRequest, Refusal, Step};
use serde_json::Value;
use sources::{SourceArgs, Sources};
use std::time::Duration;

/// Create or change resources so that they are as the documents say.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  meshagent apply -f specs/quickstart\n  \
                        meshagent apply -f specs --overlay production --source shop --prune\n  \
                        meshagent process spec --agent-name helper --channel queue:jobs | meshagent apply --room my-room -f -\n\n\
                        All documents are checked first, and all are applied in one transaction, or none.\n\
                        A document that does not say its room (annotation meshagent.room) belongs to --room, or\n\
                        without --room, if it is a Service, to the project. Folders are read in the order of names;\n\
                        a .meshagentignore in a folder names what is left out there.")]
pub struct Args {
    #[command(flatten)]
    sources: SourceArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it only if the plan is still this one, as `meshagent diff` told its hash
    #[arg(long, value_name = "HASH")]
    plan: Option<String>,
    /// Wait until everything is ready
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Longest wait, for example 30s or 2m
    #[arg(long, default_value = "5m", value_parser = crate::cli::args::duration)]
    timeout: Duration,
}

/// Show what `apply` would change.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 0 when nothing would change, 1 when something would, and 2 when that cannot be said.\n\n\
                        Examples:\n  meshagent diff -f specs\n  meshagent diff -f specs -o json\n  meshagent diff --from 1234 --to 2026-01-31T12:00:00Z"
)]
pub struct DiffArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Instead of documents, a moment of the past: what changed since
    #[arg(long, value_name = "POSITION|TIME", conflicts_with = "files")]
    from: Option<String>,
    /// With --from: until then
    #[arg(long, value_name = "POSITION|TIME", requires = "from")]
    to: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let sources = args.sources.read().await?;
    let request = PlanRequest { expected: args.plan, ..args.sources.request(&sources)? };
    let project = ctx.project()?;
    let plan = if args.dry_run { project.plan(&request).await } else { project.apply(&request).await };
    let plan = plan.map_err(|refusal| refuse(&sources, refusal))?;
    for step in &plan.steps {
        output::line(view::line(step, args.dry_run))?;
    }
    if args.wait { wait::until_ready(&project, &plan, args.timeout).await } else { Ok(()) }
}

pub async fn diff(ctx: &Ctx, args: DiffArgs) -> Result<(), CliError> {
    // 1 says that something differs.
    if let Some(from) = &args.from {
        return since(ctx, from, &args).await;
    }
    let plan = difference(ctx, &args).await.map_err(CliError::graver)?;
    if args.output.output == Format::Json {
        output::json(&plan)?;
    } else {
        output::data(&view::plan(&plan, view::in_colour()))?;
    }
    let differs = plan.steps.iter().any(|step| step.action != "unchanged");
    if differs { Err(CliError::exit(1)) } else { Ok(()) }
}

/// What differs between two moments.
async fn since(ctx: &Ctx, from: &str, args: &DiffArgs) -> Result<(), CliError> {
    let ask = async { Ok(ctx.project()?.differences(from, args.to.as_deref()).await?) };
    let answer: Result<Value, CliError> = ask.await;
    let answer = answer.map_err(CliError::graver)?;
    let steps: Vec<Step> = serde_json::from_value(answer["steps"].clone())?;
    if args.output.output == Format::Json {
        output::json(&answer)?;
    } else {
        output::data(&view::steps(&steps, view::in_colour()))?;
    }
    if steps.is_empty() { Ok(()) } else { Err(CliError::exit(1)) }
}

async fn difference(ctx: &Ctx, args: &DiffArgs) -> Result<Plan, CliError> {
    let sources = args.sources.read().await?;
    let plan = ctx.project()?.plan(&args.sources.request(&sources)?).await;
    plan.map_err(|refusal| refuse(&sources, refusal))
}

fn refuse(sources: &Sources, refusal: Refusal) -> CliError {
    match refusal {
        Refusal::Problems(problems, count) => view::problems(&sources.places, &problems, count),
        Refusal::Other(error) => error.into(),
    }
}

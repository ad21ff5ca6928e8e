//! `meshagent source …`.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::{ProjectRest, Resource};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the server is asked.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Characters of a commit that are shown.
const REVISION_CHARS: usize = 12;
const KIND: &str = "git-source";
const COLUMNS: [&str; 6] = ["name", "url", "follows", "state", "revision", "message"];

/// Work with git sources: repositories whose documents the server keeps applied.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "A source is made by a document of `kind: GitSource`; see `meshagent schema git-source`."
)]
pub enum Command {
    /// List the git sources of the project, with the commit that each is at
    List(OutputArgs),
    /// Show one git source
    Get {
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Have a repository looked at now, and drift corrected
    Reconcile {
        name: String,
        /// Do not wait for what comes of it
        #[arg(long)]
        no_wait: bool,
        /// Longest wait, for example 30s or 2m
        #[arg(long, default_value = "3m", value_parser = args::duration)]
        timeout: Duration,
    },
    /// Leave a repository alone, and what was applied of it
    Suspend { name: String },
    /// Keep a suspended repository applied again
    Resume { name: String },
    /// Delete a git source; what it applied stays
    Delete { name: String },
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::List(args) => {
            let all = project.resources(KIND, &[]).await?;
            match args.output {
                Format::Json => output::json(&json!({"sources": all})),
                Format::Table => table(&all).print("No git sources found."),
            }
        }
        Command::Get { name, output } => {
            let source = find(&project, &name).await?;
            match output.output {
                Format::Json => output::json(&source),
                Format::Table => output::data(&described(&source)),
            }
        }
        Command::Reconcile { name, no_wait, timeout } => {
            let asked = project.reconcile_source(&name).await?;
            if no_wait {
                output::note(format!("Asked for: {name}"));
                return Ok(());
            }
            wait(&project, &name, &asked, timeout).await
        }
        Command::Suspend { name } => {
            project.suspend_source(&name, true).await?;
            output::note(format!("Suspended git source: {name}"));
            Ok(())
        }
        Command::Resume { name } => {
            project.suspend_source(&name, false).await?;
            output::note(format!("Resumed git source: {name}"));
            Ok(())
        }
        Command::Delete { name } => {
            project.delete_source(&name).await?;
            output::note(format!("Deleted git source: {name}"));
            Ok(())
        }
    }
}

async fn find(project: &ProjectRest, name: &str) -> Result<Resource, CliError> {
    if let Some(found) = project.resource(KIND, name, &[]).await? {
        return Ok(found);
    }
    let error = CliError::user(format!("there is no git source `{name}`"));
    let all = project.resources(KIND, &[]).await?;
    Err(match args::nearest(name, all.iter().map(|source| source.name.as_str())) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`meshagent source list` shows those there are"),
    })
}

/// Waits until what was asked for was done, and says what came of it.
async fn wait(project: &ProjectRest, name: &str, asked: &Value, timeout: Duration) -> Result<(), CliError> {
    let request = asked["request"].as_u64().unwrap_or_default();
    let end = Instant::now() + timeout;
    let mut ask = tokio::time::interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ask.tick().await;
        let source = find(project, name).await?;
        let answered = source.status["answeredRequest"].as_u64().is_some_and(|answered| answered >= request);
        let message = message(&source.status);
        if !answered && Instant::now() >= end {
            return Err(CliError::user(format!("timed out waiting for git source `{name}`: {message}")));
        }
        if answered {
            if source.status["lastError"].is_string() {
                return Err(CliError::user(format!("git source `{name}` was not applied: {message}")));
            }
            return output::line(format!("{name}: {message}"));
        }
    }
}

/// The condition that matters most.
fn condition(status: &Value) -> Option<&Value> {
    let all = status["conditions"].as_array()?;
    let holds = |name: &&str| all.iter().find(|one| one["type"] == **name && one["status"] == "True");
    ["Stalled", "Reconciling", "Ready"].iter().find_map(holds).or_else(|| all.first())
}

fn message(status: &Value) -> String {
    let text = condition(status).and_then(|condition| condition["message"].as_str());
    text.unwrap_or("nothing is known of it").to_owned()
}

fn state(status: &Value) -> &str {
    condition(status).and_then(|condition| condition["reason"].as_str()).unwrap_or("Unknown")
}

fn follows(document: &Value) -> String {
    match (document["branch"].as_str(), document["tag"].as_str()) {
        (Some(branch), _) => format!("branch {branch}"),
        (None, Some(tag)) => format!("tag {tag}"),
        (None, None) => "default branch".to_owned(),
    }
}

fn table(all: &[Resource]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for source in all {
        let status = &source.status;
        let revision: String =
            status["lastAppliedRevision"].as_str().unwrap_or_default().chars().take(REVISION_CHARS).collect();
        let first = message(status).lines().next().unwrap_or_default().to_owned();
        let url = output::cell(source.document.get("url"));
        let state = state(status).to_owned();
        table.row([source.name.clone(), url, follows(&source.document), state, revision, first]);
    }
    table
}

fn described(source: &Resource) -> String {
    let (document, status) = (&source.document, &source.status);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let lines = [
        ("Name", source.name.clone()),
        ("Repository", text(&document["url"])),
        ("Follows", follows(document)),
        ("Path", text(&document["path"])),
        ("State", state(status).to_owned()),
        ("Commit", text(&status["lastAppliedRevision"])),
        ("Subject", text(&status["subject"])),
        ("Author", text(&status["author"])),
        ("Applied", text(&status["lastAppliedAt"])),
        ("Message", message(status)),
    ];
    lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_told_first() {
        let condition = |name: &str, status: &str, reason: &str| json!({"type": name, "status": status, "reason": reason, "message": reason});
        let stalled = json!({"conditions": [condition("Ready", "False", "x"), condition("Stalled", "True", "DocumentsInvalid")]});
        assert_eq!(state(&stalled), "DocumentsInvalid");
        let ready = json!({"conditions": [condition("Ready", "True", "Applied")]});
        assert_eq!(message(&ready), "Applied");
        assert_eq!(state(&json!({})), "Unknown");
        assert_eq!(follows(&json!({"branch": "main"})), "branch main");
    }
}

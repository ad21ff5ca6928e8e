//! `meshagent session …`: the runs of rooms, and what they said and measured. Knows the REST client only.

mod logs;
mod metrics;
mod traces;

use super::rooms;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::ProjectRest;
use serde_json::json;
use std::io::{IsTerminal, Write};

/// Work with sessions: a session is one run of a room.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List recent sessions
    List {
        /// Most sessions to show
        #[arg(long, default_value_t = 25)]
        limit: usize,
        /// Only this room's
        #[arg(short, long)]
        room: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show the events of a session
    Get { session_id: String },
    /// Show the log lines of a session
    Logs(logs::Args),
    /// Show what a session's participants measured
    Metrics(metrics::Args),
    /// Show the traced work of a session as a tree
    Traces(traces::Args),
    /// End a session: its participants are told, its processes may finish
    Terminate {
        session_id: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// End a session at once: its participants lose their connection, its processes are killed
    Kill {
        session_id: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Which session to look at.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Session to look at; without one, the newest
    session: Option<String>,
    /// The same as the argument
    #[arg(long)]
    session_id: Option<String>,
    /// The newest session of this room
    #[arg(short, long)]
    room: Option<String>,
}

impl Which {
    /// The session's id; `None`, said, where there is no session yet.
    async fn id(&self, project: &ProjectRest) -> Result<Option<String>, CliError> {
        match (&self.session, &self.session_id) {
            (Some(one), Some(other)) if one != other => {
                let text = format!("`{one}` and --session-id `{other}` are two sessions");
                return Err(CliError::usage(text).hint("name one"));
            }
            (Some(id), _) | (None, Some(id)) => return Ok(Some(id.clone())),
            (None, None) => {}
        }
        let room = match &self.room {
            Some(room) => Some(rooms::find(project, room).await?.id),
            None => None,
        };
        let newest = project.sessions(1, room.as_deref()).await?.into_iter().next();
        if newest.is_none() {
            output::note("No sessions found.");
        }
        Ok(newest.map(|session| session.id))
    }
}

/// A time as the tables show it: to the second, UTC.
fn time(value: &serde_json::Value) -> String {
    let at = value.as_str().and_then(|text| text.parse::<chrono::DateTime<chrono::Utc>>().ok());
    at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// Attributes as `name=value, …`, in the order of their names.
fn attributes<'a>(of: impl IntoIterator<Item = &'a serde_json::Value>) -> String {
    let pairs = of.into_iter().filter_map(|one| one.as_object()).flatten();
    let texts = pairs.map(|(name, value)| format!("{name}={}", output::cell(Some(value))));
    texts.collect::<Vec<_>>().join(", ")
}

fn unknown(error: crate::client::rest::RestError) -> CliError {
    let is_unknown = error.is_not_found();
    let failed = CliError::from(error);
    if is_unknown { failed.hint("`meshagent session list` shows the recent ones") } else { failed }
}

const COLUMNS: [&str; 4] = ["id", "room_name", "created_at", "is_active"];

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let project = ctx.project()?;
    match command {
        Command::List { limit, room, output } => {
            let room_id = match room {
                Some(room) => Some(rooms::find(&project, &room).await?.id),
                None => None,
            };
            let sessions = project.sessions(limit, room_id.as_deref()).await?;
            if output.output == Format::Json {
                return output::json(&json!({"sessions": sessions}));
            }
            let mut table = Table::new(&COLUMNS);
            for session in &sessions {
                table.object(&serde_json::to_value(session)?);
            }
            table.print("No sessions found.")
        }
        Command::Get { session_id } => {
            output::json(&project.session_events(&session_id).await.map_err(unknown)?)
        }
        Command::Logs(args) => logs::run(&project, args).await,
        Command::Metrics(args) => metrics::run(&project, args).await,
        Command::Traces(args) => traces::run(&project, args).await,
        Command::Terminate { session_id, yes } => {
            if !yes && !confirmed(&format!("End session {session_id}?"))? {
                output::note("Nothing done.");
                return Ok(());
            }
            project.terminate_session(&session_id).await.map_err(unknown)?;
            output::note(format!("Terminated session: {session_id}"));
            Ok(())
        }
        Command::Kill { session_id, yes } => {
            if !yes && !confirmed(&format!("End session {session_id} at once?"))? {
                output::note("Nothing done.");
                return Ok(());
            }
            project.kill_session(&session_id).await?;
            output::note(format!("Killed session: {session_id}"));
            Ok(())
        }
    }
}

/// Asks on the terminal; without one it is an error, so that a script never hangs.
fn confirmed(question: &str) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("there is no terminal to ask on").hint("pass -y to go ahead"));
    }
    let mut err = std::io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

//! `meshagent session …`.

use super::rooms;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
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
    /// End a session at once; its participants lose their connection
    Kill {
        session_id: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
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
            output::json(&project.session_events(&session_id).await.map_err(|error| {
                let unknown = error.is_not_found();
                let failed = CliError::from(error);
                if unknown { failed.hint("`meshagent session list` shows the recent ones") } else { failed }
            })?)
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

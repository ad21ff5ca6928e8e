//! `meshagent server …`.

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::cli::resolve::Ctx;
use crate::client::rest::Rest;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the server is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);
const COLUMNS: [&str; 5] = ["name", "state", "rooms", "url", "drained_by"];

/// Work with the servers that share a database; needs a key of those who run them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the servers that are there, with the rooms that each hosts
    List(OutputArgs),
    /// Have a server give its rooms to the others, and wait until it has none: before it is stopped
    Drain {
        /// Name of the server, as `server list` shows it
        name: String,
        /// Do not wait until it has no rooms any more
        #[arg(long)]
        no_wait: bool,
        /// Longest wait, for example 30s or 2m
        #[arg(long, default_value = "2m", value_parser = args::duration)]
        timeout: Duration,
    },
    /// Have a server that was drained take rooms again; a restart does that too
    Resume {
        /// Name of the server, as `server list` shows it
        name: String,
    },
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    let rest = ctx.rest()?;
    match command {
        Command::List(args) => {
            let all = rest.servers().await?;
            match args.output {
                Format::Json => output::json(&all),
                Format::Table => {
                    let mut table = Table::new(&COLUMNS);
                    servers(&all).for_each(|server| table.object(server));
                    table.print("No servers found.")
                }
            }
        }
        Command::Drain { name, no_wait, timeout } => {
            rest.drain_server(&name).await?;
            if no_wait {
                output::note(format!("Server {name} begins to give its rooms away."));
                return Ok(());
            }
            wait(&rest, &name, timeout).await
        }
        Command::Resume { name } => {
            rest.resume_server(&name).await?;
            output::note(format!("Server {name} takes rooms again."));
            Ok(())
        }
    }
}

fn servers(all: &Value) -> impl Iterator<Item = &Value> {
    all["servers"].as_array().into_iter().flatten()
}

/// Waits until the server has no rooms any more.
async fn wait(rest: &Rest, name: &str, timeout: Duration) -> Result<(), CliError> {
    let end = Instant::now() + timeout;
    let mut ask = tokio::time::interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ask.tick().await;
        let all = rest.servers().await?;
        let rooms = servers(&all).find(|server| server["name"] == name).map(|server| &server["rooms"]);
        match rooms.and_then(Value::as_u64) {
            None => {
                output::note(format!("Server {name} is gone; it had given its rooms away or was stopped."));
                return Ok(());
            }
            Some(0) => {
                output::note(format!("Server {name} has no rooms any more; it can be stopped."));
                return Ok(());
            }
            Some(left) if Instant::now() >= end => {
                let text = format!("server {name} still has {left} rooms");
                return Err(CliError::user(text).hint("it goes on; see `meshagent server list`"));
            }
            Some(_) => {}
        }
    }
}

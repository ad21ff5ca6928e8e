//! `meshagent log …`: the whole event log, offline, straight from its store.

use crate::cli::error::CliError;
use crate::cli::output::{self, Format, OutputArgs};
use crate::cli::settings;
use crate::clock::{Clock, System};
use crate::eventlog::postgres::PostgresLog;
use crate::eventlog::sqlite::SqliteLog;
use crate::eventlog::{EventLog, Filter, Report, export};
use crate::projection::{Projection, World};
use crate::store::postgres::Postgres;
use crate::store::sqlite::{DATABASE_FILE, Sqlite};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Events folded at one time.
const PAGE_EVENTS: usize = 2_000;

/// Check, export or import the whole event log. The server that uses it must be stopped, except on PostgreSQL.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check every event: checksums, positions and versions without a gap, and that replay gives the live state
    Verify {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write every event as a line of JSON
    Export {
        #[command(flatten)]
        store: StoreArgs,
        /// File to write [default: stdout]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Put an export into an empty log; an import that was broken off can be repeated
    Import {
        #[command(flatten)]
        store: StoreArgs,
        /// File to read; `-` is stdin
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
}

/// Which log.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Data directory of the server [default: the one `meshagent up` uses]
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    data_dir: Option<PathBuf>,
    /// The log is in this PostgreSQL database
    #[arg(long, value_name = "URL", env = "MESHAGENT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// An open log and what has to be closed after it.
struct Open {
    log: Arc<dyn EventLog>,
    sqlite: Option<Arc<Sqlite>>,
    postgres: Option<Arc<Postgres>>,
}

pub async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Verify { store, output } => {
            let open = store.open(false).await?;
            let verdict = verify(&open.log, output.output).await;
            open.close().await;
            verdict
        }
        Command::Export { store, file } => {
            let open = store.open(false).await?;
            let written = write(&*open.log, file.as_deref()).await;
            open.close().await;
            output::note(format!("Exported {} events.", written?));
            Ok(())
        }
        Command::Import { store, file } => {
            let open = store.open(true).await?;
            let read = read(&*open.log, &file).await;
            open.close().await;
            let imported = read?;
            output::note(format!(
                "Imported {} events; {} were there already.",
                imported.restored, imported.present
            ));
            Ok(())
        }
    }
}

impl StoreArgs {
    async fn open(&self, may_make: bool) -> Result<Open, CliError> {
        let failed = |error: &dyn std::fmt::Display| CliError::user(error.to_string());
        let clock: Arc<dyn Clock> = Arc::new(System);
        if let (Some(url), None) = (&self.database_url, &self.data_dir) {
            let store = Arc::new(Postgres::open(url).await.map_err(|error| failed(&error))?);
            let log = PostgresLog::open(Arc::clone(&store), clock).await.map_err(|error| failed(&error))?;
            return Ok(Open { log: Arc::new(log), sqlite: None, postgres: Some(store) });
        }
        let dir = match &self.data_dir {
            Some(dir) => dir.clone(),
            None => settings::default_data_dir()?,
        };
        if !may_make && !dir.join(DATABASE_FILE).exists() {
            return Err(CliError::user(format!("there is no database in {}", dir.display()))
                .hint("name the server's data directory with --data-dir"));
        }
        let store = Arc::new(Sqlite::open(&dir).map_err(|error| failed(&error))?);
        let log = SqliteLog::open(Arc::clone(&store), clock).await.map_err(|error| failed(&error))?;
        Ok(Open { log: Arc::new(log), sqlite: Some(store), postgres: None })
    }
}

impl Open {
    async fn close(self) {
        drop(self.log);
        if let Some(store) = self.sqlite {
            store.close().await;
        }
        if let Some(store) = self.postgres {
            store.close();
        }
    }
}

async fn verify(log: &Arc<dyn EventLog>, format: Format) -> Result<(), CliError> {
    let report = log.verify().await.map_err(|error| CliError::user(error.to_string()))?;
    let replay = replay_equals_live(log, &report).await;
    let sound = report.is_sound() && replay.is_ok();
    match format {
        Format::Json => output::json(&json!({
            "sound": sound, "report": report, "replay": replay.as_ref().err(),
        }))?,
        Format::Table => {
            for problem in &report.problems {
                let place = problem.position.map_or_else(String::new, |place| format!("event {place}: "));
                output::line(format!("{place}{}", problem.what))?;
            }
            if let Err(what) = &replay {
                output::line(what)?;
            }
            let (events, streams) = (report.events, report.streams);
            let verdict = if sound { "sound" } else { "NOT sound" };
            output::line(format!("the log is {verdict}: {events} events in {streams} streams"))?;
        }
    }
    if sound {
        return Ok(());
    }
    let count = report.problems_total + u64::from(replay.is_err());
    Err(CliError::user(format!("the log has {count} problems"))
        .hint("keep a copy of the data directory; `meshagent log export` saves what can be read"))
}

/// Folds the whole log anew and compares it with what a server would start from (snapshot and tail).
async fn replay_equals_live(log: &Arc<dyn EventLog>, report: &Report) -> Result<(), String> {
    let live = Projection::open(Arc::clone(log)).await.map_err(|error| error.to_string())?.world();
    let mut world = World::default();
    while world.position < report.head {
        let page = log.read(world.position, &Filter::default(), PAGE_EVENTS).await;
        let page = page.map_err(|error| error.to_string())?;
        if page.is_empty() {
            break;
        }
        for event in &page {
            world.apply(event).map_err(|error| format!("replay stopped: {error}"))?;
        }
    }
    if *live == world {
        return Ok(());
    }
    Err(format!(
        "replay of the whole log does not give the state that a server starts from (at {} and {})",
        world.position, live.position
    ))
}

async fn write(log: &dyn EventLog, file: Option<&Path>) -> Result<u64, CliError> {
    let failed = |error: export::TransferError| CliError::user(error.to_string());
    let Some(path) = file else {
        return export::export(log, &mut tokio::io::stdout()).await.map_err(failed);
    };
    let failed_file = |error| CliError::user(format!("cannot write {}: {error}", path.display()));
    let file = tokio::fs::File::create(path).await.map_err(failed_file)?;
    let mut out = tokio::io::BufWriter::new(file);
    let written = export::export(log, &mut out).await.map_err(failed)?;
    out.into_inner().sync_all().await.map_err(failed_file)?;
    Ok(written)
}

async fn read(log: &dyn EventLog, path: &Path) -> Result<export::Imported, CliError> {
    let failed = |error: export::TransferError| CliError::user(error.to_string());
    if path == Path::new("-") {
        let mut from = tokio::io::BufReader::new(tokio::io::stdin());
        return export::import(log, &mut from).await.map_err(failed);
    }
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| CliError::user(format!("cannot read {}: {error}", path.display())))?;
    export::import(log, &mut tokio::io::BufReader::new(file)).await.map_err(failed)
}

//! `meshagent process threads|messages|grep`: an agent's threads, read from the room's datasets. The agent need not run.

use crate::agent::path::thread_dir;
use crate::agent::storage::{Index, Place, Stored, read_thread, sorted};
use crate::agent::thread::transcript::{self, Line};
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::output::{self, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use clap::ValueEnum;
use regex::RegexBuilder;
use serde_json::{Value, json};

/// Memory a pattern's program may take, bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// How threads are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Shown {
    /// Lines for people.
    #[default]
    Text,
    /// Aligned columns.
    Table,
    /// JSON for programs.
    Json,
}

/// Whose threads, and where.
#[derive(clap::Args, Debug, Clone)]
pub struct WhereArgs {
    #[command(flatten)]
    pub room: RoomArg,

    /// The agent
    #[arg(long, value_name = "NAME")]
    pub agent_name: Option<String>,

    /// Folder of the agent's threads [default: agents/AGENT/threads]
    #[arg(long, value_name = "PATH")]
    pub thread_dir: Option<String>,

    /// Where threads are kept. Repeatable [default: dataset]
    #[arg(long = "thread-storage", value_name = "STORAGE")]
    pub thread_storages: Vec<String>,

    /// How to print the result
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Shown,
}

/// `process threads`.
#[derive(clap::Args, Debug, Clone)]
pub struct ThreadsArgs {
    #[command(flatten)]
    pub at: WhereArgs,

    /// Most threads
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    pub limit: usize,

    /// Threads to skip
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub offset: usize,
}

/// `process messages`.
#[derive(clap::Args, Debug, Clone)]
pub struct MessagesArgs {
    #[command(flatten)]
    pub at: WhereArgs,

    /// The thread: its path, or its name in the agent's folder
    #[arg(long, value_name = "THREAD")]
    pub thread_id: String,
}

/// `process grep`.
#[derive(clap::Args, Debug, Clone)]
pub struct GrepArgs {
    /// Regular expression, without regard to case
    pub pattern: String,

    #[command(flatten)]
    pub messages: MessagesArgs,
}

impl WhereArgs {
    fn dir(&self) -> Result<String, CliError> {
        if let Some(other) = self.thread_storages.iter().find(|storage| *storage != "dataset") {
            return Err(CliError::user(format!("threads of --thread-storage {other} cannot be listed")));
        }
        let named = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        match (named(&self.agent_name), named(&self.thread_dir)) {
            (None, None) => Err(CliError::user("neither an agent nor a folder of threads is named")
                .hint("pass --agent-name NAME or --thread-dir PATH")),
            (name, dir) => Ok(thread_dir(&name.unwrap_or_default(), dir.as_deref())),
        }
    }

    /// The path of a thread that may be named by its last part.
    fn path(&self, thread: &str) -> Result<String, CliError> {
        let thread = thread.trim();
        if thread.contains("://") {
            return Ok(thread.to_owned());
        }
        Ok(format!("{}/{}", self.dir()?, thread.trim_start_matches('/')))
    }
}

fn unreadable(error: impl std::fmt::Display) -> CliError {
    CliError::user(error.to_string())
}

/// Lists threads, newest first.
pub async fn threads(ctx: &Ctx, args: ThreadsArgs) -> Result<(), CliError> {
    let dir = args.at.dir()?;
    let room = connect(ctx, args.at.room.name()?).await?;
    let all = sorted(Index::new(room, &dir).map_err(unreadable)?.all().await?);
    let total = all.len();
    let page: Vec<_> = all.into_iter().skip(args.offset).take(args.limit).collect();
    let shown = page.len();
    match args.at.output {
        Shown::Json => {
            let entry = |e: &crate::agent::message::ThreadEntry| json!({"name": e.name, "path": e.path, "created_at": e.created_at, "modified_at": e.modified_at});
            return output::json(&page.iter().map(entry).collect::<Vec<_>>());
        }
        Shown::Table => {
            let mut table = Table::new(&["name", "path", "modified"]);
            page.into_iter().for_each(|e| table.row([e.name, e.path, e.modified_at]));
            table.print("No threads found.")?;
        }
        Shown::Text if total == 0 => output::note("No threads found."),
        Shown::Text => {
            for entry in page {
                output::line(format!("{}  {}\n  {}", entry.modified_at, entry.name, entry.path))?;
            }
        }
    }
    if args.offset + shown < total {
        output::note(format!("Showing {}-{} of {total} threads.", args.offset + 1, args.offset + shown));
    }
    Ok(())
}

async fn stored(ctx: &Ctx, args: &MessagesArgs) -> Result<Vec<Stored>, CliError> {
    let place = Place::parse(&args.at.path(&args.thread_id)?).map_err(unreadable)?;
    let room = connect(ctx, args.at.room.name()?).await?;
    let rows = read_thread(&room, &place).await?;
    if rows.is_empty() {
        let error =
            CliError::user(format!("there is no thread `{}`, or nothing was said in it", args.thread_id));
        return Err(error.hint("`meshagent process threads` lists those there are"));
    }
    Ok(rows)
}

/// Prints a thread.
pub async fn messages(ctx: &Ctx, args: MessagesArgs) -> Result<(), CliError> {
    let rows = stored(ctx, &args).await?;
    if args.at.output == Shown::Json {
        let messages: Vec<Value> = rows.into_iter().map(|row| Value::Object(row.message)).collect();
        return output::json(&messages);
    }
    print(transcript::lines(rows.iter().map(|row| &row.message)), args.at.output)
}

/// Prints the lines of a thread that match.
pub async fn grep(ctx: &Ctx, args: GrepArgs) -> Result<(), CliError> {
    let pattern = RegexBuilder::new(&args.pattern)
        .case_insensitive(true)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| CliError::usage(format!("`{}` is no regular expression: {error}", args.pattern)))?;
    let rows = stored(ctx, &args.messages).await?;
    let mut lines = transcript::lines(rows.iter().map(|row| &row.message));
    lines.retain(|line| pattern.is_match(&line.text));
    print(lines, args.messages.at.output)
}

fn print(lines: Vec<Line>, shown: Shown) -> Result<(), CliError> {
    match shown {
        Shown::Json => output::json(&lines.iter().map(Line::json).collect::<Vec<_>>()),
        Shown::Table => {
            let mut table = Table::new(&["role", "turn", "text"]);
            lines.into_iter().for_each(|l| table.row([l.role, l.turn_id.unwrap_or_default(), l.text]));
            table.print("No messages found.")
        }
        Shown::Text => lines.iter().try_for_each(|line| output::line(line.shown())),
    }
}

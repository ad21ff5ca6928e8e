//! `meshagent bench`: measurements beside peers, and the crash harness.

use crate::bench::{agent, apply, crash, dataset, fanout, invoke, log, proxy, queue, storage, sync};
use crate::cli::error::CliError;
use crate::cli::output;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Measure how soon an agent takes its first job, its memory, and its threads at once, beside the official one
    Agent(AgentArgs),
    /// Measure applying thousands of documents: made, unchanged, changed a little, pruned
    Apply(ApplyArgs),
    /// Kill the server again and again while clients work, and check that nothing acknowledged was lost
    Crash(CrashArgs),
    /// Measure single-row appends and full scans of datasets, beside LanceDB, and exact searches by vector
    Dataset(DatasetArgs),
    /// Measure one sender to many receivers and the cost of idle participants, beside the node package `ws`
    Fanout(FanoutArgs),
    /// Measure the round trip of a tool call beside a bare WebSocket echo
    Invoke(InvokeArgs),
    /// Measure durable appends and replay of the event log, beside peers (benches/peers/with-peers starts them)
    Log(LogArgs),
    /// Measure what the proxy of models adds to a request, beside asking the provider directly
    Proxy(ProxyArgs),
    /// Measure uploads through the server beside a copy of the file with fsync
    Storage(StorageArgs),
    /// Measure draining and waking a durable queue, beside graphile-worker (benches/peers/with-peers starts Postgres)
    Queue(QueueArgs),
    /// Measure documents that several edit at once, beside Hocuspocus
    Sync(SyncArgs),
}

#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    /// The official `meshagent` tool, to measure its `process join` too
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
    /// Starts of each agent, in turns; the median counts
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// Tasks that one agent gets at once, each for a thread of its own
    #[arg(long, default_value_t = 200)]
    threads: usize,
    /// How long the stand-in for a model takes to begin its answer, milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    answer_ms: u64,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// Resources of the large apply; the small one has a tenth
    #[arg(long, default_value_t = 10_000)]
    resources: usize,
    /// Measurements of each figure; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct SyncArgs {
    /// Documents of each figure
    #[arg(long, value_delimiter = ',', default_value = "1,100")]
    documents: Vec<usize>,
    /// Clients that edit each document
    #[arg(long, default_value_t = 3)]
    clients: usize,
    /// Updates that each client keeps unacknowledged
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// The script that starts the peer
    #[arg(long, value_name = "FILE", default_value = "benches/peers/hocuspocus")]
    peer_script: PathBuf,
    /// Measure without the peer
    #[arg(long)]
    alone: bool,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measurements of each figure, in turns; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DatasetArgs {
    /// The script that measures LanceDB
    #[arg(long, value_name = "FILE", default_value = "benches/peers/lancedb")]
    peer_script: PathBuf,
    /// Measure ours alone
    #[arg(long)]
    no_peer: bool,
    /// Measure on the disk of this folder; what is made there is removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Rows appended one by one, per repeat
    #[arg(long, default_value_t = 500)]
    appends: usize,
    /// Rows of the table that is scanned
    #[arg(long, default_value_t = 1_000_000)]
    scan_rows: usize,
    /// Rows of each table that is searched by vector; 1000000 take 4 GB of disk
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000")]
    vectors: Vec<usize>,
    /// Measurements of each figure, in turns; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

#[derive(Debug, clap::Args)]
pub struct FanoutArgs {
    /// Receivers of each figure
    #[arg(long, value_delimiter = ',', default_value = "500,5000")]
    receivers: Vec<usize>,
    /// Participants that say nothing; 0 leaves this figure out
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// The script that starts the peer
    #[arg(long, value_name = "FILE", default_value = "benches/peers/ws-fanout")]
    peer_script: PathBuf,
    /// Measure without the peer
    #[arg(long)]
    alone: bool,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Measurements of each figure, in turns; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct StorageArgs {
    /// Measure on the disk of this folder; what is made there is removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Size of the file, mebibytes
    #[arg(long, default_value_t = 512)]
    mebibytes: usize,
    /// Measurements of each, in turns; the median counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    /// A database for graphile-worker and for our queues on Postgres: postgres://…
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// The script that measures graphile-worker
    #[arg(long, value_name = "FILE", default_value = "benches/peers/graphile-worker")]
    peer_script: PathBuf,
    /// Measure on the disk of this folder; what is made there is removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Items of one drain
    #[arg(long, default_value_t = 200_000)]
    items: usize,
    /// Items of one drain by consumers that take them one by one, and of the peer in its default configuration
    #[arg(long, default_value_t = 20_000)]
    items_one_by_one: usize,
    /// Single items whose wake-up is timed, per repeat
    #[arg(long, default_value_t = 500)]
    rounds: usize,
    /// Measurements of each figure, in turns; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// A peer to measure in the same run: postgres://… or nats://host:port#label; can be repeated
    #[arg(long, value_name = "URL")]
    against: Vec<String>,
    /// Measure on the disk of this folder; what is made there is removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Concurrent writers of each figure
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    writers: Vec<usize>,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Measurements of each figure, in turns; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Events of the replay
    #[arg(long, default_value_t = 1_000_000)]
    replay_events: u64,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct InvokeArgs {
    /// Round trips of each
    #[arg(long, default_value_t = 20_000)]
    rounds: usize,
}

#[derive(Debug, clap::Args)]
pub struct ProxyArgs {
    /// Requests of each kind and way
    #[arg(long, default_value_t = 2_000)]
    rounds: usize,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct CrashArgs {
    /// How often to kill it
    #[arg(long, default_value_t = 500)]
    rounds: u32,
    /// Kill an agent in the middle of its turns, not the server
    #[arg(long)]
    agents: bool,
    /// Makes the moments of death repeatable
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the server on this PostgreSQL database instead of the embedded one
    #[arg(long, value_name = "URL", env = "MESHAGENT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The binary under test [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Apply(args) => apply(args).await,
        Command::Crash(args) => crash(args).await,
        Command::Dataset(args) => dataset(args).await,
        Command::Fanout(args) => fanout(args).await,
        Command::Invoke(args) => invoke(args).await,
        Command::Log(args) => log(args).await,
        Command::Agent(args) => agent(args).await,
        Command::Proxy(args) => proxy(args).await,
        Command::Queue(args) => queue(args).await,
        Command::Storage(args) => storage(args).await,
        Command::Sync(args) => sync(args).await,
    }
}

async fn apply(args: ApplyArgs) -> Result<(), CliError> {
    let options = apply::Options {
        program: under_test(args.program)?,
        resources: args.resources,
        repeats: args.repeats,
    };
    let report = apply::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    show(&report, args.json)
}

async fn dataset(args: DatasetArgs) -> Result<(), CliError> {
    let options = dataset::Options {
        peer_script: (!args.no_peer).then_some(args.peer_script),
        appends: args.appends,
        scan_rows: args.scan_rows,
        vectors: args.vectors,
        repeats: args.repeats,
        ..dataset::Options::standard(args.dir)
    };
    let report = dataset::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    output::line(report.to_string())
}

async fn invoke(args: InvokeArgs) -> Result<(), CliError> {
    let report = invoke::run(args.rounds).await.map_err(|error| CliError::internal(error.to_string()))?;
    output::line(report.to_string())
}

async fn log(args: LogArgs) -> Result<(), CliError> {
    let options = log::Options {
        against: args.against,
        writers: args.writers,
        time: std::time::Duration::from_secs(args.seconds),
        repeats: args.repeats,
        replay_events: args.replay_events,
        ..log::Options::standard(args.dir)
    };
    let report = log::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    show(&report, args.json)
}

async fn queue(args: QueueArgs) -> Result<(), CliError> {
    let options = queue::Options {
        against: args.against,
        peer_script: args.peer_script,
        items: args.items,
        items_one_by_one: args.items_one_by_one,
        rounds: args.rounds,
        repeats: args.repeats,
        ..queue::Options::standard(args.dir)
    };
    let report = queue::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    show(&report, args.json)
}

/// Every figure as JSON, or what people read.
fn show(report: &(impl serde::Serialize + std::fmt::Display), json: bool) -> Result<(), CliError> {
    if !json {
        return output::line(report.to_string());
    }
    let json = serde_json::to_string_pretty(report).map_err(|error| CliError::internal(error.to_string()))?;
    output::line(json)
}

/// The program given, or this one.
fn under_test(program: Option<PathBuf>) -> Result<PathBuf, CliError> {
    let own = || {
        std::env::current_exe()
            .map_err(|error| CliError::internal(format!("cannot find this program's own file: {error}")))
    };
    program.map_or_else(own, Ok)
}

async fn fanout(args: FanoutArgs) -> Result<(), CliError> {
    let options = fanout::Options {
        program: under_test(args.program)?,
        peer_script: (!args.alone).then_some(args.peer_script),
        receivers: args.receivers,
        payload_bytes: 256,
        seconds: args.seconds,
        repeats: args.repeats,
        idle: args.idle,
    };
    let report = fanout::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    show(&report, args.json)
}

async fn agent(args: AgentArgs) -> Result<(), CliError> {
    let options = agent::Options {
        program: under_test(args.program)?,
        peer: args.peer,
        starts: args.starts,
        threads: args.threads,
        hold: Duration::from_millis(args.answer_ms),
    };
    let report = agent::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    output::data(&report.to_string())
}

async fn proxy(args: ProxyArgs) -> Result<(), CliError> {
    let program = under_test(args.program)?;
    let report =
        proxy::run(&program, args.rounds).await.map_err(|error| CliError::user(error.to_string()))?;
    output::data(&report.to_string())
}

async fn storage(args: StorageArgs) -> Result<(), CliError> {
    let options = storage::Options {
        program: under_test(args.program)?,
        dir: args.dir,
        mebibytes: args.mebibytes,
        repeats: args.repeats,
    };
    let report = storage::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    show(&report, args.json)
}

async fn sync(args: SyncArgs) -> Result<(), CliError> {
    let options = sync::Options {
        program: under_test(args.program)?,
        peer_script: (!args.alone).then_some(args.peer_script),
        documents: args.documents,
        clients: args.clients,
        window: args.window,
        seconds: args.seconds,
        repeats: args.repeats,
    };
    let report = sync::run(&options, |line: &str| output::note(line))
        .await
        .map_err(|error| CliError::user(error.to_string()))?;
    show(&report, args.json)
}

async fn crash(args: CrashArgs) -> Result<(), CliError> {
    let program = under_test(args.program)?;
    let options =
        crash::Options { program, rounds: args.rounds, seed: args.seed, database_url: args.database_url };
    if args.agents {
        return crash_agents(&options).await;
    }
    let verdict =
        crash::run(&options, output::note).await.map_err(|error| CliError::user(error.to_string()))?;
    output::line(verdict.to_string())?;
    if verdict.is_good() {
        return Ok(());
    }
    Err(CliError::user(format!("the server lost or repeated work in {} rounds", args.rounds))
        .hint("run it again with the same --seed, and report what it prints"))
}

async fn crash_agents(options: &crash::Options) -> Result<(), CliError> {
    let verdict = crash::agents::run(options, output::note).await;
    let verdict = verdict.map_err(|error| CliError::user(error.to_string()))?;
    output::line(verdict.to_string())?;
    if verdict.is_good() {
        return Ok(());
    }
    Err(CliError::user(format!("the agent lost or repeated jobs in {} rounds", options.rounds))
        .hint("run it again with the same --seed, and report what it prints"))
}

//! `meshagent bench log`: durable appends (B1) and replay (B2), ours and the peers' in turns.

mod drive;
mod nats;
mod ours;
mod postgres;
mod report;

pub use report::{AppendFigure, ReplayFigure, Report};

use super::BenchError;
use super::measure::fsync_floor;
use async_trait::async_trait;
use drive::{Sample, drive};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// On the disk to be measured; files made there are removed.
    pub dir: PathBuf,
    /// `postgres://…`, and `nats://host:port#label` for each JetStream server.
    pub against: Vec<String>,
    /// Numbers of concurrent writers.
    pub writers: Vec<usize>,
    /// Length of each measurement.
    pub time: Duration,
    /// Measurements of each figure; the median counts.
    pub repeats: usize,
    pub payload_bytes: usize,
    /// Events of the replay.
    pub replay_events: u64,
}

impl Options {
    /// The figures of `docs/performance.md`.
    #[must_use]
    pub fn standard(dir: PathBuf) -> Self {
        Self {
            dir,
            against: Vec::new(),
            writers: vec![1, 16, 64, 256],
            time: Duration::from_secs(2),
            repeats: 3,
            payload_bytes: 256,
            replay_events: 1_000_000,
        }
    }
}

/// Something that takes events and answers when they are stored.
#[async_trait]
trait Contestant: Send + Sync {
    fn name(&self) -> String;
    /// Events per append.
    fn batch(&self) -> usize;
    /// A writer with a stream of its own.
    async fn writer(&self) -> Result<Box<dyn Writer>, String>;
}

#[async_trait]
trait Writer: Send {
    /// Stores this many events and waits until that is acknowledged.
    async fn append(&mut self, payload: &str, events: usize) -> Result<(), String>;
}

/// Events of one append in the batch measurement.
const BATCH: usize = 100;
/// Writers of the batch measurement.
const BATCH_WRITERS: [usize; 2] = [1, 16];

/// Measures everything, each repeat in turns, and says on the way what is being measured.
pub async fn run(options: &Options, mut say: impl FnMut(&str) + Send) -> Result<Report, BenchError> {
    let disk = |source| BenchError::Disk { place: options.dir.display().to_string(), source };
    let dir = options.dir.join(format!("meshagent-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(disk)?;
    let result = measure(options, &dir, &mut say).await;
    std::fs::remove_dir_all(&dir).map_err(disk)?;
    result
}

async fn measure(
    options: &Options,
    dir: &std::path::Path,
    say: &mut (impl FnMut(&str) + Send),
) -> Result<Report, BenchError> {
    let sqlite = ours::Sqlite::open(&dir.join("append")).await?;
    let mut single: Vec<Arc<dyn Contestant>> = vec![Arc::new(sqlite.with_batch(1))];
    let mut batched: Vec<Arc<dyn Contestant>> = vec![Arc::new(sqlite.with_batch(BATCH))];
    let mut databases = Vec::new();
    for url in &options.against {
        if url.starts_with("nats://") {
            single.push(Arc::new(nats::JetStream::connect(url).await?));
        } else if url.starts_with("postgres") || url.contains("host=") {
            let database = postgres::Database::create(url).await?;
            let ours = ours::Postgres::open(&database.url).await?;
            single.extend([Arc::new(ours.with_batch(1)) as Arc<dyn Contestant>, Arc::new(database.table(1))]);
            batched.extend([
                Arc::new(ours.with_batch(BATCH)) as Arc<dyn Contestant>,
                Arc::new(database.table(BATCH)),
            ]);
            databases.push(database);
        } else {
            return Err(BenchError::UnknownPeer { url: url.clone() });
        }
    }
    let mut report = Report::new(options);
    for _ in 0..options.repeats {
        for writers in &options.writers {
            round(options, &single, *writers, &mut report, say).await?;
        }
        for writers in BATCH_WRITERS {
            round(options, &batched, writers, &mut report, say).await?;
        }
    }
    drop((single, batched));
    say("replay: filling a log");
    report.replays = replay(options, dir, &databases, say).await?;
    for database in databases {
        database.remove().await?;
    }
    sqlite.close().await;
    Ok(report)
}

/// One repeat of one figure: the floor, then each contestant in turn.
async fn round(
    options: &Options,
    contestants: &[Arc<dyn Contestant>],
    writers: usize,
    report: &mut Report,
    say: &mut (impl FnMut(&str) + Send),
) -> Result<(), BenchError> {
    report.floors.push(fsync_floor(&options.dir)?);
    for contestant in contestants {
        let (name, batch) = (contestant.name(), contestant.batch());
        say(&format!("append: {name}, {writers} writers, {batch} at a time"));
        let sample: Sample = drive(contestant, writers, options).await?;
        report.add(&name, writers, batch, sample);
    }
    Ok(())
}

async fn replay(
    options: &Options,
    dir: &std::path::Path,
    databases: &[postgres::Database],
    say: &mut (impl FnMut(&str) + Send),
) -> Result<Vec<ReplayFigure>, BenchError> {
    let sqlite = ours::Sqlite::open(&dir.join("replay")).await?;
    sqlite.fill(options).await?;
    let mut figures = Vec::new();
    for _ in 0..options.repeats {
        say("replay: meshagent sqlite");
        figures.push(sqlite.replay().await?);
        for database in databases {
            say("replay: postgres");
            figures.push(ours::Postgres::open(&database.url).await?.replay().await?);
            figures.push(database.replay().await?);
        }
    }
    sqlite.close().await;
    Ok(figures)
}

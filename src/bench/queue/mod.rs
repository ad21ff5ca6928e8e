//! `meshagent bench queue`: draining a filled queue and waking one that waits (B4), ours and a peer's in turns.

mod ours;
mod peer;
mod report;

pub use report::{Figure, Report};

use super::BenchError;
use super::measure::{Cpu, fsync_floor};
use crate::store::postgres::Postgres;
use ours::Ours;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// On the disk to be measured; files made there are removed.
    pub dir: PathBuf,
    /// A `postgres://…` database for graphile-worker, and for our queues on Postgres.
    pub against: Option<String>,
    /// The script that measures graphile-worker.
    pub peer_script: PathBuf,
    /// Items of one drain.
    pub items: usize,
    /// Items of one drain by consumers that take them one by one.
    pub items_one_by_one: usize,
    /// Single items whose wake-up is timed, per repeat.
    pub rounds: usize,
    /// Measurements of each figure, in turns; the median counts.
    pub repeats: usize,
    pub payload_bytes: usize,
}

impl Options {
    /// The figures of `docs/performance.md`.
    #[must_use]
    pub fn standard(dir: PathBuf) -> Self {
        Self {
            dir,
            against: None,
            peer_script: "benches/peers/graphile-worker".into(),
            items: 200_000,
            items_one_by_one: 20_000,
            rounds: 500,
            repeats: 3,
            payload_bytes: 256,
        }
    }
}

/// How a drain goes.
#[derive(Debug, Clone, Copy)]
struct Manner {
    name: &'static str,
    consumers: usize,
    /// Items that a consumer leases, and acknowledges, at once.
    batch: usize,
}

const BATCHED: Manner = Manner { name: "16 consumers, lease and ack 100 at once", consumers: 16, batch: 100 };
const ONE_BY_ONE: Manner = Manner { name: "64 consumers, lease and ack one by one", consumers: 64, batch: 1 };

/// One drain.
#[derive(Debug, Clone, Copy)]
struct Drained {
    per_second: f64,
    own_cpu_us: f64,
}

impl Drained {
    fn new(items: usize, took: Duration, cpu: Cpu) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a count of items")]
        let items = items as f64;
        Self { per_second: items / took.as_secs_f64(), own_cpu_us: cpu.own * 1e6 / items }
    }
}

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
    let mut report = Report::new(options);
    for repeat in 1..=options.repeats {
        say(&format!("repeat {repeat} of {}: the disk, then our queues on SQLite", options.repeats));
        report.floors.push(fsync_floor(dir)?);
        let sqlite = Ours::sqlite(&dir.join(repeat.to_string())).await?;
        measure_ours(&sqlite, options, &mut report).await?;
        sqlite.close().await;
        let Some(url) = &options.against else { continue };
        say("our queues on Postgres");
        let failed = |error: crate::store::StoreError| BenchError::Failed {
            name: ours::POSTGRES.to_owned(),
            reason: error.to_string(),
        };
        let store = Arc::new(Postgres::open(url).await.map_err(failed)?);
        let postgres = Ours::postgres(store).await?;
        measure_ours(&postgres, options, &mut report).await?;
        for mode in ["default", "batched"] {
            say(&format!("graphile-worker, {mode}"));
            peer::measure(options, url, mode, &mut report).await?;
        }
    }
    Ok(report)
}

async fn measure_ours(queues: &Ours, options: &Options, report: &mut Report) -> Result<(), BenchError> {
    for (manner, items) in [(BATCHED, options.items), (ONE_BY_ONE, options.items_one_by_one)] {
        let drained = queues.drain(manner, items, options.payload_bytes).await?;
        report.figure(queues.name(), manner.name).drain(drained.per_second, drained.own_cpu_us);
    }
    let figure = report.figure(queues.name(), BATCHED.name);
    queues.wake(options.rounds, options.payload_bytes, figure).await
}

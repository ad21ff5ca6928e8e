//! `meshagent bench dataset`: single-row appends and full scans of a room's datasets, and LanceDB's in turns; and exact
//! searches for nearest vectors.

mod ours;
mod report;
mod vectors;

pub use report::Report;

use super::BenchError;
use super::measure::fsync_floor;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// On the disk to be measured; files made there are removed.
    pub dir: PathBuf,
    /// The script that measures LanceDB; `None` measures ours alone.
    pub peer_script: Option<PathBuf>,
    /// Rows appended one by one, per repeat.
    pub appends: usize,
    /// Rows of the table that is scanned.
    pub scan_rows: usize,
    /// Scans per repeat.
    pub scans: usize,
    /// Measurements of each figure, in turns; the median counts.
    pub repeats: usize,
    /// Rows of each table that is searched by vector.
    pub vectors: Vec<usize>,
}

impl Options {
    /// The figures of `docs/performance.md`.
    #[must_use]
    pub fn standard(dir: PathBuf) -> Self {
        Self {
            dir,
            peer_script: Some("benches/peers/lancedb".into()),
            appends: 500,
            scan_rows: 1_000_000,
            scans: 5,
            repeats: 3,
            vectors: vec![100_000, 1_000_000],
        }
    }
}

/// What one contestant needed in one repeat.
#[derive(Debug, Clone, Default, Deserialize)]
struct Measured {
    version: String,
    append_us: Vec<f64>,
    scan_s: Vec<f64>,
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
    dir: &Path,
    say: &mut (impl FnMut(&str) + Send),
) -> Result<Report, BenchError> {
    let mut report = Report::new(options);
    for repeat in 1..=options.repeats {
        say(&format!("repeat {repeat} of {}: the disk, then our datasets", options.repeats));
        report.floors.push(fsync_floor(dir)?);
        report.add("meshagent", &ours::measure(options, &dir.join(format!("ours-{repeat}"))).await?);
        if let Some(script) = &options.peer_script {
            say("LanceDB");
            report.add("LanceDB", &peer(options, script, &dir.join(format!("peer-{repeat}"))).await?);
        }
    }
    for rows in &options.vectors {
        say(&format!("exact search of {rows} vectors"));
        let place = dir.join(format!("vectors-{rows}"));
        report.vectors.push(vectors::measure(options, *rows, &place).await?);
        std::fs::remove_dir_all(&place)
            .map_err(|source| BenchError::Disk { place: place.display().to_string(), source })?;
    }
    Ok(report)
}

async fn peer(options: &Options, script: &Path, dir: &Path) -> Result<Measured, BenchError> {
    let failed = |reason: String| BenchError::Failed { name: "LanceDB".to_owned(), reason };
    let mut command = tokio::process::Command::new(script);
    command.arg(dir);
    command.args([options.appends, options.scan_rows, options.scans].map(|number| number.to_string()));
    let output = command.kill_on_drop(true).output().await;
    let output = output.map_err(|error| failed(format!("{}: {error}", script.display())))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

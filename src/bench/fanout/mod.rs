//! `meshagent bench fanout`: one sends, many receive (B6), and what an idle participant costs (B7); beside the `ws`
//! package of node in the same run.
//!
//! Each contestant is a process of its own on loopback; the crowd of receivers is this process, the same for both. It
//! reads WebSocket frames and counts them, and no more. Processor time is the contestant's own.

pub(in crate::bench) mod contestant;
mod crowd;
mod idle;
mod report;
mod rounds;
pub(super) mod socket;

pub use report::{Figure, IdleFigure, Report, SlowFigure, SlowShown};

use super::BenchError;
use contestant::{Contestant, Kind};
use std::path::PathBuf;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server under test: this program.
    pub program: PathBuf,
    /// The script that starts the peer; none where only we are measured.
    pub peer_script: Option<PathBuf>,
    /// Receivers of each round.
    pub receivers: Vec<usize>,
    pub payload_bytes: usize,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Measurements of each figure, in turns; the median counts.
    pub repeats: usize,
    /// Participants of the idle round; none where it is 0.
    pub idle: usize,
}

/// The share of receivers that read nothing in the round with slow readers: one in this many.
pub const SLOW_ONE_IN: usize = 10;

/// Measures everything, each repeat in turns, and says on the way what is being measured.
pub async fn run(options: &Options, mut say: impl FnMut(&str) + Send) -> Result<Report, BenchError> {
    raise_open_files();
    let mut report = Report::new(options);
    for repeat in 1..=options.repeats {
        for &receivers in &options.receivers {
            for kind in [Kind::Ours, Kind::Peer] {
                let Some(contestant) = Contestant::start(kind, options).await? else { continue };
                say(&format!("repeat {repeat} of {}: {} 1 to {receivers}", options.repeats, contestant.name));
                report.add(rounds::throughput(&contestant, receivers, options).await?);
                report.add_slow(rounds::with_slow_readers(&contestant, receivers, options).await?);
                contestant.stop().await;
            }
        }
    }
    if options.idle > 0 {
        say(&format!("{} idle participants", options.idle));
        report.idle = Some(idle::measure(options).await?);
    }
    Ok(report)
}

/// Thousands of sockets need more files than a shell usually allows.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

fn failed(name: &str, reason: impl std::fmt::Display) -> BenchError {
    BenchError::Failed { name: name.to_owned(), reason: reason.to_string() }
}

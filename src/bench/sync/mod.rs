//! `meshagent bench sync`: many documents, each edited by several clients at once (B9), ours and Hocuspocus in turns.
//!
//! Each contestant is a process of its own on loopback; the clients are this process, the same for both: they type, keep
//! a few updates unacknowledged, and count what comes. Processor time is the contestant's own, and includes what it
//! still writes after the last acknowledgement. Ours acknowledges what is on disk, the peer what is in its memory.

mod client;
mod report;
mod typist;

pub use report::{Figure, Report};

use super::BenchError;
use super::fanout::contestant::{Contestant, Kind};
use client::{Counts, Orders};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How long the contestant is left to write what it puts off.
const AFTERWARDS: Duration = Duration::from_secs(4);
/// What joining, and the last acknowledgements, may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server under test: this program.
    pub program: PathBuf,
    /// The script that starts the peer; none where only we are measured.
    pub peer_script: Option<PathBuf>,
    /// Numbers of documents, one figure each.
    pub documents: Vec<usize>,
    /// Clients that edit each document.
    pub clients: usize,
    /// Updates that a client keeps unacknowledged.
    pub window: usize,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Measurements of each figure, in turns; the median counts.
    pub repeats: usize,
}

/// Measures everything, each repeat in turns, and says on the way what is being measured.
pub async fn run(options: &Options, mut say: impl FnMut(&str) + Send) -> Result<Report, BenchError> {
    super::fanout::raise_open_files();
    let mut report = Report::new(options);
    for repeat in 1..=options.repeats {
        for &documents in &options.documents {
            for kind in [Kind::Ours, Kind::Peer] {
                let contestant = match (kind, &options.peer_script) {
                    (Kind::Ours, _) => Contestant::ours(&options.program).await?,
                    (Kind::Peer, Some(script)) => Contestant::peer(script, "hocuspocus").await?,
                    (Kind::Peer, None) => continue,
                };
                let (of, name) = (options.repeats, &contestant.name);
                say(&format!("repeat {repeat} of {of}: {name}, {documents} documents"));
                report.add(measure(&contestant, documents, options).await?);
                contestant.stop().await;
            }
        }
    }
    Ok(report)
}

async fn measure(contestant: &Contestant, documents: usize, options: &Options) -> Result<Figure, BenchError> {
    let clients = documents * options.clients;
    let counts = Arc::new(Counts::default());
    let stopping = Arc::new(AtomicBool::new(false));
    let ready = Arc::new(Barrier::new(clients + 1));
    let mut tasks = JoinSet::new();
    for index in 0..clients {
        let orders = Orders {
            kind: contestant.kind,
            address: contestant.address,
            path: contestant.way_in(&format!("client{index}"), serde_json::json!({"sync": {}}))?,
            document: format!("bench/{}.bench", index % documents),
            client: index as u64 + 1,
            window: options.window,
            counts: Arc::clone(&counts),
            stopping: Arc::clone(&stopping),
            ready: Arc::clone(&ready),
        };
        tasks.spawn(client::edit(orders));
    }
    let all_in = async {
        tokio::select! {
            _ = ready.wait() => Ok(()),
            // None ends well before it was told to.
            Some(ended) = tasks.join_next() => Err(early(&contestant.name, ended)),
        }
    };
    let late = |_| failed(&contestant.name, "not all clients came in");
    tokio::time::timeout(PATIENCE, all_in).await.map_err(late)??;
    let (before, begun) = (contestant.used(), Instant::now());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    stopping.store(true, Ordering::Release);
    let late = |_| failed(&contestant.name, "not everything was acknowledged");
    let end = async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| failed(&contestant.name, error))??;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, end).await.map_err(late)??;
    let took = begun.elapsed();
    tokio::time::sleep(AFTERWARDS).await;
    let after = contestant.used();
    Ok(Figure::new(contestant, documents, options, &counts, took, after.cpu_seconds - before.cpu_seconds))
}

fn early(name: &str, ended: Result<Result<(), BenchError>, tokio::task::JoinError>) -> BenchError {
    match ended {
        Ok(Ok(())) => failed(name, "a client ended before it was told to"),
        Ok(Err(error)) => error,
        Err(error) => failed(name, error),
    }
}

fn failed(name: &str, reason: impl std::fmt::Display) -> BenchError {
    BenchError::Failed { name: name.to_owned(), reason: reason.to_string() }
}

//! The figures, and how they are printed.

use super::Options;
use super::client::Counts;
use crate::bench::fanout::contestant::{Contestant, Kind};
use crate::bench::measure::median;
use serde::Serialize;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// All figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub clients_per_document: usize,
    pub window: usize,
    pub figures: Vec<Figure>,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub ours: bool,
    pub documents: usize,
    /// Acknowledged updates per second of time.
    pub per_second: f64,
    /// Acknowledged updates per second of the server's processor time.
    pub per_cpu_second: f64,
    /// Changes brought to the other clients, per second of time.
    pub relayed_per_second: f64,
    pub resident_bytes: u64,
}

impl Figure {
    #[allow(clippy::cast_precision_loss, reason = "counts")]
    pub(super) fn new(
        contestant: &Contestant,
        documents: usize,
        _options: &Options,
        counts: &Counts,
        took: Duration,
        cpu_seconds: f64,
    ) -> Self {
        let acknowledged = counts.acknowledged.load(Ordering::Relaxed) as f64;
        let relayed = counts.relayed.load(Ordering::Relaxed) as f64;
        Self {
            name: contestant.name.clone(),
            ours: contestant.kind == Kind::Ours,
            documents,
            per_second: acknowledged / took.as_secs_f64(),
            per_cpu_second: acknowledged / cpu_seconds.max(f64::EPSILON),
            relayed_per_second: relayed / took.as_secs_f64(),
            resident_bytes: contestant.used().resident_bytes,
        }
    }
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            clients_per_document: options.clients,
            window: options.window,
            figures: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// The median of a figure of one side.
    fn middle(&self, documents: usize, ours: bool, pick: impl Fn(&Figure) -> f64) -> f64 {
        let those = self.figures.iter().filter(|f| f.documents == documents && f.ours == ours);
        median(those.map(pick).collect())
    }

    /// Our updates per second of processor time over the peer's; nothing without a peer.
    #[must_use]
    pub fn ratio(&self, documents: usize) -> Option<f64> {
        let [ours, peer] = [true, false].map(|side| self.middle(documents, side, |f| f.per_cpu_second));
        (peer > 0.0).then(|| ours / peer)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, clients_per_document, window, .. } = self;
        writeln!(
            f,
            "meshagent {version}, {clients_per_document} clients per document, {window} updates of each unacknowledged"
        )?;
        writeln!(f, "ours is acknowledged when on disk, the peer's when in memory\n")?;
        writeln!(
            f,
            "{:<40} {:>10} {:>12} {:>14} {:>10}",
            "updates", "per second", "per cpu-s", "relayed per s", "memory MiB"
        )?;
        let mut shown: Vec<(usize, &str)> = Vec::new();
        for figure in &self.figures {
            let key = (figure.documents, figure.name.as_str());
            if shown.contains(&key) {
                continue;
            }
            shown.push(key);
            let middle = |pick: fn(&Figure) -> f64| self.middle(figure.documents, figure.ours, pick);
            #[allow(clippy::cast_precision_loss, reason = "bytes to MiB")]
            let memory = middle(|f| f.resident_bytes as f64) / (1024.0 * 1024.0);
            let title = format!("{}, {} documents", figure.name, figure.documents);
            let (rate, cpu) = (middle(|f| f.per_second), middle(|f| f.per_cpu_second));
            let relayed = middle(|f| f.relayed_per_second);
            writeln!(f, "{title:<40} {rate:>10.0} {cpu:>12.0} {relayed:>14.0} {memory:>10.0}")?;
            if let Some(ratio) = self.ratio(figure.documents).filter(|_| !figure.ours) {
                writeln!(f, "  ours over the peer's, updates per cpu-second: {ratio:.1}")?;
            }
        }
        Ok(())
    }
}

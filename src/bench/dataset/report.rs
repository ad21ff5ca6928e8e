//! The figures, and how they are printed.

use super::vectors::{DIMENSIONS, Vectors};
use super::{Measured, Options};
use crate::bench::measure::{Floor, Latencies, median};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// All figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub repeats: usize,
    pub scan_rows: usize,
    pub floors: Vec<Floor>,
    pub figures: Vec<Figure>,
    pub vectors: Vec<Vectors>,
}

/// One contestant.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    /// Of single-row appends, each acknowledged before the next.
    #[serde(skip)]
    pub appends: Latencies,
    /// Seconds of each full scan.
    pub scans: Vec<f64>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            repeats: options.repeats,
            scan_rows: options.scan_rows,
            floors: vec![],
            figures: vec![],
            vectors: vec![],
        }
    }

    pub(super) fn add(&mut self, name: &str, measured: &Measured) {
        let name = format!("{name} {}", measured.version);
        let at = self.figures.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            self.figures.push(Figure { name, appends: Latencies::default(), scans: vec![] });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[at];
        for micros in &measured.append_us {
            figure.appends.add(Duration::from_secs_f64(micros / 1e6));
        }
        figure.scans.extend(&measured.scan_s);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "meshagent {}, {} rows scanned, medians of {} repeats",
            self.version, self.scan_rows, self.repeats
        )?;
        let floor = median(self.floors.iter().map(|floor| floor.p50_us).collect());
        writeln!(f, "fsync floor of this disk: p50 {floor:.0} us\n")?;
        writeln!(f, "{:<24} {:>14} {:>14} {:>12}", "", "append p50 us", "append p99 us", "scan ms")?;
        let mut medians = vec![];
        for figure in &self.figures {
            let mut appends = figure.appends.clone();
            let (p50, p99) = (appends.percentile(0.5), appends.percentile(0.99));
            let scan = median(figure.scans.clone()) * 1e3;
            writeln!(f, "{:<24} {p50:>14.0} {p99:>14.0} {scan:>12.1}", figure.name)?;
            medians.push((p50, scan));
        }
        if let [(our_append, our_scan), (peer_append, peer_scan)] = medians[..] {
            writeln!(f, "\nappends: {:.2} x the peer's rate", peer_append / our_append)?;
            writeln!(f, "scans:   {:.2} x the peer's rate", peer_scan / our_scan)?;
        }
        for vectors in &self.vectors {
            let (rows, search) = (vectors.rows, median(vectors.search_s.clone()) * 1e3);
            let insert = vectors.insert_s;
            writeln!(
                f,
                "exact search of {rows} x {DIMENSIONS} floats: {search:.0} ms ({insert:.1} s to insert)"
            )?;
        }
        Ok(())
    }
}

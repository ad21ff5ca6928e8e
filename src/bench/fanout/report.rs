//! The figures, and how they are printed.

use super::{Options, SLOW_ONE_IN};
use crate::bench::measure::{Latencies, median};
use serde::Serialize;
use std::fmt;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// All figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub payload_bytes: usize,
    pub figures: Vec<Figure>,
    pub slow: Vec<SlowShown>,
    pub idle: Option<IdleFigure>,
}

/// One measurement at full speed.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub receivers: usize,
    /// Deliveries per second of time.
    pub per_second: f64,
    /// Deliveries per second of the server's processor time.
    pub per_cpu_second: f64,
    pub resident_bytes: u64,
    pub lost: u64,
}

/// Times from sending to each receiver that reads, in turns.
#[derive(Debug, Clone)]
pub struct SlowFigure {
    pub name: String,
    pub receivers: usize,
    pub all_read: Vec<Latencies>,
    pub some_do_not: Vec<Latencies>,
    pub lost: u64,
    pub resident_bytes: u64,
}

/// [`SlowFigure`] as percentiles, microseconds; the median of the turns.
#[derive(Debug, Clone, Serialize)]
pub struct SlowShown {
    pub name: String,
    pub receivers: usize,
    pub all_read_p50_us: f64,
    pub all_read_p99_us: f64,
    pub some_do_not_p50_us: f64,
    pub some_do_not_p99_us: f64,
    pub lost: u64,
    pub resident_bytes: u64,
}

/// Participants that say nothing.
#[derive(Debug, Clone, Serialize)]
pub struct IdleFigure {
    pub participants: usize,
    /// Resident memory before they came.
    pub alone_bytes: u64,
    pub resident_bytes: u64,
    /// Share of one processor.
    pub cpu_share: f64,
    /// Bytes written to files while nothing was said.
    pub written_bytes: u64,
    /// How often the thread that writes the database was woken then.
    pub database_wakes: u64,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            payload_bytes: options.payload_bytes,
            figures: Vec::new(),
            slow: Vec::new(),
            idle: None,
        }
    }

    pub(super) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(super) fn add_slow(&mut self, figure: SlowFigure) {
        let shown = |turns: Vec<Latencies>, share: f64| {
            median(turns.into_iter().map(|mut latencies| latencies.percentile(share)).collect())
        };
        self.slow.push(SlowShown {
            name: figure.name,
            receivers: figure.receivers,
            all_read_p50_us: shown(figure.all_read.clone(), 0.5),
            all_read_p99_us: shown(figure.all_read, 0.99),
            some_do_not_p50_us: shown(figure.some_do_not.clone(), 0.5),
            some_do_not_p99_us: shown(figure.some_do_not, 0.99),
            lost: figure.lost,
            resident_bytes: figure.resident_bytes,
        });
    }

    /// Medians of one contestant with so many receivers: deliveries per second, and per second of processor time.
    fn rates(&self, name: &str, receivers: usize) -> (f64, f64) {
        let of = |figure: &&Figure| figure.name == name && figure.receivers == receivers;
        let all = || self.figures.iter().filter(of);
        (median(all().map(|f| f.per_second).collect()), median(all().map(|f| f.per_cpu_second).collect()))
    }
}

/// Each value once, in the order of first appearance.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = distinct(self.figures.iter().map(|figure| figure.name.as_str()));
        for receivers in distinct(self.figures.iter().map(|figure| figure.receivers)) {
            writeln!(f, "1 to {receivers}, {} bytes, as fast as it goes:", self.payload_bytes)?;
            for name in &names {
                let (rate, per_cpu) = self.rates(name, receivers);
                writeln!(
                    f,
                    "  {name}: {rate:.0} deliveries/s, {per_cpu:.0} per second of its processor time"
                )?;
            }
            if let [ours, peer, ..] = names[..] {
                let ((rate, cpu), (peer_rate, peer_cpu)) =
                    (self.rates(ours, receivers), self.rates(peer, receivers));
                writeln!(
                    f,
                    "  ratio: {:.1} by time, {:.1} by processor time",
                    rate / peer_rate,
                    cpu / peer_cpu
                )?;
            }
        }
        for slow in &self.slow {
            writeln!(
                f,
                "1 to {}, at a pace, {}: all read p50 {:.0} µs p99 {:.0} µs; one in {SLOW_ONE_IN} does not: p50 {:.0} µs p99 \
                 {:.0} µs (× {:.2}); {} cut off; {:.0} MiB resident",
                slow.receivers,
                slow.name,
                slow.all_read_p50_us,
                slow.all_read_p99_us,
                slow.some_do_not_p50_us,
                slow.some_do_not_p99_us,
                slow.some_do_not_p99_us / slow.all_read_p99_us.max(1e-9),
                slow.lost,
                mebibytes(slow.resident_bytes),
            )?;
        }
        if let Some(idle) = &self.idle {
            writeln!(
                f,
                "{} idle participants: {:.0} MiB resident ({:.0} MiB before they came), {:.2} % of a processor, {} bytes \
                 written, database thread woken {} times",
                idle.participants,
                mebibytes(idle.resident_bytes),
                mebibytes(idle.alone_bytes),
                idle.cpu_share * 100.0,
                idle.written_bytes,
                idle.database_wakes,
            )?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

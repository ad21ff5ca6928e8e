//! The figures, and how they are printed.

use super::Options;
use crate::bench::measure::{Floor, Latencies, median};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// All figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub repeats: usize,
    pub payload_bytes: usize,
    pub floors: Vec<Floor>,
    pub figures: Vec<Figure>,
}

/// One contestant in one manner.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub manner: String,
    /// One per repeat.
    pub drained_per_second: Vec<f64>,
    /// Of the measured process, not of its database server.
    pub own_cpu_us_per_item: Vec<f64>,
    /// From the call that sends to the start at the consumer.
    #[serde(skip)]
    pub wake: Latencies,
    /// From the acknowledgement of the send to the start at the consumer.
    #[serde(skip)]
    pub after_ack: Latencies,
}

impl Figure {
    pub(super) fn drain(&mut self, per_second: f64, own_cpu_us: f64) {
        self.drained_per_second.push(per_second);
        self.own_cpu_us_per_item.push(own_cpu_us);
    }

    pub(super) fn wake(&mut self, took: Duration, after_ack: Option<Duration>) {
        self.wake.add(took);
        if let Some(after_ack) = after_ack {
            self.after_ack.add(after_ack);
        }
    }

    fn rate(&self) -> f64 {
        median(self.drained_per_second.clone())
    }
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            repeats: options.repeats,
            payload_bytes: options.payload_bytes,
            floors: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// The figure of this name and manner, new where there is none.
    pub(super) fn figure(&mut self, name: &str, manner: &str) -> &mut Figure {
        let known = self.figures.iter().position(|figure| figure.name == name && figure.manner == manner);
        let at = known.unwrap_or_else(|| {
            self.figures.push(Figure {
                name: name.to_owned(),
                manner: manner.to_owned(),
                drained_per_second: Vec::new(),
                own_cpu_us_per_item: Vec::new(),
                wake: Latencies::default(),
                after_ack: Latencies::default(),
            });
            self.figures.len() - 1
        });
        &mut self.figures[at]
    }
}

fn write_wake(f: &mut fmt::Formatter<'_>, what: &str, latencies: &Latencies) -> fmt::Result {
    let mut latencies = latencies.clone();
    let (p50, p99) = (latencies.percentile(0.5), latencies.percentile(0.99));
    if p99 > 0.0 { writeln!(f, "{what:<75} {p50:>9.0} {p99:>9.0}") } else { Ok(()) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, payload_bytes, repeats, .. } = self;
        writeln!(f, "meshagent {version}, {payload_bytes} B items, medians of {repeats} repeats")?;
        let floor = |pick: fn(&Floor) -> f64| median(self.floors.iter().map(pick).collect());
        let (p50, p99) = (floor(|floor| floor.p50_us), floor(|floor| floor.p99_us));
        writeln!(f, "fsync floor of this disk: p50 {p50:.0} us, p99 {p99:.0} us\n")?;
        writeln!(f, "{:<75} {:>9} {:>14}", "drain", "items/s", "own cpu us/item")?;
        for figure in &self.figures {
            let cpu = median(figure.own_cpu_us_per_item.clone());
            let title = format!("{}: {}", figure.name, figure.manner);
            writeln!(f, "{title:<75} {:>9.0} {cpu:>14.1}", figure.rate())?;
        }
        writeln!(f, "\n{:<75} {:>9} {:>9}", "wake-up of a consumer that waits", "p50 us", "p99 us")?;
        for figure in &self.figures {
            write_wake(f, &format!("{}: from the call that sends", figure.name), &figure.wake)?;
            write_wake(f, &format!("{}: from its acknowledgement", figure.name), &figure.after_ack)?;
        }
        Ok(())
    }
}

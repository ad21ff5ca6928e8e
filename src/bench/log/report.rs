//! The figures, and how they stand to each other.

use super::{Options, Sample};
use crate::bench::measure::{Cpu, Floor, Latencies, median};
use serde::Serialize;
use std::fmt;

/// Everything one run measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub payload_bytes: usize,
    pub repeats: usize,
    /// One before each round.
    pub floors: Vec<Floor>,
    pub appends: Vec<AppendFigure>,
    pub replays: Vec<ReplayFigure>,
}

/// One contestant with so many writers and so many events per append.
#[derive(Debug, Serialize)]
pub struct AppendFigure {
    pub name: String,
    pub writers: usize,
    pub batch: usize,
    /// Of each repeat.
    pub events_per_second: Vec<f64>,
    pub own_cpu_us_per_event: Vec<f64>,
    pub machine_cpu_us_per_event: Vec<f64>,
    /// Acknowledgement times of all repeats.
    #[serde(skip)]
    latencies: Latencies,
}

/// Reading everything once.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayFigure {
    pub name: String,
    pub events: u64,
    pub payload_bytes: u64,
    pub events_per_second: f64,
    pub own_cpu_seconds: f64,
    pub machine_cpu_seconds: f64,
}

impl ReplayFigure {
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn new(name: &str, events: u64, payload_bytes: u64, seconds: f64, cpu: Cpu) -> Self {
        let name = name.to_owned();
        let events_per_second = events as f64 / seconds;
        Self {
            name,
            events,
            payload_bytes,
            events_per_second,
            own_cpu_seconds: cpu.own,
            machine_cpu_seconds: cpu.machine,
        }
    }
}

impl AppendFigure {
    /// Median over the repeats.
    pub fn rate(&self) -> f64 {
        median(self.events_per_second.clone())
    }
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            payload_bytes: options.payload_bytes,
            repeats: options.repeats,
            floors: Vec::new(),
            appends: Vec::new(),
            replays: Vec::new(),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn add(&mut self, name: &str, writers: usize, batch: usize, sample: Sample) {
        let same = |f: &&mut AppendFigure| f.name == name && f.writers == writers && f.batch == batch;
        let events = (sample.events.max(1)) as f64;
        let (rate, own, machine) =
            (events / sample.seconds, sample.cpu.own * 1e6 / events, sample.cpu.machine * 1e6 / events);
        if let Some(figure) = self.appends.iter_mut().find(same) {
            figure.events_per_second.push(rate);
            figure.own_cpu_us_per_event.push(own);
            figure.machine_cpu_us_per_event.push(machine);
            figure.latencies.merge(sample.latencies);
            return;
        }
        self.appends.push(AppendFigure {
            name: name.to_owned(),
            writers,
            batch,
            events_per_second: vec![rate],
            own_cpu_us_per_event: vec![own],
            machine_cpu_us_per_event: vec![machine],
            latencies: sample.latencies,
        });
    }

    fn figure(&self, prefix: &str, writers: usize, batch: usize) -> Option<&AppendFigure> {
        self.appends.iter().find(|f| f.name.starts_with(prefix) && f.writers == writers && f.batch == batch)
    }

    fn floor_p50(&self) -> f64 {
        median(self.floors.iter().map(|floor| floor.p50_us).collect())
    }

    /// The comparisons that count, with their targets.
    fn ratios(&self) -> Vec<(String, f64, String)> {
        let mut ratios = Vec::new();
        if let Some(single) = self.figure("meshagent sqlite", 1, 1) {
            let ratio = single.latencies.clone().percentile(0.5) / self.floor_p50();
            ratios.push(("one writer, p50 to the fsync floor".to_owned(), ratio, "<= 1.3".to_owned()));
        }
        let mut compare = |ours: &str, peer: &str, writers, batch, target: &str| {
            if let (Some(ours), Some(peer)) =
                (self.figure(ours, writers, batch), self.figure(peer, writers, batch))
            {
                let what = format!("{} to {}, {writers} writers, {batch} at a time", ours.name, peer.name);
                ratios.push((what, ours.rate() / peer.rate(), target.to_owned()));
            }
        };
        compare("meshagent sqlite", "postgres table", 64, 1, ">= 2");
        compare("meshagent sqlite", "jetstream (sync always", 64, 1, ">= 10");
        compare("meshagent sqlite", "jetstream (default", 64, 1, "no target: it does not sync");
        compare("meshagent postgres", "postgres table", 1, 1, "no target");
        compare("meshagent postgres", "postgres table", 64, 1, ">= 0.9");
        for writers in super::BATCH_WRITERS {
            compare("meshagent postgres", "postgres table", writers, super::BATCH, ">= 0.9");
        }
        let replay =
            self.replays.iter().filter(|f| f.name == "meshagent sqlite").map(|f| f.events_per_second);
        ratios.push((
            "replay from sqlite to 300k events/s".to_owned(),
            median(replay.collect()) / 300_000.0,
            ">= 1".to_owned(),
        ));
        ratios
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p99 = median(self.floors.iter().map(|floor| floor.p99_us).collect());
        writeln!(
            f,
            "meshagent {}, {} B events, medians of {} repeats",
            self.version, self.payload_bytes, self.repeats
        )?;
        writeln!(f, "fsync floor of this disk: p50 {:.0} us, p99 {p99:.0} us\n", self.floor_p50())?;
        let head = ["events/s", "p50 us", "p99 us", "own cpu us/ev", "machine cpu us/ev"];
        writeln!(
            f,
            "{:<32} {:>7} {:>5} {:>10} {:>9} {:>9} {:>13} {:>17}",
            "append", "writers", "batch", head[0], head[1], head[2], head[3], head[4]
        )?;
        let mut figures: Vec<_> = self.appends.iter().collect();
        figures.sort_by_key(|figure| (figure.batch, figure.writers));
        for figure in figures {
            let mut latencies = figure.latencies.clone();
            let (p50, p99) = (latencies.percentile(0.5), latencies.percentile(0.99));
            let (own, machine) = (
                median(figure.own_cpu_us_per_event.clone()),
                median(figure.machine_cpu_us_per_event.clone()),
            );
            let AppendFigure { name, writers, batch, .. } = figure;
            writeln!(
                f,
                "{name:<32} {writers:>7} {batch:>5} {:>10.0} {p50:>9.0} {p99:>9.0} {own:>13.1} {machine:>17.1}",
                figure.rate()
            )?;
        }
        writeln!(
            f,
            "\n{:<32} {:>10} {:>10} {:>9} {:>13}",
            "replay", "events", "events/s", "own cpu s", "machine cpu s"
        )?;
        for ReplayFigure { name, events, events_per_second, own_cpu_seconds, machine_cpu_seconds, .. } in
            &self.replays
        {
            writeln!(
                f,
                "{name:<32} {events:>10} {events_per_second:>10.0} {own_cpu_seconds:>9.2} {machine_cpu_seconds:>13.2}"
            )?;
        }
        writeln!(f)?;
        for (what, ratio, target) in self.ratios() {
            writeln!(f, "{what}: {ratio:.2} (target {target})")?;
        }
        Ok(())
    }
}

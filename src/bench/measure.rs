//! Floors, percentiles and processor time.

use super::BenchError;
use serde::Serialize;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes of one look at the disk.
const FLOOR_WRITES: usize = 400;
const FLOOR_BLOCK_BYTES: usize = 4096;
/// The kernel counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long something took, many times. Microseconds.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    sorted: bool,
    micros: Vec<f64>,
}

impl Latencies {
    pub fn add(&mut self, took: Duration) {
        self.sorted = false;
        self.micros.push(took.as_secs_f64() * 1e6);
    }

    pub fn merge(&mut self, other: Self) {
        self.sorted = false;
        self.micros.extend(other.micros);
    }

    /// The value that this share of all (0 to 1) does not exceed; 0 when there is none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn percentile(&mut self, share: f64) -> f64 {
        if !self.sorted {
            self.micros.sort_by(f64::total_cmp);
            self.sorted = true;
        }
        let last = self.micros.len().saturating_sub(1);
        self.micros.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

/// The middle one of several figures; 0 when there is none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// What the disk needs at least: writing a block over a block of a file, and syncing it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Floor {
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Measures the floor with a file in `dir`. Blocking.
pub fn fsync_floor(dir: &Path) -> Result<Floor, BenchError> {
    let measure = || -> std::io::Result<Latencies> {
        let file = tempfile_in(dir)?;
        file.write_all_at(&vec![0; FLOOR_BLOCK_BYTES * FLOOR_WRITES], 0)?;
        file.sync_all()?;
        let mut latencies = Latencies::default();
        for n in 0..FLOOR_WRITES {
            let begun = Instant::now();
            file.write_all_at(&[1; FLOOR_BLOCK_BYTES], (n * FLOOR_BLOCK_BYTES) as u64)?;
            file.sync_data()?;
            latencies.add(begun.elapsed());
        }
        Ok(latencies)
    };
    let mut latencies =
        measure().map_err(|source| BenchError::Disk { place: dir.display().to_string(), source })?;
    Ok(Floor { p50_us: latencies.percentile(0.5), p99_us: latencies.percentile(0.99) })
}

/// A file without a name: gone when closed.
fn tempfile_in(dir: &Path) -> std::io::Result<std::fs::File> {
    let path = dir.join(format!("fsync-floor-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Processor time used so far, seconds: by this process, and by everything on the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub own: f64,
    pub machine: f64,
}

impl Cpu {
    /// Zero where the kernel does not tell.
    pub fn now() -> Self {
        Self { own: own().unwrap_or_default(), machine: machine().unwrap_or_default() }
    }

    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { own: self.own - earlier.own, machine: self.machine - earlier.machine }
    }
}

fn own() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything, user and system time are the 12th and 13th field.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn machine() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, waiting,) interrupts, soft interrupts, stolen
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|field| ticks.get(*field)).sum::<f64>();
    Some(busy / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut latencies = Latencies::default();
        for ms in [5, 1, 3, 2, 4] {
            latencies.add(Duration::from_millis(ms));
        }
        assert!((latencies.percentile(0.5) - 3000.0).abs() < 1e-6);
        assert!((latencies.percentile(1.0) - 5000.0).abs() < 1e-6);
        assert!(Latencies::default().percentile(0.5).abs() < 1e-6);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn the_floor_and_the_processor_can_be_read() {
        let dir = tempfile::TempDir::new().unwrap();
        assert!(fsync_floor(dir.path()).unwrap().p50_us > 0.0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Cpu::now().machine > 0.0);
    }
}

//! Durations and what they come to.

use std::fmt;
use std::time::Duration;

/// Durations of one kind, sorted.
#[derive(Debug, Clone)]
pub struct Timings(Vec<Duration>);

impl Timings {
    #[must_use]
    pub fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The duration that `percent` of all are no longer than; zero where there are none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let at = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(at.saturating_sub(1).min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |percent| self.percentile(percent).as_secs_f64() * 1e6;
        write!(f, "p50 {:.1} µs, p99 {:.1} µs ({} round trips)", micros(50.0), micros(99.0), self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_durations() {
        let all = Timings::new((1..=100).rev().map(Duration::from_micros).collect());
        assert_eq!(all.percentile(50.0), Duration::from_micros(50));
        assert_eq!(all.percentile(99.0), Duration::from_micros(99));
        assert_eq!(all.percentile(100.0), Duration::from_micros(100));
        assert_eq!(Timings::new(Vec::new()).percentile(50.0), Duration::ZERO);
    }
}

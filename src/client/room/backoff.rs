//! How long to wait before the next attempt. Pure.

use std::time::Duration;

/// Doubling waits with jitter and a cap.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

/// Doublings after which the cap holds for any sensible first wait.
const DOUBLINGS_MAX: u32 = 16;

impl Default for Backoff {
    /// 0.5 s doubling up to 30 s, as the official clients do.
    fn default() -> Self {
        Self { first: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait before attempt `attempt` (0 = the first retry): between half and the whole of the doubled wait.
    /// `jitter` is any number; only its low 16 bits count.
    #[must_use]
    pub fn wait(self, attempt: u32, jitter: u128) -> Duration {
        let whole = self.first.saturating_mul(1 << attempt.min(DOUBLINGS_MAX)).min(self.max);
        let part = u32::try_from(jitter & 0xffff).unwrap_or(0);
        whole / 2 + (whole / 2) * part / 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_jitter_takes_at_most_half() {
        let backoff = Backoff::default();
        let longest: Vec<_> = (0..8).map(|k| backoff.wait(k, 0xffff).as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.wait(1, 0).as_millis(), 500);
        assert_eq!(backoff.wait(u32::MAX, 0xffff).as_secs(), 30);
    }
}

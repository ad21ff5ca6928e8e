//! When a delivery that did not work is tried again, and when it is given up. Pure.

use chrono::{DateTime, Duration, Utc};

/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::hours(4);
/// A message that did not get out for this long goes back to its sender.
pub const GIVE_UP_AFTER: Duration = Duration::days(2);
/// Tries, whatever the time.
pub const TRIES_MAX: u32 = 40;

/// The time of the next try after `attempt` of them, each wait twice the last; `None`: give up.
#[must_use]
pub fn next(
    submitted_at: DateTime<Utc>,
    now: DateTime<Utc>,
    attempt: u32,
    first: Duration,
) -> Option<DateTime<Utc>> {
    if attempt >= TRIES_MAX || now - submitted_at >= GIVE_UP_AFTER {
        return None;
    }
    let doublings = attempt.saturating_sub(1).min(16);
    let wait = first.checked_mul(1 << doublings).map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX));
    Some(now + wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_hours_and_end_after_days() {
        let start = DateTime::UNIX_EPOCH;
        let first = Duration::minutes(1);
        let wait = |attempt| next(start, start, attempt, first).map(|at| (at - start).num_minutes());
        assert_eq!([1, 2, 3, 8, 9, 39].map(wait), [1, 2, 4, 128, 240, 240].map(Some));
        assert_eq!(wait(TRIES_MAX), None);
        assert_eq!(next(start, start + GIVE_UP_AFTER, 2, first), None);
        let (mut now, mut tries) = (start, 1);
        while let Some(at) = next(start, now, tries, first) {
            (now, tries) = (at, tries + 1);
        }
        assert!((15..=30).contains(&tries), "{tries} tries");
    }
}

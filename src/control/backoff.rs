//! How long to wait after failures: capped, exponential, spread by a jitter derived from a seed.

use std::time::Duration;

/// First wait.
pub const BASE: Duration = Duration::from_secs(1);
/// Longest wait before the jitter.
pub const CAP: Duration = Duration::from_mins(5);
/// A wait grows by up to this share of itself, so that things that failed together do not come back together.
pub const JITTER_PERCENT: u64 = 25;

/// The wait after this many failures in a row; nothing after none. The same seed and number give the same wait, so
/// that a plan can be made twice.
#[must_use]
pub fn delay(failures: u32, seed: u128) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doublings = (failures - 1).min(30);
    let plain = BASE.saturating_mul(1 << doublings).min(CAP);
    let spread = mix(seed, failures) % (JITTER_PERCENT + 1);
    let extra = plain.as_millis().saturating_mul(u128::from(spread)) / 100;
    plain + Duration::from_millis(u64::try_from(extra).unwrap_or(0))
}

/// Bits that look random (FNV-1a over the seed and the number).
fn mix(seed: u128, failures: u32) -> u64 {
    let bytes = seed.to_be_bytes().into_iter().chain(failures.to_be_bytes());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_spread() {
        assert_eq!(delay(0, 1), Duration::ZERO);
        let upper = |plain: Duration| plain + plain * 25 / 100;
        for (failures, plain) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1000, 300), (u32::MAX, 300)] {
            let plain = Duration::from_secs(plain);
            for seed in 0..50 {
                let wait = delay(failures, seed);
                assert!(wait >= plain && wait <= upper(plain), "{failures} failures, seed {seed}: {wait:?}");
                assert_eq!(wait, delay(failures, seed));
            }
        }
        let different: std::collections::BTreeSet<Duration> = (0..50).map(|seed| delay(10, seed)).collect();
        assert!(different.len() > 10, "{different:?}");
    }
}

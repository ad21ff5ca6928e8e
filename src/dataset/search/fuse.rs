//! One ranking out of two: reciprocal rank fusion.

use std::collections::HashMap;

/// Column of the relevance of a row in a fused ranking; best is largest.
pub const RELEVANCE: &str = "_relevance_score";
/// How much less a place further down counts; the number that the method is published with.
const SMOOTHING: f32 = 60.0;

/// Rows of two rankings, best first in each, with what they are worth together, best first. Equal ones keep to the order
/// of the rows' numbers.
#[must_use]
pub fn fuse(first: &[i64], second: &[i64], keep: usize) -> Vec<(i64, f32)> {
    let mut worth: HashMap<i64, f32> = HashMap::with_capacity(first.len() + second.len());
    for ranking in [first, second] {
        for (place, row) in (1..=u16::MAX).chain(std::iter::repeat(u16::MAX)).zip(ranking) {
            *worth.entry(*row).or_default() += 1.0 / (SMOOTHING + f32::from(place));
        }
    }
    let mut fused: Vec<(i64, f32)> = worth.into_iter().collect();
    fused.sort_by(|(row, worth), (other, less)| less.total_cmp(worth).then(row.cmp(other)));
    fused.truncate(keep);
    fused
}

#[cfg(test)]
mod tests {
    use super::fuse;

    #[test]
    fn what_both_find_comes_first() {
        let rows: Vec<i64> = fuse(&[1, 2, 3], &[9, 3, 8], 10).into_iter().map(|(row, _)| row).collect();
        assert_eq!(rows, [3, 1, 9, 2, 8]);
        assert_eq!(fuse(&[1, 2], &[], 1), [(1, 1.0 / 61.0)]);
        assert!(fuse(&[], &[], 5).is_empty());
    }

    #[test]
    fn long_rankings_do_not_wrap() {
        let many: Vec<i64> = (0..70_000).collect();
        let fused = fuse(&many, &[], many.len());
        assert_eq!(fused.len(), many.len());
        assert!(fused.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    }
}

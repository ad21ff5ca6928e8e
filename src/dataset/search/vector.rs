//! Distances between vectors of float32, written so that the compiler makes vector instructions of them.

/// How far two vectors are from each other; nearer is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// Square of the Euclidean distance.
    #[default]
    L2,
    /// One less the cosine of the angle.
    Cosine,
    /// One less the dot product.
    Dot,
}

impl Metric {
    /// As clients name it, in any case; `None` for a name that is not known.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "l2" | "euclidean" => Some(Self::L2),
            "cosine" => Some(Self::Cosine),
            "dot" | "inner_product" => Some(Self::Dot),
            _ => None,
        }
    }
}

/// Sums are kept in so many parts: as wide as the widest registers there are.
const LANES: usize = 16;

/// The vector that others are measured from.
#[derive(Debug, Clone)]
pub struct Target {
    metric: Metric,
    values: Vec<f32>,
    /// Length, for cosines.
    norm: f32,
    /// Where the vector that is measured is unpacked.
    other: Vec<f32>,
}

impl Target {
    #[must_use]
    pub fn new(metric: Metric, values: &[f32]) -> Self {
        let norm = dot(values, values).sqrt();
        Self { metric, values: values.to_vec(), norm, other: vec![0.0; values.len()] }
    }

    /// The distance of a vector of the same width; NaN where there is none, as from a vector of zeros by cosine.
    #[must_use]
    pub fn distance(&self, other: &[f32]) -> f32 {
        if other.len() != self.values.len() {
            return f32::NAN;
        }
        match self.metric {
            Metric::L2 => squares(&self.values, other),
            Metric::Dot => 1.0 - dot(&self.values, other),
            Metric::Cosine => {
                let (product, square) = dot_and_square(&self.values, other);
                1.0 - product / (self.norm * square.sqrt())
            }
        }
    }

    /// As [`Target::distance`], of a vector in its stored form: little-endian float32 each.
    pub fn distance_of_bytes(&mut self, bytes: &[u8]) -> f32 {
        if bytes.len() != self.values.len() * 4 {
            return f32::NAN;
        }
        for (value, bytes) in self.other.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        let other = std::mem::take(&mut self.other);
        let distance = self.distance(&other);
        self.other = other;
        distance
    }
}

/// Adds `of` of each pair.
#[inline]
fn sum(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += of(a[lane], b[lane]);
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| of(*a, *b)).sum::<f32>()
}

fn squares(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| a * b)
}

/// The product, and the square of the second, in one pass.
fn dot_and_square(a: &[f32], b: &[f32]) -> (f32, f32) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let (mut products, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            products[lane] += a[lane] * b[lane];
            squares[lane] += b[lane] * b[lane];
        }
    }
    let (mut product, mut square) = (products.iter().sum::<f32>(), squares.iter().sum::<f32>());
    for (a, b) in a_rest.iter().zip(b_rest) {
        product += a * b;
        square += b * b;
    }
    (product, square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() <= 1e-4 * b.abs().max(1.0)
    }

    fn plain(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        match metric {
            Metric::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
            Metric::Dot => 1.0 - dot,
            Metric::Cosine => 1.0 - dot / (norm(a) * norm(b)),
        }
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_books(
            pairs in prop::collection::vec((-10.0_f32..10.0, 0.1_f32..10.0), 1..100),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            for metric in [Metric::L2, Metric::Dot, Metric::Cosine] {
                let mut target = Target::new(metric, &a);
                let wanted = plain(metric, &a, &b);
                if wanted.is_nan() {
                    continue;
                }
                prop_assert!(near(target.distance(&b), wanted), "{metric:?}");
                let bytes: Vec<u8> = b.iter().flat_map(|v| v.to_le_bytes()).collect();
                prop_assert_eq!(target.distance_of_bytes(&bytes).to_bits(), target.distance(&b).to_bits());
            }
        }
    }

    #[test]
    fn vectors_of_another_width_or_of_zeros_are_near_to_nothing() {
        let mut target = Target::new(Metric::Cosine, &[1.0, 2.0]);
        assert!(target.distance(&[1.0]).is_nan());
        assert!(target.distance_of_bytes(&[0; 9]).is_nan());
        assert!(target.distance(&[0.0, 0.0]).is_nan());
        assert_eq!(Metric::named("COSINE"), Some(Metric::Cosine));
        assert_eq!(Metric::named("hamming"), None);
    }
}

//! Ranking: how near vectors are, and how a ranking by text and one by vector become one.
//!
//! Pure reckoning; knows no tables, indexes or SQL.

mod fuse;
mod vector;

pub use fuse::{RELEVANCE, fuse};
pub use vector::{Metric, Target};

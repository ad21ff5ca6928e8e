//! When a scheduled task fires. The reading of schedules is part of the document language and lives in `spec`.

pub use crate::spec::schedule::{GAP_SECONDS_MIN, InvalidSchedule, Schedule};

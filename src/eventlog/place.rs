//! Which place each event of an append gets: the one rule of expected versions, for all engines.

use super::{AppendError, Expected, Recorded, StreamWrite};
use crate::id::{Position, StreamId};
use chrono::{DateTime, SubsecRound, Utc};
use std::collections::HashMap;

/// A stream is not where the writer expected it.
#[derive(Debug)]
pub(super) struct Conflict {
    pub stream: StreamId,
    pub expected: Expected,
    pub actual: u64,
}

impl From<Conflict> for AppendError {
    fn from(Conflict { stream, expected, actual }: Conflict) -> Self {
        Self::Conflict { stream, expected, actual }
    }
}

/// The events of an append as they are to be recorded behind `head`, in the order of the writes; nothing is written
/// here. `version_of` gives the version of a stream in the log. Times are cut to microseconds, which databases keep.
pub(super) fn place<E: From<Conflict>>(
    writes: &[StreamWrite],
    head: Position,
    now: DateTime<Utc>,
    mut version_of: impl FnMut(&StreamId) -> Result<u64, E>,
) -> Result<Vec<Recorded>, E> {
    let recorded_at = now.trunc_subsecs(6);
    let mut versions: HashMap<&StreamId, u64> = HashMap::with_capacity(writes.len());
    let mut events = Vec::new();
    for write in writes {
        let known = versions.get(&write.stream).copied();
        let actual = known.map_or_else(|| version_of(&write.stream), Ok)?;
        if !write.expected.allows(actual) {
            let conflict = Conflict { stream: write.stream.clone(), expected: write.expected, actual };
            return Err(conflict.into());
        }
        let mut version = actual;
        for event in &write.events {
            version += 1;
            let position = Position(head.0 + events.len() as u64 + 1);
            events.push(event.clone().record(position, write.stream.clone(), version, recorded_at));
        }
        versions.insert(&write.stream, version);
    }
    Ok(events)
}

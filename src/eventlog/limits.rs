//! The bounds every engine keeps, and the check of an append against them.

use super::{AppendError, LogError, Recorded, Snapshot, StreamWrite};
use crate::id::Position;
use serde::de::IgnoredAny;
use std::collections::HashSet;

/// Most events in one append.
pub const APPEND_EVENTS_MAX: usize = 100_000;
/// Most bytes of data in one append.
pub const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of one event's data.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Longest stream name or event kind, bytes.
pub const STREAM_BYTES_MAX: usize = 512;
/// Most events in one page of a read.
pub const PAGE_EVENTS_MAX: usize = 4096;
/// Most bytes of one snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most problems a report spells out; the rest are only counted.
pub const PROBLEMS_MAX: usize = 100;

/// Refuses what no engine would store. Run before anything is written.
pub(super) fn check(writes: &[StreamWrite]) -> Result<(), AppendError> {
    let events: usize = writes.iter().map(|w| w.events.len()).sum();
    within("events in one append", events, APPEND_EVENTS_MAX)?;
    let mut bytes = 0;
    let mut ids = HashSet::with_capacity(events);
    for write in writes {
        name(write.stream.as_str())?;
        for event in &write.events {
            name(&event.kind)?;
            within("bytes in one event's data", event.data.len(), EVENT_BYTES_MAX)?;
            bytes += event.data.len();
            if !ids.insert(event.event_id) {
                return Err(AppendError::IdReused { event_id: event.event_id });
            }
            let one_line = !event.data.bytes().any(|b| b == b'\n' || b == b'\r');
            if !one_line || serde_json::from_str::<IgnoredAny>(&event.data).is_err() {
                return Err(AppendError::NotJson { event_id: event.event_id, kind: event.kind.clone() });
            }
        }
    }
    within("bytes in one append", bytes, APPEND_BYTES_MAX)
}

/// Refuses events that do not follow one another from `head` on.
pub(super) fn check_next(events: &[Recorded], head: Position) -> Result<(), AppendError> {
    let mut head = head;
    for event in events {
        if event.position.0 != head.0 + 1 {
            return Err(AppendError::NotNext { position: event.position, head });
        }
        head = event.position;
    }
    Ok(())
}

/// Refuses a snapshot that is too large to be worth keeping.
pub(super) fn check_snapshot(snapshot: &Snapshot) -> Result<(), LogError> {
    let (got, limit) = (snapshot.data.len(), SNAPSHOT_BYTES_MAX);
    if got > limit {
        return Err(LogError::SnapshotTooLarge { name: snapshot.name.clone(), got, limit });
    }
    Ok(())
}

fn within(what: &'static str, got: usize, limit: usize) -> Result<(), AppendError> {
    if got > limit { Err(AppendError::TooLarge { what, got, limit }) } else { Ok(()) }
}

fn name(text: &str) -> Result<(), AppendError> {
    let good =
        !text.is_empty() && text.len() <= STREAM_BYTES_MAX && !text.bytes().any(|b| b.is_ascii_control());
    if good { Ok(()) } else { Err(AppendError::BadName { text: text.chars().take(80).collect() }) }
}

//! The form an event has in a database, the same in both: metadata as JSON, time in microseconds, and a checksum
//! over every field, so that no flipped bit is read as a fact.

use super::{AppendError, LogError, Metadata, Recorded};
use crate::id::{Position, StreamId};
use chrono::DateTime;
use uuid::Uuid;

/// An event's fields as they are stored.
pub(super) struct Row<'a> {
    pub position: i64,
    pub event_id: Uuid,
    pub stream: &'a str,
    pub version: i64,
    pub kind: &'a str,
    pub schema_version: i64,
    pub data: &'a str,
    /// JSON.
    pub metadata: &'a str,
    pub recorded_at_us: i64,
}

impl Row<'_> {
    /// CRC-32 of all fields; texts with their lengths, so that no byte can move from one field to the next.
    pub(super) fn checksum(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        for number in [self.position, self.version, self.schema_version, self.recorded_at_us] {
            crc.update(&number.to_le_bytes());
        }
        crc.update(self.event_id.as_bytes());
        for text in [self.stream, self.kind, self.data, self.metadata] {
            crc.update(&(text.len() as u64).to_le_bytes());
            crc.update(text.as_bytes());
        }
        crc.finalize()
    }

    /// The event, when the stored checksum is the right one.
    pub(super) fn decode(&self, checksum: i64) -> Result<Recorded, LogError> {
        let position = Position(self.position.unsigned_abs());
        let damaged = |reason: &str| LogError::DamagedEvent { position, reason: reason.to_owned() };
        if i64::from(self.checksum()) != checksum {
            return Err(damaged("its checksum does not fit"));
        }
        let metadata: Metadata = serde_json::from_str(self.metadata).map_err(|e| damaged(&e.to_string()))?;
        let number = |_| damaged("a number is out of range");
        Ok(Recorded {
            position,
            event_id: self.event_id,
            stream: StreamId::from_stored(self.stream.to_owned()),
            version: u64::try_from(self.version).map_err(number)?,
            kind: self.kind.to_owned(),
            schema_version: u16::try_from(self.schema_version).map_err(number)?,
            data: self.data.to_owned(),
            metadata,
            recorded_at: DateTime::from_timestamp_micros(self.recorded_at_us)
                .ok_or_else(|| damaged("its time is out of range"))?,
        })
    }
}

/// Metadata as it is stored.
pub(super) fn metadata(metadata: &Metadata) -> Result<String, AppendError> {
    serde_json::to_string(metadata)
        .map_err(|e| AppendError::Unavailable { reason: format!("bad metadata: {e}") })
}

/// Calls `with` with an event's stored form.
pub(super) fn encoded<T>(event: &Recorded, metadata: &str, with: impl FnOnce(&Row<'_>) -> T) -> T {
    with(&Row {
        position: signed(event.position.0),
        event_id: event.event_id,
        stream: event.stream.as_str(),
        version: signed(event.version),
        kind: &event.kind,
        schema_version: i64::from(event.schema_version),
        data: &event.data,
        metadata,
        recorded_at_us: event.recorded_at.timestamp_micros(),
    })
}

/// Databases count in signed numbers; no log reaches 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// CRC-32 of a snapshot.
pub(super) fn snapshot_checksum(snapshot: &super::Snapshot) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&snapshot.position.0.to_le_bytes());
    crc.update(&snapshot.format.to_le_bytes());
    crc.update(snapshot.name.as_bytes());
    crc.update(&snapshot.data);
    crc.finalize()
}

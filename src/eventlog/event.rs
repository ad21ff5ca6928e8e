//! What goes into the log and what comes out of it.

use super::AppendError;
use crate::id::{Position, ProjectId, StreamId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A fact to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Made once by whoever decided the event and kept over retries.
    pub event_id: Uuid,
    /// Dotted name, `room.created`.
    pub kind: String,
    pub schema_version: u16,
    /// JSON text on one line; stored byte for byte.
    pub data: String,
    pub metadata: Metadata,
}

/// Who did it, for whom, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    pub actor: String,
    /// Whom the actor acted for, where it was not itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// Event id that led to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<Uuid>,
    /// Shared by everything that one outside request led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What the writer believes of a stream. Versions count from 1; an unwritten stream is at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Any,
    NoStream,
    Exact(u64),
}

impl Expected {
    /// Whether a stream at this version is as expected.
    #[must_use]
    pub fn allows(self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => version == 0,
            Self::Exact(wanted) => version == wanted,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("unwritten"),
            Self::Exact(version) => version.fmt(f),
        }
    }
}

/// Events for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamWrite {
    pub stream: StreamId,
    pub expected: Expected,
    pub events: Vec<NewEvent>,
}

/// A fact as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub position: Position,
    pub event_id: Uuid,
    pub stream: StreamId,
    /// Place in its stream, from 1.
    pub version: u64,
    pub kind: String,
    pub schema_version: u16,
    /// JSON text; serialises as the JSON it is.
    #[serde(with = "raw_json")]
    pub data: String,
    pub metadata: Metadata,
    /// Whole microseconds.
    pub recorded_at: DateTime<Utc>,
}

impl NewEvent {
    pub(super) fn record(
        self,
        position: Position,
        stream: StreamId,
        version: u64,
        at: DateTime<Utc>,
    ) -> Recorded {
        let Self { event_id, kind, schema_version, data, metadata } = self;
        Recorded {
            position,
            event_id,
            stream,
            version,
            kind,
            schema_version,
            data,
            metadata,
            recorded_at: at,
        }
    }
}

/// Given an append's events, and in the same order those recorded events that already carry their ids: the original
/// records when the append is a retry, `None` when none of its ids is known.
pub(super) fn repeat(
    events: &[(&StreamId, &NewEvent)],
    known: Vec<Recorded>,
) -> Result<Option<Vec<Recorded>>, AppendError> {
    let Some(first) = known.first() else { return Ok(None) };
    let mismatch = events.iter().zip(&known).find(|((stream, event), original)| {
        event.event_id != original.event_id || **stream != original.stream || event.kind != original.kind
    });
    match mismatch {
        Some((_, original)) => Err(AppendError::IdReused { event_id: original.event_id }),
        None if known.len() < events.len() || !known.is_sorted_by_key(|original| original.position) => {
            Err(AppendError::IdReused { event_id: first.event_id })
        }
        None => Ok(Some(known)),
    }
}

/// Answer to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// In the order of the writes.
    pub events: Vec<Recorded>,
    /// This was a retry: nothing was written, these are the original records. After a lost connection to a remote
    /// database it cannot always be told, and is then `false`.
    pub repeated: bool,
}

/// Which events a reader wants. The default is all of them; each field that is set narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these stream categories; empty is all.
    pub categories: Vec<String>,
    /// Any of these kinds; empty is all.
    pub kinds: Vec<KindFilter>,
    /// One stream by its whole name, or every stream with this key (`<category>-<key>`).
    pub subject: Option<String>,
    pub project: Option<ProjectId>,
}

impl Filter {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Streams of one category.
    #[must_use]
    pub fn category(category: impl Into<String>) -> Self {
        Self { categories: vec![category.into()], ..Self::default() }
    }

    /// Whether it narrows nothing.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.categories.is_empty()
            && self.kinds.is_empty()
            && self.subject.is_none()
            && self.project.is_none()
    }

    #[must_use]
    pub fn matches(&self, event: &Recorded) -> bool {
        let category = || self.categories.iter().any(|c| c == event.stream.category());
        let kind = || self.kinds.iter().any(|k| k.matches(&event.kind));
        let subject = |s: &String| s == event.stream.as_str() || s == event.stream.key();
        (self.categories.is_empty() || category())
            && (self.kinds.is_empty() || kind())
            && self.subject.as_ref().is_none_or(subject)
            && self.project.is_none_or(|p| event.metadata.project == Some(p))
    }
}

/// One kind, or all kinds that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindFilter {
    /// `room.created`
    Exact(String),
    /// `room.` is every kind that begins with it.
    Prefix(String),
}

impl KindFilter {
    /// Reads the written form: a text that ends in `.` or `*` is a prefix, anything else one kind.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*').unwrap_or(text) {
            prefix if prefix.ends_with('.') || prefix.len() < text.len() => Self::Prefix(prefix.to_owned()),
            exact => Self::Exact(exact.to_owned()),
        }
    }

    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == kind,
            Self::Prefix(prefix) => kind.starts_with(prefix.as_str()),
        }
    }
}

/// State of a projection as of a position. Disposable: without it the log is read from the start.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Which projection.
    pub name: String,
    /// Last event that is folded in.
    pub position: Position,
    /// Version of the code that wrote it; a reader of another version discards it.
    pub format: u32,
    pub data: Vec<u8>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("name", &self.name)
            .field("position", &self.position)
            .field("format", &self.format)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub events: u64,
    pub streams: u64,
    pub head: Position,
    /// The first [`super::PROBLEMS_MAX`] problems.
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub problems_total: u64,
}

impl Report {
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems_total == 0
    }

    pub(super) fn add(&mut self, position: Option<Position>, what: impl Into<String>) {
        self.problems_total += 1;
        if self.problems.len() < super::PROBLEMS_MAX {
            self.problems.push(Problem { position, what: what.into() });
        }
    }
}

/// One thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Of the event, where it is one event.
    pub position: Option<Position>,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "event {position}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

mod raw_json {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
    use serde_json::value::RawValue;

    pub fn serialize<S: Serializer>(text: &str, s: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(text).map_err(ser::Error::custom)?.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        Ok(Box::<RawValue>::deserialize(d)?.get().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_its_bytes_through_json() {
        let event = Recorded {
            position: Position(1),
            event_id: Uuid::from_u128(2),
            stream: StreamId::new("room", "r"),
            version: 1,
            kind: "room.created".into(),
            schema_version: 1,
            data: r#"{"b": 1.50, "a":"\u00e9"}"#.into(),
            metadata: Metadata { actor: "me".into(), ..Metadata::default() },
            recorded_at: DateTime::UNIX_EPOCH,
        };
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""data":{"b": 1.50, "a":"\u00e9"},"metadata":{"actor":"me"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Recorded>(&json).unwrap(), event);
    }

    #[test]
    fn a_kind_filter_is_exact_unless_it_ends_in_a_dot_or_star() {
        assert_eq!(KindFilter::parse("room.created"), KindFilter::Exact("room.created".into()));
        assert_eq!(KindFilter::parse("room."), KindFilter::Prefix("room.".into()));
        assert_eq!(KindFilter::parse("room.*"), KindFilter::Prefix("room.".into()));
        assert!(KindFilter::parse("*").matches("anything"));
        assert!(!KindFilter::parse("room.").matches("roomy.created"));
    }
}

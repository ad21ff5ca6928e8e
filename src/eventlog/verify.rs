//! What every sound log has, whatever its engine: positions and stream versions without a gap, ids used once.

use super::{Problem, Recorded, Report};
use crate::id::{Position, StreamId};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Takes the events of a log in order of position and reports what is wrong with them.
/// Holds one entry per stream and one id per event.
#[derive(Debug, Default)]
pub struct Check {
    report: Report,
    versions: HashMap<StreamId, u64>,
    ids: HashSet<Uuid>,
}

impl Check {
    /// The next event of the log.
    pub fn event(&mut self, event: &Recorded) {
        self.place(event.position);
        let version = self.versions.entry(event.stream.clone()).or_default();
        *version += 1;
        if event.version != *version {
            let what = format!("version of `{}` is {}, should be {version}", event.stream, event.version);
            *version = event.version;
            self.report.add(Some(event.position), what);
        }
        if !self.ids.insert(event.event_id) {
            self.report.add(Some(event.position), format!("event id {} is used twice", event.event_id));
        }
    }

    /// The next row of the log, where that row cannot be read as an event.
    pub fn unreadable(&mut self, position: Position, reason: &str) {
        self.place(position);
        self.report.add(Some(position), reason);
    }

    /// Something that is wrong with the log as a whole.
    pub fn problem(&mut self, what: impl Into<String>) {
        self.report.add(None, what);
    }

    /// What was wrong first, so far.
    pub(super) fn first_problem(&self) -> Option<&Problem> {
        self.report.problems.first()
    }

    fn place(&mut self, position: Position) {
        let wanted = self.report.head.0 + 1;
        if position.0 != wanted {
            self.report.add(
                Some(position),
                format!("position should be {wanted}: events are missing or out of order"),
            );
        }
        self.report.head = position;
        self.report.events += 1;
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.report.streams = self.versions.len() as u64;
        self.report
    }
}

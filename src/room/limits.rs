//! How much a room and one participant of it may use. The operator sets them (`up --room-limit NAME=VALUE`), an
//! annotation of a room lowers them (`meshagent.room.limit.NAME`), `describe room/NAME` and the room's `/status` show them.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Begin of the annotations by which a room lowers its limits.
pub const ANNOTATION_PREFIX: &str = "meshagent.room.limit.";

/// The limits of one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Participants at once.
    pub participants: usize,
    /// Messages that may wait for one participant; one that is further behind is cut off.
    pub waiting_messages: usize,
    /// Payload bytes that may wait for one participant. A single larger message goes through when nothing else waits.
    pub waiting_bytes: usize,
    /// Calls that one participant may have open at once, streams among them.
    pub open_calls: usize,
    /// Bytes of one participant's input streams, of all together, that wait to be read.
    pub unread_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            participants: 10_000,
            waiting_messages: 16_384,
            waiting_bytes: 32 * 1024 * 1024,
            open_calls: 4_096,
            unread_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Why a limit is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error(
        "there is no room limit `{0}`; there are participants, waiting-messages, waiting-bytes, open-calls and unread-bytes"
    )]
    Unknown(String),
    #[error("the room limit `{name}` cannot be `{value}`; give a whole number from 1")]
    NoNumber { name: String, value: String },
}

impl Limits {
    fn member(&mut self, name: &str) -> Option<&mut usize> {
        match name {
            "participants" => Some(&mut self.participants),
            "waiting-messages" => Some(&mut self.waiting_messages),
            "waiting-bytes" => Some(&mut self.waiting_bytes),
            "open-calls" => Some(&mut self.open_calls),
            "unread-bytes" => Some(&mut self.unread_bytes),
            _ => None,
        }
    }

    /// Sets one limit from text.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitError> {
        let member = self.member(name).ok_or_else(|| LimitError::Unknown(name.to_owned()))?;
        let number = value.trim().parse().ok().filter(|number| *number > 0);
        *member =
            number.ok_or_else(|| LimitError::NoNumber { name: name.to_owned(), value: value.to_owned() })?;
        Ok(())
    }

    /// These limits, lowered as the room's annotations say. What is no number, or more than the operator allows,
    /// changes nothing.
    #[must_use]
    pub fn lowered(mut self, annotations: &BTreeMap<String, String>) -> Self {
        for (key, value) in annotations {
            let Some(member) = key.strip_prefix(ANNOTATION_PREFIX).and_then(|name| self.member(name)) else {
                continue;
            };
            if let Some(number) = value.trim().parse().ok().filter(|number: &usize| *number > 0) {
                *member = number.min(*member);
            }
        }
        self
    }
}

/// Bytes that one participant may have somewhere; shared by all that count against it.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Takes `bytes` of it; false, with nothing taken, when that is more than there is.
    pub fn take(&self, bytes: usize) -> bool {
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(bytes).filter(|after| *after <= self.max)
        });
        taken.is_ok()
    }

    /// Gives back what was taken.
    pub fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }

    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_sets_limits_and_a_room_only_lowers_them() {
        let mut limits = Limits::default();
        limits.set("open-calls", "100").unwrap();
        assert_eq!(limits.open_calls, 100);
        assert!(matches!(limits.set("open_calls", "1"), Err(LimitError::Unknown(_))));
        for value in ["0", "-1", "many", ""] {
            assert!(matches!(limits.set("participants", value), Err(LimitError::NoNumber { .. })), "{value}");
        }
        let annotations = BTreeMap::from(
            [("open-calls", "200"), ("participants", "7"), ("waiting-bytes", "x"), ("other", "1")]
                .map(|(name, value)| (format!("{ANNOTATION_PREFIX}{name}"), value.to_owned())),
        );
        let room = limits.lowered(&annotations);
        assert_eq!(room, Limits { participants: 7, ..limits });
    }

    #[test]
    fn a_budget_is_never_overdrawn() {
        let budget = Budget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4));
        assert!(!budget.take(usize::MAX));
        budget.give(4);
        assert_eq!(budget.used(), 6);
    }
}

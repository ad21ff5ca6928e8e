//! Following the log: from a position to its end, then live, without a gap and without a duplicate.

use super::{EventLog, Filter, LogError, Recorded};
use crate::id::Position;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// Most events a tail gives out at once.
const TAIL_PAGE_EVENTS: usize = 1024;

/// A reader that never ends. It holds no events between calls: a slow reader costs nothing but its own delay.
pub struct Tail {
    log: Arc<dyn EventLog>,
    filter: Filter,
    after: Position,
    changes: watch::Receiver<Position>,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("after", &self.after)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// Follows everything after `after` that passes the filter.
    pub fn new(log: Arc<dyn EventLog>, after: Position, filter: Filter) -> Self {
        let changes = log.changes();
        Self { log, filter, after, changes }
    }

    /// Everything up to here was given out, or did not pass the filter.
    pub fn position(&self) -> Position {
        self.after
    }

    /// What is there now, at most a page; empty when the end is reached. Never waits for an append.
    /// After an error the same call can be repeated.
    pub async fn ready(&mut self) -> Result<Vec<Recorded>, LogError> {
        // Seen before the read, so that what is appended in between wakes the next call.
        let seen = *self.changes.borrow_and_update();
        let page = self.log.read(self.after, &self.filter, TAIL_PAGE_EVENTS).await?;
        let complete_to = if page.len() < TAIL_PAGE_EVENTS { seen } else { Position(0) };
        let last = page.last().map_or(self.after, |event| event.position);
        self.after = self.after.max(last).max(complete_to);
        Ok(page)
    }

    /// The next page; waits until there is at least one event. Dropping the future loses nothing.
    /// After an error the same call can be repeated; a log that is gone is [`LogError::Unavailable`].
    pub async fn next(&mut self) -> Result<Vec<Recorded>, LogError> {
        loop {
            let page = self.ready().await?;
            if !page.is_empty() {
                return Ok(page);
            }
            let gone = |_| LogError::Unavailable { reason: "it was closed; start again".to_owned() };
            self.changes.changed().await.map_err(gone)?;
        }
    }
}

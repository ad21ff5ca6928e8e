//! Keeps one evaluation within its bounds.

use super::{QueryError, STEPS_MAX};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Steps between two looks at whether anybody still waits.
const LOOK_EVERY: u64 = 4096;

/// Tells a running query that nobody waits for it; cancels when dropped.
#[derive(Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// What the query looks at.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts the steps of one evaluation.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    steps: Cell<u64>,
    next_look: Cell<u64>,
    cancelled: &'a AtomicBool,
}

impl<'a> Meter<'a> {
    pub fn new(cancelled: &'a AtomicBool) -> Self {
        Self { steps: Cell::new(0), next_look: Cell::new(LOOK_EVERY), cancelled }
    }

    /// Counts `steps` more.
    pub fn tick(&self, steps: usize) -> Result<(), QueryError> {
        let done = self.steps.get().saturating_add(steps as u64);
        self.steps.set(done);
        if done < self.next_look.get() {
            return Ok(());
        }
        self.next_look.set(done + LOOK_EVERY);
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        if done > STEPS_MAX {
            return Err(QueryError::TooMuch(format!(
                "it took more than {STEPS_MAX} steps; name labels and types, shorten paths or add LIMIT to a WITH"
            )));
        }
        Ok(())
    }
}

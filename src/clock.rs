//! The only places that read the time or make a fresh identifier. Everything else is handed one of these,
//! so that a test can fix both.

use chrono::{DateTime, Utc};
use std::sync::Mutex;
use uuid::Uuid;

/// Reads the present time, UTC.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> DateTime<Utc>;
}

/// Makes identifiers that nobody has used before.
pub trait IdSource: Send + Sync + 'static {
    /// A UUID that sorts by time of making.
    fn fresh(&self) -> Uuid;
}

/// The machine's clock and random UUIDs (version 7).
#[derive(Debug, Default, Clone, Copy)]
pub struct System;

impl Clock for System {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

impl IdSource for System {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that makes identifiers")]
    fn fresh(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// A clock that stands still until told, and identifiers that count up.
#[derive(Debug)]
pub struct Fixed {
    now: Mutex<DateTime<Utc>>,
    next: Mutex<u128>,
}

impl Fixed {
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self { now: Mutex::new(now), next: Mutex::new(1) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: chrono::Duration) {
        let mut now = self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl IdSource for Fixed {
    fn fresh(&self) -> Uuid {
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let uuid = Uuid::from_u128(*next);
        *next += 1;
        uuid
    }
}

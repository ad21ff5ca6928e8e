//! What the controllers of this server tell of their tries, for those who look at a resource. None of it is a fact: it is as
//! old as this run of the server, and another server has its own.

use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The last try at a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    /// Tries in a row that failed, this one the last.
    pub failures: u32,
    /// When the next one is due, where one is.
    pub next: Option<DateTime<Utc>>,
    pub error: Option<Arc<str>>,
}

/// The last tries, by resource.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<&'static str, HashMap<Uuid, Attempt>>>);

impl Attempts {
    fn all(&self) -> MutexGuard<'_, HashMap<&'static str, HashMap<Uuid, Attempt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that a controller has to tell now.
    pub fn tell(&self, controller: &'static str, attempts: HashMap<Uuid, Attempt>) {
        self.all().insert(controller, attempts);
    }

    #[must_use]
    pub fn of(&self, resource: Uuid) -> Option<Attempt> {
        self.all().values().find_map(|attempts| attempts.get(&resource).cloned())
    }
}

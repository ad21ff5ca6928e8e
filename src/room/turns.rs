//! Work on the same thing is done one after another: sessions of a room open and end so that what the end of one lets go of is
//! not the next one's, and a kept consent is renewed by one caller at a time.

use super::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Longest wait for a turn.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// Who works on what.
#[derive(Debug)]
pub(super) struct Turns<K> {
    /// Of those who work or wait; the others' are removed with the next.
    lines: Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { lines: Mutex::default() }
    }
}

/// Dropped, it is the next one's turn.
pub(super) type Turn = OwnedMutexGuard<()>;

impl<K: Eq + Hash> Turns<K> {
    /// `None` where it did not come within [`TURN_WAIT`].
    pub async fn take(&self, key: K) -> Option<Turn> {
        let line = self.line(key);
        tokio::time::timeout(TURN_WAIT, line.lock_owned()).await.ok()
    }

    /// Those who work on it or wait, this one among them, as its strong count.
    pub fn line(&self, key: K) -> Arc<tokio::sync::Mutex<()>> {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get(&key).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::default();
        lines.insert(key, Arc::downgrade(&line));
        line
    }

    /// Things that somebody works on, and some that nobody does any more.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.lines).len()
    }
}

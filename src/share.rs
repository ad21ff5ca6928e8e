//! How what is bounded is shared: places of which nobody takes all, and lines of those who work on the same thing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Longest wait for a turn.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// Nothing panics half way through a change of the maps below, so a poisoned lock is still a good one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Places that are taken or not, without waiting.
#[derive(Debug)]
pub struct Places<K: Eq + Hash + Copy> {
    /// Of all together.
    whole: usize,
    /// Of one.
    share: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    /// By whom; only those who have some.
    by: HashMap<K, usize>,
}

/// Held by who has it; given back when dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash + Copy> {
    places: Arc<Places<K>>,
    of: K,
    amount: usize,
}

impl<K: Eq + Hash + Copy> Places<K> {
    #[must_use]
    pub fn new(whole: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { whole, share, taken: Mutex::new(Taken { all: 0, by: HashMap::new() }) })
    }

    /// `None` where all are taken, or `of` has its share.
    pub fn take(self: &Arc<Self>, of: K) -> Option<Place<K>> {
        self.take_many(of, 1)
    }

    /// As [`Places::take`], for what takes more than one place, such as bytes.
    pub fn take_many(self: &Arc<Self>, of: K, amount: usize) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let own = taken.by.get(&of).copied().unwrap_or_default();
        let fits = |taken: usize, most| taken.checked_add(amount).is_some_and(|sum| sum <= most);
        if !fits(taken.all, self.whole) || !fits(own, self.share) {
            return None;
        }
        taken.all += amount;
        taken.by.insert(of, own + amount);
        Some(Place { places: Arc::clone(self), of, amount })
    }
}

impl<K: Eq + Hash + Copy> Place<K> {
    /// Makes it larger by so much; where that does not fit it stays as it is, and the answer is false.
    pub fn grow(&mut self, amount: usize) -> bool {
        let Some(mut more) = self.places.take_many(self.of, amount) else { return false };
        self.amount += std::mem::take(&mut more.amount);
        true
    }
}

impl<K: Eq + Hash + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.all = taken.all.saturating_sub(self.amount);
        if let Some(own) = taken.by.get_mut(&self.of) {
            *own = own.saturating_sub(self.amount);
            if *own == 0 {
                taken.by.remove(&self.of);
            }
        }
    }
}

/// Work on the same thing, done one after another.
#[derive(Debug)]
pub struct Turns<K> {
    /// Of those who work or wait; the others' are removed with the next.
    lines: Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { lines: Mutex::default() }
    }
}

/// One's turn in such a line, no turn of an agent. Dropped, it is the next one's.
pub type Turn = OwnedMutexGuard<()>;

impl<K: Eq + Hash> Turns<K> {
    /// `None` where it did not come within half a minute.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places_and_those_given_back_are_free() {
        let places = Places::new(3, 2);
        let (first, _second) = (places.take("a").unwrap(), places.take("a").unwrap());
        assert!(places.take("a").is_none(), "two are its share");
        let of_b = places.take("b").unwrap();
        assert!(places.take("b").is_none(), "all are taken");
        drop(first);
        assert!(places.take_many("a", 2).is_none() && places.take_many("c", usize::MAX).is_none());
        assert!(places.take("a").is_some());
        drop(of_b);
        let mut of_b = places.take("b").unwrap();
        assert!(of_b.grow(1) && !of_b.grow(1), "it has its share then");
        drop(of_b);
        assert!(places.take_many("b", 2).is_some());
        let taken = lock(&places.taken);
        assert_eq!((taken.all, taken.by.len()), (1, 1), "who has none is forgotten");
    }
}

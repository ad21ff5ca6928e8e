//! The waiting line: who waits for an item of which queue, woken by notification, first come first served.

use super::QueueKey;
use crate::id::RoomId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// All waiting lines of one store.
#[derive(Debug, Default)]
pub struct Line {
    waiting: Mutex<HashMap<QueueKey, VecDeque<Arc<Place>>>>,
}

#[derive(Debug, Default)]
struct Place {
    call: Mutex<Call>,
    wake: Notify,
}

/// Why somebody in the line is to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Call {
    #[default]
    No,
    /// The one before left: there may be more.
    Passed,
    /// An item came. Counts for one item, so that a second one calls the next in line.
    Item,
}

impl Place {
    fn is_called(&self, at_least: Call) -> bool {
        *lock(&self.call) >= at_least
    }
    fn call(&self, why: Call) {
        let mut call = lock(&self.call);
        *call = why.max(*call);
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Joins the end of the line. Whoever is alone in it is called at once.
    pub fn join(self: &Arc<Self>, key: &QueueKey) -> Turn {
        let place = Arc::new(Place::default());
        let mut waiting = lock(&self.waiting);
        let line = waiting.entry(key.clone()).or_default();
        if line.is_empty() {
            place.call(Call::Passed);
        }
        line.push_back(Arc::clone(&place));
        Turn { line: Arc::clone(self), key: key.clone(), place }
    }

    /// Calls the first `items` who wait and are not called yet.
    pub fn call(&self, key: &QueueKey, items: usize) {
        let waiting = lock(&self.waiting);
        if let Some(line) = waiting.get(key) {
            line.iter().filter(|p| !p.is_called(Call::Item)).take(items).for_each(|p| p.call(Call::Item));
        }
    }

    /// Calls everyone who waits for a queue of the room: something else than a new item happened.
    pub fn call_room(&self, room: RoomId) {
        let waiting = lock(&self.waiting);
        waiting
            .iter()
            .filter(|(key, _)| key.room == room)
            .flat_map(|(_, line)| line)
            .for_each(|p| p.call(Call::Item));
    }

    /// Calls everyone: what happened while nobody listened is not known.
    pub fn call_all(&self) {
        lock(&self.waiting).values().flatten().for_each(|p| p.call(Call::Item));
    }

    /// Number of those who wait.
    pub fn len(&self) -> usize {
        lock(&self.waiting).values().map(VecDeque::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One place in a line. Dropping it leaves the line and passes an unused call on.
///
/// Loop: `turn.mine().await`, try; on success drop it, on nothing call `mine` again (the place is kept).
#[derive(Debug)]
pub struct Turn {
    line: Arc<Line>,
    key: QueueKey,
    place: Arc<Place>,
}

impl Turn {
    /// Completes when it is worth trying. Cancel-safe: a call that was not consumed is kept.
    pub async fn mine(&mut self) {
        loop {
            {
                let mut call = lock(&self.place.call);
                if *call > Call::No {
                    *call = Call::No;
                    return;
                }
            }
            self.place.wake.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = lock(&self.line.waiting);
        let Some(line) = waiting.get_mut(&self.key) else { return };
        line.retain(|place| !Arc::ptr_eq(place, &self.place));
        // There may be more for the next: one attempt too many costs little, a forgotten item costs all.
        match line.iter().find(|place| !place.is_called(Call::Passed)) {
            Some(next) => next.call(Call::Passed),
            None if line.is_empty() => drop(waiting.remove(&self.key)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use crate::name::QueueName;
    use futures_util::FutureExt;
    use uuid::Uuid;

    fn key() -> QueueKey {
        let room = RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2));
        QueueKey::new(room, QueueName::new("work").unwrap())
    }

    #[test]
    fn calls_go_to_the_longest_waiting_first() {
        let line = Arc::new(Line::default());
        let (mut first, mut second) = (line.join(&key()), line.join(&key()));
        assert!(first.mine().now_or_never().is_some(), "alone in the line: try at once");
        assert!(second.mine().now_or_never().is_none());
        line.call(&key(), 1);
        assert!(second.mine().now_or_never().is_none());
        assert!(first.mine().now_or_never().is_some());
        line.call(&key(), 2);
        assert!(second.mine().now_or_never().is_some());
    }

    #[test]
    fn an_item_that_comes_while_a_call_is_passed_on_is_for_the_first() {
        let line = Arc::new(Line::default());
        let (first, mut second, mut third) = (line.join(&key()), line.join(&key()), line.join(&key()));
        drop(first);
        line.call(&key(), 1);
        assert!(third.mine().now_or_never().is_none());
        assert!(second.mine().now_or_never().is_some());
    }

    #[test]
    fn leaving_the_line_passes_the_call_on() {
        let line = Arc::new(Line::default());
        let (first, mut second) = (line.join(&key()), line.join(&key()));
        drop(first);
        assert!(second.mine().now_or_never().is_some());
        drop(second);
        assert!(line.is_empty());
    }
}

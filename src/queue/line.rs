//! The waiting line: who waits for an item of which queue, woken by notification, first come first served.
//!
//! A store that can, hands an item over: it takes the item in the name of the first in line, in the same transaction
//! that stores it, and delivers it when that is on disk. So the item reaches who waits after one sync, not two.

use super::{LeasedItem, QueueItem, QueueKey};
use crate::id::RoomId;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// All waiting lines of one store.
#[derive(Debug, Default)]
pub struct Line {
    waiting: Mutex<HashMap<QueueKey, VecDeque<Arc<Place>>>>,
}

/// What somebody in the line would do when it is their turn.
#[derive(Debug, Clone)]
pub enum Claim {
    /// Take one item out for good.
    Take,
    Lease {
        holder: String,
        lease_ms: u64,
        max: usize,
    },
}

/// What was handed over.
#[derive(Debug)]
pub enum Handed {
    Item(QueueItem),
    Leased(Vec<LeasedItem>),
}

/// Puts back what was handed to somebody who has left. Must not block.
pub type GiveBack = Box<dyn Fn(Handed) + Send + Sync>;

#[derive(Default)]
struct Place {
    state: Mutex<State>,
    wake: Notify,
    /// Nothing is handed over to a place without.
    claim: Option<(Claim, GiveBack)>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    call: Call,
    /// Waits, and is not trying by itself just now.
    idle: bool,
    hand: Hand,
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

#[derive(Debug, Default)]
enum Hand {
    #[default]
    Open,
    /// An item is being taken for it.
    Reserved,
    Full(Handed),
    /// It has left the line.
    Gone,
}

impl Place {
    /// Called for at least this reason, or about to be handed something.
    fn is_called(&self, at_least: Call) -> bool {
        let state = lock(&self.state);
        state.call >= at_least || !matches!(state.hand, Hand::Open)
    }

    fn call(&self, why: Call) {
        let mut state = lock(&self.state);
        state.call = why.max(state.call);
        self.wake.notify_one();
    }

    fn give_back(&self, handed: Handed) {
        if let Some((_, give_back)) = &self.claim {
            give_back(handed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Joins the end of the line. Whoever is alone in it is called at once.
    pub fn join(self: &Arc<Self>, key: &QueueKey) -> Turn {
        self.join_with(key, None)
    }

    /// Joins with a claim that the store may fulfil by itself.
    pub fn join_with(self: &Arc<Self>, key: &QueueKey, claim: Option<(Claim, GiveBack)>) -> Turn {
        let place = Arc::new(Place { claim, ..Place::default() });
        let mut waiting = lock(&self.waiting);
        let line = waiting.entry(key.clone()).or_default();
        if line.is_empty() {
            place.call(Call::Passed);
        }
        line.push_back(Arc::clone(&place));
        Turn { line: Arc::clone(self), key: key.clone(), place, served: false }
    }

    /// Calls the first `items` who wait and are not called yet.
    pub fn call(&self, key: &QueueKey, items: usize) {
        let waiting = lock(&self.waiting);
        if let Some(line) = waiting.get(key) {
            line.iter().filter(|p| !p.is_called(Call::Item)).take(items).for_each(|p| p.call(Call::Item));
        }
    }

    /// The first in line, if an item may be taken for it. Not when it, or one before it, is trying by itself: that
    /// one was here first.
    pub fn reserve(&self, key: &QueueKey) -> Option<Reserved> {
        let waiting = lock(&self.waiting);
        for place in waiting.get(key)? {
            let mut state = lock(&place.state);
            match state.hand {
                Hand::Open if state.idle && state.call == Call::No && place.claim.is_some() => {
                    state.hand = Hand::Reserved;
                    return Some(Reserved { place: Arc::clone(place), handed: Mutex::default() });
                }
                Hand::Reserved | Hand::Full(_) => {}
                Hand::Open | Hand::Gone => return None,
            }
        }
        None
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

/// A place for which an item is being taken. Dropped undelivered, the place is called to try by itself.
#[derive(Debug)]
pub struct Reserved {
    place: Arc<Place>,
    handed: Mutex<Option<Handed>>,
}

impl Reserved {
    /// What to take for it.
    pub fn claim(&self) -> Option<&Claim> {
        self.place.claim.as_ref().map(|(claim, _)| claim)
    }

    /// What was taken; delivered later, when that is on disk.
    pub fn fill(&self, handed: Handed) {
        *lock(&self.handed) = Some(handed);
    }

    /// Hands it over; who has left meanwhile gives it back.
    pub fn deliver(&self) {
        let Some(handed) = lock(&self.handed).take() else { return };
        let mut state = lock(&self.place.state);
        if matches!(state.hand, Hand::Reserved) {
            state.hand = Hand::Full(handed);
            drop(state);
            self.place.wake.notify_one();
        } else {
            drop(state);
            self.place.give_back(handed);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = lock(&self.place.state);
        if matches!(state.hand, Hand::Reserved) {
            state.hand = Hand::Open;
            state.call = Call::Item;
            drop(state);
            self.place.wake.notify_one();
        }
    }
}

/// One place in a line. Dropping it leaves the line and passes an unused call on.
///
/// Loop: `turn.mine().await`; handed something: done; nothing: try; on success drop it, else call `mine` again (the
/// place is kept).
#[derive(Debug)]
pub struct Turn {
    line: Arc<Line>,
    key: QueueKey,
    place: Arc<Place>,
    /// It was handed something, and with that nothing more is known of the queue.
    served: bool,
}

impl Turn {
    /// Completes when something was handed over, or with `None` when it is worth trying. Cancel-safe: what was not
    /// consumed is kept.
    pub async fn mine(&mut self) -> Option<Handed> {
        loop {
            {
                let mut state = lock(&self.place.state);
                match std::mem::take(&mut state.hand) {
                    Hand::Full(handed) => {
                        self.served = true;
                        return Some(handed);
                    }
                    Hand::Open if state.call > Call::No => {
                        state.call = Call::No;
                        state.idle = false;
                        return None;
                    }
                    other => state.hand = other,
                }
                state.idle = true;
            }
            self.place.wake.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let hand = std::mem::replace(&mut lock(&self.place.state).hand, Hand::Gone);
        if let Hand::Full(handed) = hand {
            self.place.give_back(handed);
        }
        let mut waiting = lock(&self.line.waiting);
        let Some(line) = waiting.get_mut(&self.key) else { return };
        line.retain(|place| !Arc::ptr_eq(place, &self.place));
        if line.is_empty() {
            waiting.remove(&self.key);
            return;
        }
        let unused = lock(&self.place.state).call > Call::No;
        if self.served && !unused {
            return;
        }
        // There may be more for the next: one attempt too many costs little, a forgotten item costs all.
        if let Some(next) = line.iter().find(|place| !place.is_called(Call::Passed)) {
            next.call(Call::Passed);
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

    fn claiming(line: &Arc<Line>) -> (Turn, Arc<Mutex<Vec<Handed>>>) {
        let back = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&back);
        let give_back: GiveBack = Box::new(move |handed| lock(&own).push(handed));
        (line.join_with(&key(), Some((Claim::Take, give_back))), back)
    }

    #[test]
    fn an_item_is_handed_to_who_waits_and_comes_back_when_they_left() {
        let line = Arc::new(Line::default());
        let ((mut first, _), (mut second, back)) = (claiming(&line), claiming(&line));
        assert!(line.reserve(&key()).is_none(), "the first is called and tries by itself");
        assert!(first.mine().now_or_never().unwrap().is_none());
        assert!(line.reserve(&key()).is_none(), "still trying");
        assert!(first.mine().now_or_never().is_none() && second.mine().now_or_never().is_none());
        let reserved = [line.reserve(&key()).unwrap(), line.reserve(&key()).unwrap()];
        assert!(line.reserve(&key()).is_none());
        for one in &reserved {
            one.fill(Handed::Leased(Vec::new()));
        }
        reserved[0].deliver();
        assert!(first.mine().now_or_never().unwrap().is_some());
        drop(second);
        assert!(lock(&back).is_empty());
        reserved[1].deliver();
        assert_eq!(lock(&back).len(), 1, "it had left before");
        let (mut third, back) = claiming(&line);
        drop(first);
        while third.mine().now_or_never().is_some() {}
        let late = line.reserve(&key()).unwrap();
        late.fill(Handed::Leased(Vec::new()));
        late.deliver();
        drop(third);
        assert_eq!(lock(&back).len(), 1, "it left with its hands full");
        assert!(line.is_empty());
    }

    #[test]
    fn what_could_not_be_taken_is_a_call() {
        let line = Arc::new(Line::default());
        let (mut turn, _) = claiming(&line);
        while turn.mine().now_or_never().is_some() {}
        drop(line.reserve(&key()).unwrap());
        assert!(turn.mine().now_or_never().unwrap().is_none());
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

//! Turns of steps, where only so many are carried out at once. Projects take turns in the order in which they asked, however
//! high their ranks; of one project, the highest rank is first, and among equals who asked first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rank {
    /// The project.
    pub lane: Uuid,
    /// Higher is sooner, within the lane.
    pub priority: u16,
}

type Waiting = BTreeMap<(Reverse<u16>, u64), oneshot::Sender<Turn>>;

#[derive(Debug, Default)]
struct Line {
    free: usize,
    asked: u64,
    /// One entry for each that waits: whose turn is next.
    lanes: VecDeque<Uuid>,
    waiting: HashMap<Uuid, Waiting>,
}

/// The turns.
#[derive(Debug)]
pub struct Turns(Arc<Mutex<Line>>);

/// A turn; the next one begins when it is dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<Mutex<Line>>>);

impl Turns {
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Mutex::new(Line { free: at_once, ..Line::default() })))
    }

    /// Asks for a turn at once; what is answered waits for it.
    pub fn ask(&self, rank: Rank) -> impl Future<Output = Option<Turn>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        {
            let mut line = locked(&self.0);
            line.asked += 1;
            let place = (Reverse(rank.priority), line.asked);
            line.waiting.entry(rank.lane).or_default().insert(place, tell);
            line.lanes.push_back(rank.lane);
        }
        serve(&self.0);
        async move { told.await.ok() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            locked(&line).free += 1;
            serve(&line);
        }
    }
}

/// Gives free turns to those who wait.
fn serve(line: &Arc<Mutex<Line>>) {
    loop {
        let next = locked(line).next();
        let Some(next) = next else { return };
        // Whoever does not wait any more has it given back here, and not by its end: that would serve the next one within.
        if let Err(mut refused) = next.send(Turn(Some(Arc::clone(line)))) {
            refused.0 = None;
            locked(line).free += 1;
        }
    }
}

impl Line {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if self.free == 0 {
            return None;
        }
        let lane = self.lanes.pop_front()?;
        let waiting = self.waiting.get_mut(&lane)?;
        let (_, next) = waiting.pop_first()?;
        if waiting.is_empty() {
            self.waiting.remove(&lane);
        }
        self.free -= 1;
        Some(next)
    }
}

fn locked(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::Pin;

    type Asked = Pin<Box<dyn Future<Output = Option<Turn>> + Send>>;

    fn rank(lane: u128, priority: u16) -> Rank {
        Rank { lane: Uuid::from_u128(lane), priority }
    }

    /// The names of those that have turns one after another, one at a time.
    fn order(turns: &Turns, first: Turn, mut waiting: Vec<(&'static str, Asked)>) -> Vec<&'static str> {
        let mut seen = vec![];
        drop(first);
        while !waiting.is_empty() {
            let ready: Vec<_> = waiting
                .iter_mut()
                .enumerate()
                .filter_map(|(at, (_, asked))| Some((at, asked.as_mut().now_or_never()??)))
                .collect();
            assert_eq!(ready.len(), 1, "{turns:?}");
            for (at, turn) in ready {
                seen.push(waiting.remove(at).0);
                drop(turn);
            }
        }
        seen
    }

    #[test]
    fn the_highest_of_a_project_is_first_and_no_project_is_kept_waiting_by_anothers() {
        let turns = Turns::new(1);
        let first = turns.ask(rank(1, 0)).now_or_never().flatten().expect("a free turn");
        let ask = |name, lane, priority| -> (&'static str, Asked) {
            (name, Box::pin(turns.ask(rank(lane, priority))))
        };
        let waiting = vec![
            ask("a low", 1, 1),
            ask("a mid", 1, 5),
            ask("b low", 2, 0),
            ask("a high", 1, 9),
            ask("a mid too", 1, 5),
            ask("b high", 2, 1000),
        ];
        // Places: a a b a a b.
        let seen = order(&turns, first, waiting);
        assert_eq!(seen, ["a high", "a mid", "b high", "a mid too", "a low", "b low"]);
    }

    #[test]
    fn who_does_not_wait_any_more_holds_nobody_up() {
        let turns = Turns::new(1);
        let first = turns.ask(rank(1, 0)).now_or_never().flatten().expect("a free turn");
        let (gone, kept) = (turns.ask(rank(1, 9)), turns.ask(rank(1, 0)));
        drop(gone);
        let many: Vec<_> = (0..100_000).map(|_| turns.ask(rank(1, 8))).collect();
        drop(many);
        drop(first);
        assert!(kept.now_or_never().flatten().is_some());
        assert!(turns.ask(rank(1, 0)).now_or_never().flatten().is_some(), "all are free again");
    }
}

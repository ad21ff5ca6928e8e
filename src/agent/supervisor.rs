//! Turns of one thread run one after another in the order they came; different threads run side by side, so many at once.

use super::history::{self, Item};
use super::turn::{Failure, Outcome};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Turns that may wait on one thread.
pub const THREAD_TURNS_MAX: usize = 256;
/// Threads whose history is kept; the one unused for longest is forgotten first.
pub const THREADS_MAX: usize = 1000;

/// Runs one turn: takes what the thread remembers, gives the outcome and what it shall remember of this turn.
#[async_trait::async_trait]
pub trait TurnRunner<T>: Send + Sync + 'static {
    async fn run(&self, thread: &str, history: &[Item], turn: T) -> (Outcome, Vec<Item>);
}

/// Lines up turns. Clones share the lines.
pub struct Supervisor<T>(Arc<Inner<T>>);

impl<T> Clone for Supervisor<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Supervisor<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Supervisor")
    }
}

struct Inner<T> {
    runner: Arc<dyn TurnRunner<T>>,
    slots: Semaphore,
    lines: Mutex<Lines<T>>,
}

struct Lines<T> {
    /// Threads at work, with the turns that wait behind the running one.
    active: HashMap<String, VecDeque<Waiting<T>>>,
    memory: HashMap<String, Memory>,
    /// Counts uses, to tell which memory is the oldest.
    uses: u64,
}

struct Memory {
    items: Arc<Vec<Item>>,
    used: u64,
}

struct Waiting<T> {
    turn: T,
    /// Whether the thread shall remember it.
    remember: bool,
    outcome: oneshot::Sender<Outcome>,
}

impl<T: Send + 'static> Supervisor<T> {
    /// `turns_max` turns run at once over all threads.
    pub fn new(runner: Arc<dyn TurnRunner<T>>, turns_max: usize) -> Self {
        let lines = Lines { active: HashMap::new(), memory: HashMap::new(), uses: 0 };
        Self(Arc::new(Inner { runner, slots: Semaphore::new(turns_max), lines: Mutex::new(lines) }))
    }

    /// Puts a turn at the end of its thread's line and gives what will be its outcome. A thread without `remember`
    /// forgets the turn: nobody can name it again.
    pub fn submit(&self, thread: &str, turn: T, remember: bool) -> oneshot::Receiver<Outcome> {
        let (outcome, receiver) = oneshot::channel();
        let waiting = Waiting { turn, remember, outcome };
        let mut lines = self.0.lock();
        match lines.active.get_mut(thread) {
            Some(line) if line.len() >= THREAD_TURNS_MAX => {
                let message =
                    format!("thread {thread} has {THREAD_TURNS_MAX} turns waiting; send the next one later");
                // The receiver is in our hands and takes it.
                let _ = waiting.outcome.send(Outcome::Failed(Failure { message, code: "thread_busy" }));
            }
            Some(line) => line.push_back(waiting),
            None => {
                lines.active.insert(thread.to_owned(), VecDeque::from([waiting]));
                tokio::spawn(self.0.clone().work(thread.to_owned()));
            }
        }
        receiver
    }
}

impl<T: Send + 'static> Inner<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines<T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works off one thread's line and leaves when it is empty.
    async fn work(self: Arc<Self>, thread: String) {
        loop {
            // Never closed while someone works.
            let _slot = self.slots.acquire().await;
            let Some((waiting, history)) = self.next(&thread) else { return };
            let (outcome, items) = self.runner.run(&thread, &history, waiting.turn).await;
            if waiting.remember && !items.is_empty() {
                self.lock().remember(&thread, history, items);
            }
            // Nobody may be waiting any more.
            let _ = waiting.outcome.send(outcome);
        }
    }

    /// The next turn and its thread's memory; removes the line when there is none.
    fn next(&self, thread: &str) -> Option<(Waiting<T>, Arc<Vec<Item>>)> {
        let mut lines = self.lock();
        let Some(waiting) = lines.active.get_mut(thread).and_then(VecDeque::pop_front) else {
            lines.active.remove(thread);
            return None;
        };
        let history = lines.memory.get(thread).map(|m| m.items.clone()).unwrap_or_default();
        Some((waiting, history))
    }
}

impl<T> Lines<T> {
    fn remember(&mut self, thread: &str, history: Arc<Vec<Item>>, items: Vec<Item>) {
        let mut all = Arc::unwrap_or_clone(history);
        all.extend(items);
        history::trim(&mut all);
        self.uses += 1;
        self.memory.insert(thread.to_owned(), Memory { items: Arc::new(all), used: self.uses });
        if self.memory.len() > THREADS_MAX
            && let Some(oldest) = self.memory.iter().min_by_key(|(_, m)| m.used).map(|(t, _)| t.clone())
        {
            self.memory.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Part;
    use super::super::turn::Usage;
    use super::*;
    use tokio::sync::mpsc;

    /// A turn that says it began and ends when told.
    struct Step {
        name: &'static str,
        end: oneshot::Receiver<()>,
    }

    struct Script(mpsc::Sender<String>);

    #[async_trait::async_trait]
    impl TurnRunner<Step> for Script {
        async fn run(&self, _: &str, history: &[Item], turn: Step) -> (Outcome, Vec<Item>) {
            self.0.send(format!("{} after {}", turn.name, history.len())).await.unwrap();
            let _ = turn.end.await;
            let done = Outcome::Done { text: turn.name.into(), usage: Usage::default() };
            (done, vec![Item::User(vec![Part::Text(turn.name.into())])])
        }
    }

    fn step(name: &'static str) -> (oneshot::Sender<()>, Step) {
        let (sender, end) = oneshot::channel();
        (sender, Step { name, end })
    }

    fn text(outcome: Outcome) -> String {
        match outcome {
            Outcome::Done { text, .. } => text,
            Outcome::Failed(failure) => failure.code.into(),
        }
    }

    #[tokio::test]
    async fn a_thread_is_a_line_and_threads_run_side_by_side() {
        let (log, mut began) = mpsc::channel(16);
        let supervisor = Supervisor::new(Arc::new(Script(log)), 2);
        let ((end_a1, a1), (end_a2, a2), (end_b, b), (end_c, c)) =
            (step("a1"), step("a2"), step("b"), step("c"));
        let out_a1 = supervisor.submit("a", a1, true);
        let out_a2 = supervisor.submit("a", a2, true);
        assert_eq!(began.recv().await.unwrap(), "a1 after 0");
        let out_b = supervisor.submit("b", b, false);
        assert_eq!(began.recv().await.unwrap(), "b after 0", "another thread does not wait");
        let out_c = supervisor.submit("c", c, true);
        assert!(began.try_recv().is_err(), "two at once are the bound, and a2 waits for a1");
        end_b.send(()).unwrap();
        assert_eq!(text(out_b.await.unwrap()), "b");
        assert_eq!(began.recv().await.unwrap(), "c after 0");
        end_a1.send(()).unwrap();
        assert_eq!(text(out_a1.await.unwrap()), "a1");
        assert_eq!(began.recv().await.unwrap(), "a2 after 1", "the thread remembers");
        end_a2.send(()).unwrap();
        end_c.send(()).unwrap();
        assert_eq!((text(out_a2.await.unwrap()), text(out_c.await.unwrap())), ("a2".into(), "c".into()));
        let (end, b2) = step("b2");
        let out = supervisor.submit("b", b2, false);
        assert_eq!(began.recv().await.unwrap(), "b2 after 0", "what need not be remembered is not");
        end.send(()).unwrap();
        out.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_line_refuses() {
        let (log, _began) = mpsc::channel(1024);
        let supervisor = Supervisor::new(Arc::new(Script(log)), 1);
        let mut kept = Vec::new();
        let mut last = None;
        for _ in 0..=THREAD_TURNS_MAX {
            let (end, turn) = step("x");
            kept.push(end);
            last = Some(supervisor.submit("t", turn, true));
        }
        assert_eq!(text(last.unwrap().await.unwrap()), "thread_busy");
    }
}

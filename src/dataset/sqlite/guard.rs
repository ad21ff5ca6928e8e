//! Bounds on what a query may take: SQLite asks now and then whether to go on.
//!
//! The hook is set once per connection; what it obeys is set per thread, because a statement runs where it was begun.

use rusqlite::Connection;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest that one step of a query may take.
pub(super) const QUERY_TIME_MAX: Duration = Duration::from_mins(1);
/// Instructions of SQLite's machine between two questions.
const ASK_EVERY: i32 = 10_000;

thread_local! {
    static ACTIVE: RefCell<Option<(Instant, Arc<AtomicBool>)>> = const { RefCell::new(None) };
}

/// Cancels what runs under it, when it is dropped before the work is done.
#[derive(Debug, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// For every new connection.
pub(super) fn connect(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.progress_handler(ASK_EVERY, Some(is_over))
}

fn is_over() -> bool {
    ACTIVE.with_borrow(|active| {
        active.as_ref().is_some_and(|(deadline, cancelled)| {
            cancelled.load(Ordering::Relaxed) || Instant::now() >= *deadline
        })
    })
}

/// Runs statements that end when `cancelled` is set or the time is up.
pub(super) fn bounded<R>(cancelled: Arc<AtomicBool>, run: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
    ACTIVE.set(Some((Instant::now() + QUERY_TIME_MAX, cancelled)));
    let _reset = Reset;
    run()
}

//! Open queries: rows that wait to be read. Each belongs to the connection that opened it, goes with it, and is closed
//! when nobody reads it for a while.

use super::give::{RowItems, Rows, give};
use crate::clock::IdSource;
use crate::error_code::RoomCode;
use crate::room::lock;
use crate::room::session::Peer;
use crate::room::toolkit::{Call, ToolError};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Most queries that one connection may have open.
pub const CURSORS_PER_CALLER_MAX: usize = 32;
/// How often open queries are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Looks after which a query that nobody reads is closed: two minutes.
const IDLE_SWEEPS_MAX: u32 = 24;

struct Cursor {
    owner: Weak<Peer>,
    /// Held while it is read; `None` when it was read to its end.
    rows: tokio::sync::Mutex<Option<Box<dyn Rows>>>,
    cancel: CancellationToken,
    idle_sweeps: AtomicU32,
}

#[derive(Default)]
struct State {
    open: HashMap<String, Arc<Cursor>>,
    swept: bool,
}

/// The open queries of a toolkit.
pub struct Cursors {
    state: Arc<Mutex<State>>,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursors").field("open", &lock(&self.state).open.len()).finish_non_exhaustive()
    }
}

impl Cursors {
    pub fn new(ids: Arc<dyn IdSource>) -> Self {
        Self { state: Arc::default(), ids }
    }

    /// Refuses a caller that has too many queries open; ask before running one.
    pub fn check(&self, caller: &Arc<Peer>, more: usize) -> Result<(), ToolError> {
        let state = lock(&self.state);
        let open = state.open.values().filter(|cursor| belongs(cursor, caller)).count();
        if open + more <= CURSORS_PER_CALLER_MAX {
            return Ok(());
        }
        let text = format!(
            "this connection has {open} queries open of at most {CURSORS_PER_CALLER_MAX}; close some first"
        );
        Err(ToolError::new(RoomCode::InvalidState, text))
    }

    /// Keeps rows to be read; gives the id of the query.
    pub fn open(&self, caller: &Arc<Peer>, rows: Box<dyn Rows>) -> String {
        let id = self.ids.fresh().simple().to_string();
        let cursor = Cursor {
            owner: Arc::downgrade(caller),
            rows: tokio::sync::Mutex::new(Some(rows)),
            cancel: CancellationToken::new(),
            idle_sweeps: AtomicU32::new(0),
        };
        let mut state = lock(&self.state);
        state.open.insert(id.clone(), Arc::new(cursor));
        if !std::mem::replace(&mut state.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.state)));
        }
        id
    }

    /// Gives the rows of a query as `data` items with these headers.
    pub async fn read(&self, call: &mut Call, id: &str, header: Value) -> Result<(), ToolError> {
        let cursor = self.find(&call.caller, id).ok_or_else(|| no_query(id))?;
        let Ok(mut held) = cursor.rows.try_lock() else {
            let text = format!("query `{id}` is being read by another call; read it in one place");
            return Err(ToolError::new(RoomCode::InvalidState, text));
        };
        let Some(rows) = held.as_mut() else {
            let text = format!("query `{id}` was read to its end; run it again");
            return Err(ToolError::new(RoomCode::InvalidState, text));
        };
        let result = give(call, &mut RowItems::new(rows.as_mut(), header), &cursor.cancel).await;
        // Read, failed or left: nobody can go on where a stream was cut.
        *held = None;
        cursor.idle_sweeps.store(0, Ordering::Relaxed);
        result
    }

    /// Closes a query; one that is not there is closed already.
    pub fn close(&self, caller: &Arc<Peer>, id: &str) {
        if let Some(cursor) = self.take(caller, id) {
            cursor.cancel.cancel();
        }
    }

    /// Cancels a query and says how far that is.
    pub fn cancel(&self, caller: &Arc<Peer>, id: &str) -> &'static str {
        let Some(cursor) = self.take(caller, id) else { return "not_cancellable" };
        cursor.cancel.cancel();
        match cursor.rows.try_lock() {
            Ok(rows) if rows.is_some() => "cancelled",
            Ok(_) => "not_cancellable",
            Err(_) => "cancelling",
        }
    }

    fn find(&self, caller: &Arc<Peer>, id: &str) -> Option<Arc<Cursor>> {
        lock(&self.state).open.get(id).filter(|cursor| belongs(cursor, caller)).map(Arc::clone)
    }

    fn take(&self, caller: &Arc<Peer>, id: &str) -> Option<Arc<Cursor>> {
        let mut state = lock(&self.state);
        state.open.get(id).filter(|cursor| belongs(cursor, caller))?;
        state.open.remove(id)
    }
}

fn belongs(cursor: &Cursor, caller: &Arc<Peer>) -> bool {
    std::ptr::eq(cursor.owner.as_ptr(), Arc::as_ptr(caller))
}

fn no_query(id: &str) -> ToolError {
    ToolError::not_found(format!(
        "there is no open query `{id}` on this connection; it was closed, or never opened"
    ))
}

/// Closes queries whose connection is gone or that nobody reads, while there are any.
async fn sweep(state: Weak<Mutex<State>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(state) = state.upgrade() else { return };
        let mut state = lock(&state);
        state.open.retain(|_, cursor| {
            let read = cursor.rows.try_lock().is_err();
            let idle = if read { 0 } else { cursor.idle_sweeps.fetch_add(1, Ordering::Relaxed) };
            cursor.owner.strong_count() > 0 && idle < IDLE_SWEEPS_MAX
        });
        if state.open.is_empty() {
            state.swept = false;
            return;
        }
    }
}

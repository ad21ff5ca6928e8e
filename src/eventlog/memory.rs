//! The log in memory, for tests and for trying things out. Nothing survives the process.

use super::place::place;
use super::{
    AppendError, Appended, EventLog, Filter, LogError, PAGE_EVENTS_MAX, Recorded, Report, Snapshot,
    StreamWrite, limits,
};
use crate::clock::Clock;
use crate::id::{Position, StreamId};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// An [`EventLog`] that lives in this process.
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    changes: watch::Sender<Position>,
}

#[derive(Default)]
struct Inner {
    /// Index is position - 1.
    events: Vec<Recorded>,
    /// Positions of a stream's events; index is version - 1.
    streams: HashMap<StreamId, Vec<u64>>,
    ids: HashMap<Uuid, u64>,
    snapshots: HashMap<String, Snapshot>,
}

impl std::fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLog").field("head", &*self.changes.borrow()).finish_non_exhaustive()
    }
}

impl MemoryLog {
    /// An empty log whose `recorded_at` comes from this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Mutex::default(), changes: watch::Sender::new(Position(0)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn at(&self, position: u64) -> Option<&Recorded> {
        self.events.get(usize::try_from(position.checked_sub(1)?).ok()?)
    }

    fn version(&self, stream: &StreamId) -> u64 {
        self.streams.get(stream).map_or(0, |positions| positions.len() as u64)
    }

    /// The original records, when this append was made before.
    fn repeat_of(&self, writes: &[StreamWrite]) -> Result<Option<Vec<Recorded>>, AppendError> {
        let events: Vec<_> =
            writes.iter().flat_map(|w| w.events.iter().map(move |e| (&w.stream, e))).collect();
        let known = events.iter().filter_map(|(_, e)| self.at(*self.ids.get(&e.event_id)?).cloned());
        super::event::repeat(&events, known.collect())
    }

    fn push(&mut self, event: Recorded) {
        self.streams.entry(event.stream.clone()).or_default().push(event.position.0);
        self.ids.insert(event.event_id, event.position.0);
        self.events.push(event);
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, writes: Vec<StreamWrite>) -> Result<Appended, AppendError> {
        limits::check(&writes)?;
        let mut inner = self.lock();
        if let Some(events) = inner.repeat_of(&writes)? {
            return Ok(Appended { events, repeated: true });
        }
        let head = Position(inner.events.len() as u64);
        let version_of = |stream: &StreamId| Ok::<_, AppendError>(inner.version(stream));
        let events = place(&writes, head, self.clock.now(), version_of)?;
        for event in &events {
            inner.push(event.clone());
        }
        if let Some(last) = events.last() {
            self.changes.send_replace(last.position);
        }
        Ok(Appended { events, repeated: false })
    }

    async fn restore(&self, events: Vec<Recorded>) -> Result<(), AppendError> {
        let mut inner = self.lock();
        limits::check_next(&events, Position(inner.events.len() as u64))?;
        for event in events {
            inner.push(event);
        }
        self.changes.send_replace(Position(inner.events.len() as u64));
        Ok(())
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let inner = self.lock();
        let positions = inner.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let page = positions.iter().skip(after).filter_map(|p| inner.at(*p)).take(limit.min(PAGE_EVENTS_MAX));
        Ok(page.cloned().collect())
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        let inner = self.lock();
        let page =
            inner.events.iter().skip(after).filter(|e| filter.matches(e)).take(limit.min(PAGE_EVENTS_MAX));
        Ok(page.cloned().collect())
    }

    async fn head(&self) -> Result<Position, LogError> {
        Ok(Position(self.lock().events.len() as u64))
    }

    fn changes(&self) -> watch::Receiver<Position> {
        self.changes.subscribe()
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), LogError> {
        limits::check_snapshot(&snapshot)?;
        self.lock().snapshots.insert(snapshot.name.clone(), snapshot);
        Ok(())
    }

    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        Ok(self.lock().snapshots.get(name).cloned())
    }

    async fn delete_snapshot(&self, name: &str) -> Result<(), LogError> {
        self.lock().snapshots.remove(name);
        Ok(())
    }

    async fn verify(&self) -> Result<Report, LogError> {
        let inner = self.lock();
        let mut check = super::verify::Check::default();
        for event in &inner.events {
            check.event(event);
        }
        Ok(check.finish())
    }
}

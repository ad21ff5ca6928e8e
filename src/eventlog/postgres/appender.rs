//! The one task of a server that appends: takes what is waiting, commits it together, answers each.

use super::super::{AppendError, Appended, LogError, StreamWrite, row};
use super::advance;
use super::append::{Failure, Outcome, Session};
use crate::clock::Clock;
use crate::id::Position;
use crate::store::StoreError;
use crate::store::postgres::Postgres;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Most appends that wait; further ones are held back in their callers.
const QUEUE_APPENDS_MAX: usize = 1024;
/// Most appends that share one commit.
const BATCH_APPENDS_MAX: usize = 256;
/// A commit takes no further append when it has this many events or bytes of data.
const BATCH_EVENTS_ENOUGH: usize = 5_000;
const BATCH_BYTES_ENOUGH: usize = 8 * 1024 * 1024;
/// Attempts at a commit when the connection is lost, and the pause before each further one. Event ids tell whether
/// an earlier attempt was recorded after all.
const ATTEMPTS_MAX: u32 = 4;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Appender {
    queue: mpsc::Sender<Pending>,
}

/// An append on its way.
pub(super) struct Pending {
    pub writes: Vec<StreamWrite>,
    /// JSON, one per event.
    pub metadata: Vec<String>,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
}

impl Pending {
    fn events(&self) -> usize {
        self.metadata.len()
    }

    fn bytes(&self) -> usize {
        self.writes.iter().flat_map(|w| &w.events).map(|e| e.data.len()).sum()
    }
}

impl Appender {
    pub(super) fn start(
        store: Arc<Postgres>,
        clock: Arc<dyn Clock>,
        changes: Arc<watch::Sender<Position>>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_APPENDS_MAX);
        tokio::spawn(Worker { store, clock, changes, session: None }.run(waiting));
        Self { queue }
    }

    pub(super) async fn append(&self, writes: Vec<StreamWrite>) -> Result<Appended, AppendError> {
        let events = writes.iter().flat_map(|w| &w.events);
        let metadata = events.map(|e| row::metadata(&e.metadata)).collect::<Result<Vec<_>, _>>()?;
        let closed = |reason: &str| AppendError::Unavailable { reason: reason.to_owned() };
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.send(Pending { writes, metadata, answer }).await;
        sent.map_err(|_| closed("it was closed; start again"))?;
        answered.await.map_err(|_| closed("the append was broken off; retry with the same event ids"))?
    }
}

struct Worker {
    store: Arc<Postgres>,
    clock: Arc<dyn Clock>,
    changes: Arc<watch::Sender<Position>>,
    session: Option<Session>,
}

impl Worker {
    /// Ends when nobody is left to append.
    async fn run(mut self, mut waiting: mpsc::Receiver<Pending>) {
        let mut taken = Vec::with_capacity(BATCH_APPENDS_MAX);
        while waiting.recv_many(&mut taken, BATCH_APPENDS_MAX).await > 0 {
            let mut rest = taken.drain(..).peekable();
            while rest.peek().is_some() {
                let (mut batch, mut events, mut bytes) = (Vec::new(), 0, 0);
                while events < BATCH_EVENTS_ENOUGH && bytes < BATCH_BYTES_ENOUGH {
                    let Some(pending) = rest.next() else { break };
                    events += pending.events();
                    bytes += pending.bytes();
                    batch.push(pending);
                }
                self.commit_or_fail(batch).await;
            }
        }
    }

    /// Commits and answers; a batch that Postgres refuses is tried again append by append, so that only the append
    /// at fault is refused.
    async fn commit_or_fail(&mut self, batch: Vec<Pending>) {
        match self.commit(&batch).await {
            Ok(outcomes) => self.answer(batch, outcomes),
            Err(LogError::Unavailable { .. }) if batch.len() > 1 && self.session.is_some() => {
                for pending in batch {
                    let alone = [pending];
                    let outcomes = match self.commit(&alone).await {
                        Ok(outcomes) => outcomes,
                        Err(error) => vec![Err(error.into())],
                    };
                    self.answer(alone, outcomes);
                }
            }
            Err(error) => {
                tracing::error!(%error, appends = batch.len(), "appending failed");
                let outcomes = batch.iter().map(|_| Err(error.clone().into())).collect();
                self.answer(batch, outcomes);
            }
        }
    }

    fn answer(&self, batch: impl IntoIterator<Item = Pending>, outcomes: Vec<Outcome>) {
        let positions = outcomes.iter().flatten().filter_map(|appended| appended.events.last());
        if let Some(last) = positions.map(|event| event.position).max() {
            advance(&self.changes, last);
        }
        for (pending, outcome) in batch.into_iter().zip(outcomes) {
            let _ = pending.answer.send(outcome);
        }
    }

    /// One commit, attempted again while the connection is at fault. The session is kept only when it is sound.
    async fn commit(&mut self, batch: &[Pending]) -> Result<Vec<Outcome>, LogError> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(batch, attempt > 1).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => error,
            };
            let lost = self.session.is_none() && matches!(error, LogError::Unavailable { .. });
            if !lost || attempt == ATTEMPTS_MAX {
                return Err(error);
            }
            tracing::warn!(%error, attempt, "appending failed; trying again");
            tokio::time::sleep(ATTEMPT_PAUSE * attempt).await;
            attempt += 1;
        }
    }

    /// `again`: an earlier attempt may have been recorded, and then is ours.
    async fn attempt(&mut self, batch: &[Pending], again: bool) -> Result<Vec<Outcome>, LogError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.store).await?,
        };
        match session.commit(batch, self.clock.now(), again).await {
            Ok(outcomes) => {
                self.session = Some(session);
                Ok(outcomes)
            }
            Err(Failure::Log(error)) => Err(error),
            // Decided per append; a commit as a whole has no such error.
            Err(Failure::Append(error)) => Err(LogError::Unavailable { reason: error.to_string() }),
            Err(Failure::Postgres(error)) => {
                let error = self.store.error(&error);
                if matches!(error, StoreError::Statement { .. }) && session.roll_back().await {
                    self.session = Some(session);
                } else {
                    session.discard();
                }
                Err(error.into())
            }
        }
    }
}

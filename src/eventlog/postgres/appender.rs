//! The one task of a server that appends: takes what is waiting, commits it together, answers each.

use super::super::{AppendError, Appended, LogError, StreamWrite, row};
use super::advance;
use super::append::{Failure, Flight, Landed, Outcome, Session};
use crate::clock::Clock;
use crate::id::Position;
use crate::store::StoreError;
use crate::store::postgres::Postgres;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Most appends that wait; further ones are held back in their callers.
const QUEUE_APPENDS_MAX: usize = 1024;
/// Most appends that share one commit.
const BATCH_APPENDS_MAX: usize = 256;
/// Commits on their way at one time: while one is written, the next is prepared.
const FLIGHTS_MAX: usize = 2;
/// A further commit is launched when this many events wait; fewer wait for those before them.
const FLIGHT_EVENTS_ENOUGH: usize = 16;
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
        tokio::spawn(Worker { store, clock, changes, session: None, flights: VecDeque::new() }.run(waiting));
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
    /// In the order of their launch.
    flights: VecDeque<Flight>,
}

/// Waits until the first flight has ended.
async fn first(flights: &mut VecDeque<Flight>) {
    if let Some(flight) = flights.front_mut() {
        flight.as_mut().await;
    }
}

/// Takes the appends of one commit off the front.
fn cut(taken: &mut Vec<Pending>) -> Vec<Pending> {
    let (mut events, mut bytes, mut count) = (0, 0, 0);
    while let Some(pending) = taken.get(count)
        && events < BATCH_EVENTS_ENOUGH
        && bytes < BATCH_BYTES_ENOUGH
    {
        events += pending.events();
        bytes += pending.bytes();
        count += 1;
    }
    taken.drain(..count).collect()
}

impl Worker {
    /// Ends when nobody is left to append.
    async fn run(mut self, mut waiting: mpsc::Receiver<Pending>) {
        let mut taken = Vec::with_capacity(BATCH_APPENDS_MAX);
        let mut open = true;
        while open || !taken.is_empty() || !self.flights.is_empty() {
            let enough = self.flights.is_empty()
                || taken.iter().map(Pending::events).sum::<usize>() >= FLIGHT_EVENTS_ENOUGH;
            if !taken.is_empty() && enough && self.flights.len() < FLIGHTS_MAX {
                let batch = cut(&mut taken);
                self.launch(batch).await;
                continue;
            }
            let room = BATCH_APPENDS_MAX.saturating_sub(taken.len());
            tokio::select! {
                biased;
                () = first(&mut self.flights), if !self.flights.is_empty() => self.land().await,
                more = waiting.recv_many(&mut taken, room), if open && room > 0 => open = more > 0,
            }
        }
    }

    /// Sends a batch on its way; where that cannot be, commits it when all before it have landed.
    async fn launch(&mut self, batch: Vec<Pending>) {
        let launched = match &mut self.session {
            Some(session) => session.launch(batch, self.clock.now()).await,
            None => Err(batch),
        };
        match launched {
            Ok(flight) => self.flights.push_back(flight),
            Err(batch) => {
                while !self.flights.is_empty() {
                    first(&mut self.flights).await;
                    self.land().await;
                }
                self.commit_or_fail(batch, false).await;
            }
        }
    }

    /// Takes in the first flight, which has ended. When it failed, those behind it failed with it: all are made again,
    /// in order, by looking first.
    async fn land(&mut self) {
        let Some(landed) = self.next_landed() else { return };
        if let Ok(true) = landed.inserted {
            let outcomes = landed.placed.into_iter().map(|events| Ok(Appended { events, repeated: false }));
            self.answer(landed.batch, outcomes.collect());
            return;
        }
        let (mut failed, mut lost) = (vec![landed], false);
        while !self.flights.is_empty() {
            first(&mut self.flights).await;
            failed.extend(self.next_landed());
        }
        for landed in &failed {
            if let Err(error) = &landed.inserted {
                lost |= !matches!(self.store.error(error), StoreError::Statement { .. });
            }
        }
        self.recover(lost).await;
        for landed in failed {
            // Lost in the middle of a commit: it may be recorded after all.
            self.commit_or_fail(landed.batch, lost).await;
        }
    }

    fn next_landed(&mut self) -> Option<Landed> {
        self.flights.pop_front().and_then(|mut flight| flight.as_mut().take_output())
    }

    /// After a failure: a session that can go on, or none.
    async fn recover(&mut self, lost: bool) {
        let Some(mut session) = self.session.take() else { return };
        if !lost && session.roll_back().await {
            self.session = Some(session);
        } else {
            session.discard();
        }
    }

    /// Commits and answers; a batch that Postgres refuses is tried again append by append, so that only the append
    /// at fault is refused.
    async fn commit_or_fail(&mut self, batch: Vec<Pending>, again: bool) {
        match self.commit(&batch, again).await {
            Ok(outcomes) => self.answer(batch, outcomes),
            Err(LogError::Unavailable { .. }) if batch.len() > 1 && self.session.is_some() => {
                for pending in batch {
                    let alone = [pending];
                    let outcomes = match self.commit(&alone, again).await {
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
    async fn commit(&mut self, batch: &[Pending], again: bool) -> Result<Vec<Outcome>, LogError> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(batch, again || attempt > 1).await {
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
                self.session = Some(session);
                self.recover(!matches!(error, StoreError::Statement { .. })).await;
                Err(error.into())
            }
        }
    }
}

//! One transaction of many jobs, each in its own savepoint.

use super::writer::Request;
use crate::store::StoreError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{mpsc, oneshot};

/// Most jobs that share one commit.
const BATCH_JOBS_MAX: usize = 256;

/// A write whose types are hidden from the thread that runs it.
pub(super) trait Job: Send {
    /// Does the work. `false`: it left nothing that is to be kept.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells the caller, after the transaction has ended like this.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

pub(super) struct Typed<F, C, R, E> {
    job: Option<F>,
    committed: C,
    result: Option<Result<R, E>>,
    answer: oneshot::Sender<Result<R, E>>,
}

impl<F, C, R, E> Typed<F, C, R, E> {
    pub(super) fn new(job: F, committed: C) -> (Self, oneshot::Receiver<Result<R, E>>) {
        let (answer, answered) = oneshot::channel();
        (Self { job: Some(job), committed, result: None, answer }, answered)
    }
}

impl<F, C, R, E> Job for Typed<F, C, R, E>
where
    F: FnOnce(&Connection) -> Result<R, E> + Send,
    C: FnOnce(&R) + Send,
    R: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = self.job.take().map(|job| job(connection));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let result = match (commit, self.result) {
            (Ok(()), Some(result)) => result,
            (Err(error), _) => Err(error.into()),
            // The job panicked: the caller learns it from the dropped answer.
            (Ok(()), None) => return,
        };
        if let Ok(value) = &result {
            (self.committed)(value);
        }
        let _ = self.answer.send(result);
    }
}

/// Jobs that ran in one transaction, and how it ended.
pub(super) struct Batch {
    pub jobs: Vec<Box<dyn Job>>,
    pub outcome: Result<(), StoreError>,
    /// The job whose statement made SQLite roll back everything; its own error says why.
    pub culprit: Option<usize>,
    /// A request to close came in behind them.
    pub closing: Option<oneshot::Sender<()>>,
}

/// Runs the job and those that are waiting, up to a bound, and commits them together.
pub(super) fn run(
    connection: &Connection,
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Request>,
) -> Batch {
    let mut batch = Batch { jobs: Vec::new(), outcome: Ok(()), culprit: None, closing: None };
    let mut next = Some(first);
    batch.outcome = execute(connection, "BEGIN IMMEDIATE");
    while let Some(mut job) = next.take() {
        if batch.outcome.is_ok() {
            batch.outcome = in_savepoint(connection, job.as_mut());
            if connection.is_autocommit() {
                batch.culprit = Some(batch.jobs.len());
            }
        }
        batch.jobs.push(job);
        if batch.outcome.is_ok() && batch.jobs.len() < BATCH_JOBS_MAX {
            match queue.try_recv() {
                Ok(Request::Run(job)) => next = Some(job),
                Ok(Request::Close(done)) => batch.closing = Some(done),
                Err(_) => {}
            }
        }
    }
    if batch.outcome.is_ok() {
        batch.outcome = execute(connection, "COMMIT");
    }
    if batch.outcome.is_err() && !connection.is_autocommit() {
        let _ = execute(connection, "ROLLBACK");
    }
    batch
}

/// An error here means that the whole transaction is lost; a job's own error does not.
fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> Result<(), StoreError> {
    execute(connection, "SAVEPOINT job")?;
    let keep = catch_unwind(AssertUnwindSafe(|| job.run(connection))).unwrap_or(false);
    if connection.is_autocommit() {
        // A full disk, a failed read or a lack of memory makes SQLite roll back everything at once.
        let reason = "another write in the same transaction found the disk full or failing".to_owned();
        return Err(StoreError::Unavailable { place: String::new(), reason });
    }
    if !keep {
        execute(connection, "ROLLBACK TO job")?;
    }
    execute(connection, "RELEASE job")
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(()).map(drop).map_err(StoreError::from)
}

//! The writer thread: takes jobs from a bounded queue, commits as many as are waiting with one sync, answers them.

use super::batch::{self, Job, Typed};
use super::open::Opened;
use super::wal::Wal;
use crate::store::StoreError;
use rusqlite::Connection;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// Most jobs that wait; further ones are held back in their callers.
const QUEUE_JOBS_MAX: usize = 1024;

pub(super) struct Writer {
    place: String,
    requests: mpsc::Sender<Request>,
}

pub(super) enum Request {
    Run(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    pub(super) fn start(opened: Opened) -> Result<Self, StoreError> {
        let place = opened.path.display().to_string();
        let (requests, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned());
        let failed = |e: std::io::Error| StoreError::Open { place: place.clone(), reason: e.to_string() };
        thread.spawn(move || run(opened, queue)).map_err(failed)?;
        Ok(Self { place, requests })
    }

    pub(super) async fn run<R, E, F, C>(&self, job: F, committed: C) -> Result<R, E>
    where
        F: FnOnce(&Connection) -> Result<R, E> + Send + 'static,
        C: FnOnce(&R) + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let closed =
            |reason: &str| StoreError::Unavailable { place: self.place.clone(), reason: reason.to_owned() };
        let (job, answer) = Typed::new(job, committed);
        let sent = self.requests.send(Request::Run(Box::new(job))).await;
        sent.map_err(|_| closed("it was closed"))?;
        answer.await.map_err(|_| closed("the write was broken off"))?
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

/// The thread. Sleeps until there is a job; ends when it is told to or when nobody is left to send one.
fn run(opened: Opened, mut queue: mpsc::Receiver<Request>) {
    let Opened { path, mut connection, lock } = opened;
    let mut state = State { wal: Wal::attach(&mut connection, &path), path, broken: None };
    let mut closing = None;
    while let Some(request) = queue.blocking_recv() {
        match request {
            Request::Run(job) => closing = state.work(&connection, job, &mut queue),
            Request::Close(done) => closing = Some(done),
        }
        if closing.is_some() {
            break;
        }
    }
    drop(queue);
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "closing the database failed; it will recover at the next start");
    }
    // Told, not left to the closing of the file: a child process between its fork and its program has the file open too.
    if let Err(error) = lock.unlock() {
        tracing::warn!(%error, "the lock of a data directory was not given up");
    }
    if let Some(done) = closing {
        let _ = done.send(());
    }
}

struct State {
    path: PathBuf,
    wal: Wal,
    /// Set when a sync failed: what the disk holds is unknown from then on, so nothing more is promised.
    broken: Option<StoreError>,
}

impl State {
    /// Commits the job and those that wait behind it, and answers them all.
    fn work(
        &mut self,
        connection: &Connection,
        first: Box<dyn Job>,
        queue: &mut mpsc::Receiver<Request>,
    ) -> Option<oneshot::Sender<()>> {
        if let Some(error) = &self.broken {
            first.answer(Err(error.clone()));
            return None;
        }
        let batch = batch::run(connection, first, queue);
        let outcome = batch.outcome.map_err(|e| self.name(e));
        if let Err(error) = &outcome {
            tracing::error!(%error, jobs = batch.jobs.len(), "a commit failed; nothing of it was recorded");
            if matches!(error, StoreError::SyncFailed { .. }) {
                self.broken = Some(error.clone());
            }
        }
        for (index, job) in batch.jobs.into_iter().enumerate() {
            let own_error = batch.culprit == Some(index);
            job.answer(if own_error { Ok(()) } else { outcome.clone() });
        }
        self.wal.tend(connection);
        batch.closing
    }

    fn name(&self, error: StoreError) -> StoreError {
        let place = self.path.display().to_string();
        match error {
            StoreError::Full { .. } => StoreError::Full { place },
            StoreError::SyncFailed { reason, .. } => StoreError::SyncFailed { place, reason },
            StoreError::Damaged { reason, .. } => StoreError::Damaged { place, reason },
            StoreError::Unavailable { reason, .. } => StoreError::Unavailable { place, reason },
            other => other,
        }
    }
}

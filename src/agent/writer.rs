//! Writes a thread's rows beside the turn: what is due goes out in one insert, in order. What could not be written waits and is
//! tried again, so that a thread has no hole.

use super::storage::{Place, Stored, ThreadTable};
use super::thread::record::Row;
use super::tools::lost;
use super::turn::Failure;
use crate::client::room::{Backoff, RoomClient, RoomError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Batches that may wait to be written; a turn that is quicker waits.
const BATCHES_MAX: usize = 256;
/// Rows that may wait for a storage that does not take them; with more the thread is behind what happened for good.
const ROWS_WAITING_MAX: usize = 16_384;
/// Waits before rows that were not taken are tried again.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_mins(1) };

enum Job {
    Rows(Vec<Row>),
    Flush(oneshot::Sender<Result<(), Failure>>),
    Read(oneshot::Sender<Result<Vec<Stored>, Failure>>),
}

/// What rows go to.
#[async_trait::async_trait]
trait Table: Send + 'static {
    /// Takes rows; those that are not known to be stored stay in `rows`, with an error.
    async fn append(&mut self, rows: &mut Vec<Row>) -> Result<(), RoomError>;
    /// All that is stored.
    async fn rows(&self) -> Result<Vec<Stored>, RoomError>;
}

#[async_trait::async_trait]
impl Table for ThreadTable {
    async fn append(&mut self, rows: &mut Vec<Row>) -> Result<(), RoomError> {
        Self::append(self, rows).await
    }

    async fn rows(&self) -> Result<Vec<Stored>, RoomError> {
        Self::rows(self).await
    }
}

/// The task that writes one thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
    behind: Arc<AtomicBool>,
}

fn gone() -> Failure {
    Failure { message: "the thread's storage is gone".into(), code: "room_lost" }
}

impl Writer {
    pub async fn open(client: RoomClient, place: Place) -> Result<(Self, Vec<Stored>), RoomError> {
        let (table, stored) = ThreadTable::open(client, place).await?;
        Ok((Self::start(table), stored))
    }

    fn start(table: impl Table) -> Self {
        let (jobs, queue) = mpsc::channel(BATCHES_MAX);
        let behind = Arc::new(AtomicBool::new(false));
        let pen = Pen { table, rows: Vec::new(), failure: None, failures: 0, behind: behind.clone() };
        Self { jobs, task: tokio::spawn(pen.work(queue)), behind }
    }

    pub async fn write(&self, rows: Vec<Row>) {
        // After the task is gone every flush says so.
        let _ = self.jobs.send(Job::Rows(rows)).await;
    }

    /// What waits until all that was written so far is stored, or was not taken by the storage.
    pub fn flush(&self) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let (done, flushed) = oneshot::channel();
        let jobs = self.jobs.clone();
        async move {
            jobs.send(Job::Flush(done)).await.map_err(|_| gone())?;
            flushed.await.map_err(|_| gone())?
        }
    }

    /// All that is stored, after what was written so far.
    pub async fn rows(&self) -> Result<Vec<Stored>, Failure> {
        let (done, rows) = oneshot::channel();
        self.jobs.send(Job::Read(done)).await.map_err(|_| gone())?;
        rows.await.map_err(|_| gone())?
    }

    /// Whether rows were given up: nothing is stored any more until the thread is opened again.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// Writes what waits and ends.
    pub async fn end(self) {
        drop(self.jobs);
        // It may have panicked; there is nothing left to write then.
        let _ = self.task.await;
    }
}

struct Pen<T> {
    table: T,
    rows: Vec<Row>,
    /// Why the rows wait.
    failure: Option<Failure>,
    failures: u32,
    behind: Arc<AtomicBool>,
}

impl<T: Table> Pen<T> {
    async fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            let mut next = if self.rows.is_empty() {
                queue.recv().await
            } else {
                let wait = AGAIN.wait(self.failures.saturating_sub(1), 0);
                if let Ok(job) = tokio::time::timeout(wait, queue.recv()).await {
                    job
                } else {
                    self.write().await;
                    continue;
                }
            };
            if next.is_none() {
                break;
            }
            while let Some(job) = next.take() {
                match job {
                    Job::Rows(rows) => {
                        self.take(rows);
                        next = queue.try_recv().ok();
                    }
                    Job::Flush(done) => {
                        self.write().await;
                        // Nobody may be waiting any more.
                        let _ = done.send(self.failure.clone().map_or(Ok(()), Err));
                    }
                    Job::Read(done) => {
                        self.write().await;
                        let _ = done.send(self.table.rows().await.map_err(|error| lost(&error)));
                    }
                }
            }
            if self.failure.is_none() {
                self.write().await;
            }
        }
        self.write().await;
    }

    fn take(&mut self, rows: Vec<Row>) {
        let behind = self.behind.load(Ordering::Acquire);
        if behind || (self.failure.is_some() && self.rows.len() + rows.len() > ROWS_WAITING_MAX) {
            if !behind {
                tracing::error!("a thread is too far ahead of its storage; what follows is not stored");
            }
            self.behind.store(true, Ordering::Release);
            self.rows.clear();
            return;
        }
        self.rows.extend(rows);
    }

    async fn write(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        match self.table.append(&mut self.rows).await {
            Ok(()) => {
                if self.failure.take().is_some() {
                    tracing::info!("the thread is written again");
                }
                self.failures = 0;
            }
            Err(error) => {
                if self.failure.is_none() {
                    tracing::error!(%error, "a thread cannot be written; trying again");
                }
                self.failure = Some(lost(&error));
                self.failures = self.failures.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    /// Refuses while `refusing`; keeps the numbers of what it took.
    #[derive(Clone, Default)]
    struct Fake {
        refusing: Arc<AtomicUsize>,
        taken: Arc<Mutex<Vec<String>>>,
    }

    #[async_trait::async_trait]
    impl Table for Fake {
        async fn append(&mut self, rows: &mut Vec<Row>) -> Result<(), RoomError> {
            let less = |n: usize| n.checked_sub(1);
            if self.refusing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                let (request, text) = ("insert".to_owned(), "no".to_owned());
                return Err(RoomError::Failed { request, text, code: None });
            }
            self.taken.lock().unwrap().extend(rows.drain(..).map(|row| row.item_id));
            Ok(())
        }

        async fn rows(&self) -> Result<Vec<Stored>, RoomError> {
            Ok(Vec::new())
        }
    }

    fn rows(ids: std::ops::Range<usize>) -> Vec<Row> {
        let row = |n: usize| Row {
            turn_id: None,
            item_id: n.to_string(),
            kind: String::new(),
            timestamp: String::new(),
            data: Map::new(),
        };
        ids.map(row).collect()
    }

    #[tokio::test]
    async fn what_was_not_taken_is_written_when_the_storage_is_back() {
        let table = Fake::default();
        // The write itself and the flush may both be refused.
        table.refusing.store(usize::MAX, Ordering::SeqCst);
        let writer = Writer::start(table.clone());
        writer.write(rows(0..2)).await;
        assert!(writer.flush().await.is_err(), "it is not said to be stored");
        writer.write(rows(2..3)).await;
        table.refusing.store(0, Ordering::SeqCst);
        writer.flush().await.expect("the storage is back");
        assert_eq!(*table.taken.lock().unwrap(), ["0", "1", "2"], "all of it, in order");
        assert!(!writer.is_behind());
        writer.end().await;
    }

    #[tokio::test]
    async fn a_thread_too_far_ahead_of_its_storage_says_so_and_stores_no_hole() {
        let table = Fake::default();
        table.refusing.store(usize::MAX, Ordering::SeqCst);
        let writer = Writer::start(table.clone());
        writer.write(rows(0..1)).await;
        assert!(writer.flush().await.is_err());
        writer.write(rows(1..ROWS_WAITING_MAX + 1)).await;
        table.refusing.store(0, Ordering::SeqCst);
        writer.write(rows(0..1)).await;
        assert!(writer.flush().await.is_err());
        assert!(writer.is_behind());
        writer.end().await;
        assert!(table.taken.lock().unwrap().is_empty());
    }
}

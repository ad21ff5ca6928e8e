//! Writes a thread's rows beside the turn: what is due goes out in one insert, in order.

use super::storage::{Place, Stored, ThreadTable};
use super::thread::record::Row;
use super::tools::lost;
use super::turn::Failure;
use crate::client::room::{RoomClient, RoomError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Batches that may wait to be written; a turn that is quicker waits.
const BATCHES_MAX: usize = 256;

enum Job {
    Rows(Vec<Row>),
    Flush(oneshot::Sender<Result<(), Failure>>),
    Read(oneshot::Sender<Result<Vec<Stored>, Failure>>),
}

/// The task that writes one thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

fn gone() -> Failure {
    Failure { message: "the thread's storage is gone".into(), code: "room_lost" }
}

impl Writer {
    pub async fn open(client: RoomClient, place: Place) -> Result<(Self, Vec<Stored>), RoomError> {
        let (table, stored) = ThreadTable::open(client, place).await?;
        let (jobs, queue) = mpsc::channel(BATCHES_MAX);
        Ok((Self { jobs, task: tokio::spawn(work(table, queue)) }, stored))
    }

    pub async fn write(&self, rows: Vec<Row>) {
        // After the task is gone every flush says so.
        let _ = self.jobs.send(Job::Rows(rows)).await;
    }

    /// What waits until all that was written so far is stored.
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

    /// Writes what waits and ends.
    pub async fn end(self) {
        drop(self.jobs);
        // It may have panicked; there is nothing left to write then.
        let _ = self.task.await;
    }
}

async fn work(mut table: ThreadTable, mut queue: mpsc::Receiver<Job>) {
    let mut rows = Vec::new();
    let mut broken: Option<Failure> = None;
    while let Some(job) = queue.recv().await {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Rows(more) => {
                    rows.extend(more);
                    next = queue.try_recv().ok();
                }
                Job::Flush(done) => {
                    write(&mut table, &mut rows, &mut broken).await;
                    // Nobody may be waiting any more.
                    let _ = done.send(broken.clone().map_or(Ok(()), Err));
                }
                Job::Read(done) => {
                    write(&mut table, &mut rows, &mut broken).await;
                    let _ = done.send(table.rows().await.map_err(|error| lost(&error)));
                }
            }
        }
        write(&mut table, &mut rows, &mut broken).await;
    }
}

/// A thread that could not be written once stays so: a hole in it would be worse.
async fn write(table: &mut ThreadTable, rows: &mut Vec<Row>, broken: &mut Option<Failure>) {
    if rows.is_empty() || broken.is_some() {
        rows.clear();
        return;
    }
    if let Err(error) = table.append(std::mem::take(rows)).await {
        tracing::error!(%error, "a thread cannot be written; what follows is not stored");
        *broken = Some(lost(&error));
    }
}

//! Where the documents of one room are kept: an append-only log of updates per document and a snapshot that a part
//! of it was folded into, all in one SQLite database, so that one sync serves every document of the room.
//!
//! One thread owns the database. It takes what waits, up to a bound, writes it in one transaction, and only then
//! has the callers called back, in the order things were handed in. A torn tail is the write-ahead log's to find and drop; each
//! record has a checksum of its own besides.
//!
//! Knows nothing of Yjs, of who has a document open, of sockets or grants.

mod rows;
mod writer;

pub use rows::{Row, Stored};

use rusqlite::Connection;
use std::fmt;
use std::path::Path;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Most pieces of work that wait; who hands in more is held back.
pub const QUEUE_MAX: usize = 4_096;
/// Most pieces of work that share one commit.
const BATCH_MAX: usize = 1_024;
/// File in the room's folder for documents.
const DATABASE_FILE: &str = "documents.db";

/// Why something was not written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("the disk is full; free space on the server")]
    Full,
    #[error("the documents of the room cannot be used: {0}")]
    Failed(String),
    #[error(
        "the disk failed under the documents of the room: {0}; nothing more is taken until the server starts again"
    )]
    Disk(String),
    #[error("record {seq} of the document is damaged on disk; restore the room's documents from a backup")]
    Damaged { seq: i64 },
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(rusqlite::ErrorCode::SystemIoFailure) => Self::Disk(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

type Work = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;
type Done = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// One thing for the thread.
struct Entry {
    task: Task,
    done: Done,
}

enum Task {
    Do(Work),
    /// To be called back when everything handed in before is on disk.
    Barrier,
    /// The same, and then the thread ends.
    Close,
}

/// The documents of one room on disk. The last one dropped ends the thread, after what waits was written.
pub struct Journal {
    entries: mpsc::Sender<Entry>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens or makes the database in `folder`. Blocks; must be called within a runtime.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let (entries, queue) = mpsc::channel(QUEUE_MAX);
        writer::start(&folder.join(DATABASE_FILE), queue)?;
        Ok(Self { entries })
    }

    /// Writes one update. `done` runs in the journal's task once it is on disk, or is known not to be; what was
    /// handed in before is called back before. `wanted` is asked before the write.
    pub async fn append(
        &self,
        document: Uuid,
        seq: i64,
        update: bytes::Bytes,
        wanted: impl FnOnce() -> bool + Send + 'static,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            if wanted() { rows::append(connection, document, seq, &update) } else { Ok(()) }
        };
        self.submit(Task::Do(Box::new(work)), Box::new(done)).await;
    }

    /// Calls back when everything handed in before is on disk.
    pub async fn barrier(&self, done: impl FnOnce(Result<(), JournalError>) + Send + 'static) {
        self.submit(Task::Barrier, Box::new(done)).await;
    }

    /// Puts `snapshot` in the place of the updates up to `seq`.
    pub async fn fold(
        &self,
        document: Uuid,
        seq: i64,
        snapshot: bytes::Bytes,
        wanted: impl FnOnce() -> bool + Send + 'static,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            if wanted() { rows::fold(connection, document, seq, &snapshot) } else { Ok(()) }
        };
        self.submit(Task::Do(Box::new(work)), Box::new(done)).await;
    }

    pub async fn create(&self, row: Row, snapshot: bytes::Bytes) -> Result<(), JournalError> {
        self.run(move |connection| rows::create(connection, &row, &snapshot)).await
    }

    /// A document with its updates; nothing when it is not here.
    pub async fn load(&self, document: Uuid) -> Result<Option<Stored>, JournalError> {
        self.run(move |connection| rows::load(connection, document)).await?.transpose()
    }

    pub async fn rename(&self, document: Uuid, path: String) -> Result<(), JournalError> {
        self.run(move |connection| rows::rename(connection, document, &path)).await
    }

    pub async fn delete(&self, document: Uuid) -> Result<(), JournalError> {
        self.run(move |connection| rows::delete(connection, document)).await
    }

    /// Says that nothing in room storage stands for a document any more; the second time it is removed.
    pub async fn gone(&self, document: Uuid) -> Result<(), JournalError> {
        self.run(move |connection| rows::gone(connection, document)).await
    }

    /// Identifiers and paths of up to `max` documents after `after`, in order.
    pub async fn list(&self, after: Uuid, max: u32) -> Result<Vec<(Uuid, String)>, JournalError> {
        self.run(move |connection| rows::list(connection, after, max)).await
    }

    /// Writes what was handed in before, and takes nothing more.
    pub async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        self.submit(Task::Close, Box::new(move |_| closed.send(()).unwrap_or(()))).await;
        let _ = closing.await;
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let (result, kept) = std::sync::mpsc::sync_channel(1);
        let work: Work = Box::new(move |connection| {
            let value = job(connection)?;
            let _ = result.try_send(value);
            Ok(())
        });
        let done: Done = Box::new(move |outcome| drop(answer.send(outcome)));
        self.submit(Task::Do(work), done).await;
        let ended = || JournalError::Failed("it was closed".to_owned());
        answered.await.map_err(|_| ended())??;
        kept.try_recv().map_err(|_| ended())
    }

    async fn submit(&self, task: Task, done: Done) {
        if let Err(refused) = self.entries.send(Entry { task, done }).await {
            (refused.0.done)(Err(JournalError::Failed("it was closed".to_owned())));
        }
    }
}

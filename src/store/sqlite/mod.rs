//! One SQLite file: every write goes through one thread that commits many jobs with one sync; reads run beside it.
//!
//! Knows files, connections, transactions and durability. It may not know what the tables hold.

mod batch;
mod open;
mod readers;
mod wal;
mod writer;

use super::StoreError;
use super::migrations::{MIGRATIONS, Migration};
use readers::Readers;
use rusqlite::Connection;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use writer::Writer;

/// The database inside a data directory.
pub const DATABASE_FILE: &str = "meshagent.db";
/// Held locked by the server that uses the directory; holds its process id.
pub const LOCK_FILE: &str = "meshagent.lock";

/// What kind of database a file is.
#[derive(Clone)]
pub struct Setup {
    /// Name of the file in its directory.
    pub file: &'static str,
    /// Schema, step by step; only the statements for SQLite are used. A released step is never edited.
    pub migrations: &'static [Migration],
    /// Most memory for cached pages of the writer, KiB.
    pub writer_cache_kib: i64,
    /// Most memory for cached pages of each of the few readers, KiB.
    pub reader_cache_kib: i64,
    /// Prepares every new connection: functions, hooks.
    pub connected: Connected,
}

/// What is done to every new connection.
pub type Connected = Arc<dyn Fn(&mut Connection) -> rusqlite::Result<()> + Send + Sync>;

impl Setup {
    /// The database of a server.
    fn server() -> Self {
        Self {
            file: DATABASE_FILE,
            migrations: MIGRATIONS,
            writer_cache_kib: 32 * 1024,
            reader_cache_kib: 4 * 1024,
            connected: Arc::new(|_| Ok(())),
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("file", &self.file).finish_non_exhaustive()
    }
}

/// An open database. Every store of the server shares one.
///
/// Dropping it lets the queued jobs finish in the background; [`Sqlite::close`] waits for them.
pub struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens, or makes, the database of a data directory and brings its schema up to date. Blocking.
    ///
    /// Refused when another server uses the directory, when a newer version wrote the database, and when the disk
    /// does not give what durability needs.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::open_as(data_dir, &Setup::server())
    }

    /// As [`Sqlite::open`], for a database of another kind in a directory of its own.
    pub fn open_as(dir: &Path, setup: &Setup) -> Result<Self, StoreError> {
        let opened = open::open(dir, setup)?;
        let readers = Readers::new(opened.path.clone(), setup.clone());
        let path = opened.path.clone();
        Ok(Self { path, writer: Writer::start(opened)?, readers })
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a job on the writer thread, inside its own savepoint of a shared transaction, and answers when that
    /// transaction is on disk. A job that returns an error, or panics, leaves no trace; the others in the same
    /// transaction are not touched. Jobs run in the order in which they were queued.
    ///
    /// Dropping the future does not take back a queued job. The job must not begin, commit or roll back itself, and
    /// should be quick: all writers wait for it. Use `prepare_cached`.
    pub async fn write<R, E, F>(&self, job: F) -> Result<R, E>
    where
        F: FnOnce(&Connection) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.run(job, |_| ()).await
    }

    /// As [`Sqlite::write`]; `committed` runs on the writer thread once the result is on disk, before the answer and
    /// even when nobody waits for it any more. For waking those who follow.
    pub async fn write_then<R, E, F, C>(&self, job: F, committed: C) -> Result<R, E>
    where
        F: FnOnce(&Connection) -> Result<R, E> + Send + 'static,
        C: FnOnce(&R) + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.run(job, committed).await
    }

    /// Runs a job on a read-only connection; it sees everything that was answered before. Keep it short or paged:
    /// there are few connections, and an open read keeps the write-ahead log from being recycled.
    pub async fn read<R, E, F>(&self, job: F) -> Result<R, E>
    where
        F: FnOnce(&Connection) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.run(job).await
    }

    /// Finishes what is queued, closes the file and gives up the directory. Later jobs are refused.
    pub async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}

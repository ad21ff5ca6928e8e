//! Care of the write-ahead log: kept at a size, so that a commit overwrites blocks that the file already has (a sync
//! then need not record a new file size), and copied into the database between commits, never inside one.

use rusqlite::Connection;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Size the log is given at the start and kept at, bytes.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// Pages in the log at which it is given its size: what is used so little needs no care.
const PREPARE_PAGES: u64 = 128;
/// Copy into the database when this many pages (of 4 KiB) are in the log.
const CHECKPOINT_PAGES: u64 = 3_500;

pub(super) struct Wal {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicU64>,
    /// Try to copy when the log has grown to this.
    due_at: u64,
    /// Where it is, until it was given its size.
    unprepared: Option<PathBuf>,
}

impl Wal {
    /// Watches the connection's commits.
    pub(super) fn attach(connection: &mut Connection, database: &Path) -> Self {
        let pages = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.store(u64::from(pages.unsigned_abs()), Ordering::Relaxed);
            Ok(())
        };
        if let Err(error) = connection.wal_hook(Some(hook)) {
            tracing::warn!(%error, "the write-ahead log cannot be watched; it will grow until the next start");
        }
        Self { pages, due_at: CHECKPOINT_PAGES, unprepared: Some(wal_path(database)) }
    }

    /// Between two transactions: gives the log its size, and copies it into the database when it has grown enough.
    pub(super) fn tend(&mut self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages >= PREPARE_PAGES
            && let Some(path) = self.unprepared.take()
            && let Err(error) = preallocate(&path)
        {
            tracing::warn!(%error, "no room to prepare the write-ahead log; writes will be slower");
        }
        if pages < CHECKPOINT_PAGES {
            self.due_at = CHECKPOINT_PAGES;
        }
        if pages < self.due_at {
            return;
        }
        let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get::<_, i64>(2));
        match copied {
            // A reader held a part back: try again when as much has come in once more.
            Ok(copied) if copied.unsigned_abs() < pages => self.due_at = pages + CHECKPOINT_PAGES,
            Ok(_) => self.due_at = CHECKPOINT_PAGES,
            Err(error) => {
                tracing::warn!(%error, "copying the write-ahead log into the database failed; will be tried again");
                self.due_at = pages + CHECKPOINT_PAGES;
            }
        }
    }
}

fn wal_path(database: &Path) -> PathBuf {
    let mut name = OsString::from(database);
    name.push("-wal");
    PathBuf::from(name)
}

/// Fills the log's file with zeros behind what is in it. SQLite reads a log up to the first frame that does not fit
/// the checksums, so zeros are nothing to it.
fn preallocate(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut at = file.seek(SeekFrom::End(0))?;
    let zeros = vec![0_u8; 1024 * 1024];
    while at < KEPT_BYTES {
        let wanted = usize::try_from(KEPT_BYTES - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..wanted])?;
        at += wanted as u64;
    }
    file.sync_data()
}

//! A whole database as bytes: a consistent copy of this moment.

use super::error::SqliteError;
use super::names::{DatabaseAt, make_folder};
use super::{FOLDER, SqliteDatabases, blocking};
use bytes::Bytes;
use rusqlite::Connection;
use rusqlite::backup::Backup as Copy;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest chunk, bytes; the clients refuse larger ones.
pub(super) const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Folder of copies that are under way.
pub(super) const STAGING: &str = "staging.tmp";

/// A file that goes when this is dropped.
#[derive(Debug)]
pub(super) struct Staged(pub PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a staged database file remains");
        }
    }
}

/// Counts and hashes what goes by.
#[derive(Default)]
pub(super) struct Sum {
    size: u64,
    hash: Sha256,
}

impl Sum {
    pub fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// Bytes, and the SHA-256 in lower case hexadecimal.
    pub fn finish(self) -> (u64, String) {
        (self.size, hex::encode(self.hash.finalize()))
    }
}

/// A copy that is being read.
pub struct Backup {
    file: Option<File>,
    sum: Sum,
    _staged: Staged,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("read", &self.sum.size).finish_non_exhaustive()
    }
}

impl SqliteDatabases {
    /// Copies a database; the copy is read block by block.
    pub async fn backup(&self, at: &DatabaseAt) -> Result<Backup, SqliteError> {
        let staged = self.stage(at);
        let path = staged.0.clone();
        self.run(at, move |handle| copy(handle.connection()?, &path)).await?;
        let path = staged.0.clone();
        let open =
            move || File::open(&path).map_err(|error| SqliteError::io("read the copy of", &path, &error));
        let file = blocking(open).await?;
        Ok(Backup { file: Some(file), sum: Sum::default(), _staged: staged })
    }

    /// A fresh file that nobody else writes.
    pub(super) fn stage(&self, at: &DatabaseAt) -> Staged {
        let name = self.ids.fresh().simple().to_string();
        Staged(self.volume.folder(at.room, FOLDER).join(STAGING).join(name))
    }
}

fn copy(from: &Connection, path: &Path) -> Result<(), SqliteError> {
    let ours = |error: rusqlite::Error| SqliteError::of(&error, "");
    make_folder(path)?;
    let mut to = Connection::open(path).map_err(ours)?;
    // All pages at once: writers go on beside it, and the copy is of one moment.
    Copy::new(from, &mut to).and_then(|copy| copy.step(-1).map(drop)).map_err(ours)?;
    // One file, with nothing beside it.
    to.pragma_update(None, "journal_mode", "DELETE").map_err(ours)
}

impl Backup {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SqliteError> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let (file, bytes) = blocking(move || {
            let mut bytes = Vec::with_capacity(CHUNK_BYTES_MAX);
            let read = (&mut file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut bytes);
            read.map_err(|error| {
                SqliteError::failed(format!("cannot read the copy of the database: {error}"))
            })?;
            Ok((file, bytes))
        })
        .await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.file = Some(file);
        self.sum.add(&bytes);
        Ok(Some(Bytes::from(bytes)))
    }

    /// Bytes and SHA-256 of what was read.
    #[must_use]
    pub fn finish(self) -> (u64, String) {
        let Self { sum, .. } = self;
        sum.finish()
    }
}

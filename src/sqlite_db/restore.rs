//! A whole database from bytes: kept aside, verified, and only then there, whole and durable.

use super::error::SqliteError;
use super::names::{self, DatabaseAt, make_folder, sync_folder};
use super::settings::Settings;
use super::transfer::{CHUNK_BYTES_MAX, Staged, Sum};
use super::{SqliteDatabases, blocking, open};
use crate::error_code::RoomCode;
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Largest database that is taken, bytes.
const SIZE_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// A database on its way in. Dropped before [`Restore::commit`], it leaves nothing behind.
pub struct Restore {
    at: DatabaseAt,
    path: PathBuf,
    file: Option<File>,
    size: u64,
    sum: Option<Sum>,
    staged: Staged,
}

impl std::fmt::Debug for Restore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore").field("at", &self.at).finish_non_exhaustive()
    }
}

impl SqliteDatabases {
    /// Begins a new database. A name that is taken is refused.
    pub async fn restore(&self, at: &DatabaseAt) -> Result<Restore, SqliteError> {
        let path = self.path(at)?;
        let staged = self.stage(at);
        let (name, target, place) = (at.name.clone(), path.clone(), staged.0.clone());
        let file = blocking(move || {
            if names::exists(&target) {
                return Err(SqliteError::exists(&name));
            }
            make_folder(&place)?;
            make_folder(&target)?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place);
            file.map_err(|error| SqliteError::io("make", &place, &error))
        })
        .await?;
        Ok(Restore { at: at.clone(), path, file: Some(file), size: 0, sum: Some(Sum::default()), staged })
    }

    /// Makes the database appear, when it is what the caller says it sent and is sound.
    pub async fn finish_restore(&self, restore: Restore, size: u64, sha256: &str) -> Result<(), SqliteError> {
        let Restore { at, path, file, sum, staged, .. } = restore;
        let (came, digest) = sum.map(Sum::finish).unwrap_or_default();
        if (came, digest.as_str()) != (size, sha256) {
            return Err(SqliteError::invalid(format!(
                "{came} bytes came with another size or SHA-256 than announced; nothing was stored, send it again"
            )));
        }
        let _alone = self.rooms.alone(&at, &path).await?;
        blocking(move || {
            drop(file);
            verify(&staged.0)?;
            place(&staged.0, &path, &at.name)
        })
        .await
    }
}

impl Restore {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), SqliteError> {
        if bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX {
            return Err(SqliteError::invalid(format!(
                "a chunk has {} bytes and must have 1 to {CHUNK_BYTES_MAX}; nothing was stored",
                bytes.len()
            )));
        }
        self.size += bytes.len() as u64;
        if self.size > SIZE_MAX {
            return Err(SqliteError::invalid(format!(
                "a database of more than {SIZE_MAX} bytes is not taken"
            )));
        }
        let (Some(mut file), Some(mut sum)) = (self.file.take(), self.sum.take()) else {
            return Err(SqliteError::failed("the upload was interrupted; begin it again"));
        };
        let path = self.staged.0.clone();
        let (file, sum) = blocking(move || {
            file.write_all(&bytes).map_err(|error| SqliteError::io("write", &path, &error))?;
            sum.add(&bytes);
            Ok((file, sum))
        })
        .await?;
        (self.file, self.sum) = (Some(file), Some(sum));
        Ok(())
    }
}

/// A file from outside is opened with as little trust as there is.
fn verify(path: &Path) -> Result<(), SqliteError> {
    let no = |what: String| SqliteError::invalid(format!("{what}; nothing was stored"));
    let unsound = |error: rusqlite::Error| no(format!("the file is no sound SQLite database: {error}"));
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(unsound)?;
    open::harden(&connection).map_err(unsound)?;
    let check: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(unsound)?;
    if check != "ok" {
        return Err(no(format!("the file is no sound SQLite database: {check}")));
    }
    let mut keys = connection.prepare("PRAGMA foreign_key_check").map_err(unsound)?;
    if keys.exists([]).map_err(unsound)? {
        return Err(no("rows of the database break its foreign keys".into()));
    }
    drop(keys);
    // No journal that would have to come along.
    connection.pragma_update(None, "journal_mode", "DELETE").map_err(unsound)?;
    connection.close().map_err(|(_, error)| unsound(error))
}

/// Gives the file its name without replacing anything, and makes that durable.
fn place(staged: &Path, path: &Path, name: &str) -> Result<(), SqliteError> {
    let io = |error: std::io::Error| SqliteError::io("store", path, &error);
    File::open(staged).and_then(|file| file.sync_all()).map_err(io)?;
    Settings::default().save(path)?;
    match fs::hard_link(staged, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(SqliteError::new(RoomCode::AlreadyExists, SqliteError::exists(name).text));
        }
        linked => linked.map_err(io)?,
    }
    sync_folder(path)
}

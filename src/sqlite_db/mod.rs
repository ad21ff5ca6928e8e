//! SQLite databases of rooms: files in the room's folder on the volume, run with the caller's grants.
//!
//! What a method has acknowledged is on disk where the database is `synchronous` (the default), or within its flush
//! interval where it is not. SQL of callers is held against their grants by SQLite's authorizer, column by column;
//! nothing here compares text. Every statement has a time limit, every result is bounded.
//!
//! Knows no wire, no tokens.

mod access;
mod batch;
mod decl;
mod error;
mod handles;
mod literal;
mod names;
mod open;
mod reader;
mod restore;
mod run;
mod settings;
mod tables;
mod transfer;
mod values;
mod writer;

pub use access::Grants;
pub use batch::{BatchResult, Command};
pub use error::SqliteError;
pub use names::DatabaseAt;
pub use reader::SqlRows;
pub use restore::Restore;
pub use settings::{Replication, Settings, SettingsChange};
pub use tables::{Search, Wanted};
pub use transfer::Backup;
pub use writer::RowWriter;

use crate::clock::{Clock, IdSource};
use crate::id::RoomId;
use crate::volume::Volume;
use handles::Rooms;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Kind of the folder on the volume.
const FOLDER: &str = "databases";

/// What to do where a database or a table exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Refuse.
    #[default]
    Create,
    /// Replace it.
    Overwrite,
    /// Leave it alone.
    CreateIfNotExists,
}

/// Size of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Details {
    pub tables: u64,
    pub size_bytes: u64,
}

/// What a statement gave.
#[derive(Debug)]
pub enum Outcome {
    Rows(SqlRows),
    Affected(u64),
}

/// What a caller expects of a statement; anything else is refused before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Rows,
    Statement,
}

/// The databases of all rooms.
pub struct SqliteDatabases {
    volume: Volume,
    rooms: Rooms,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for SqliteDatabases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteDatabases").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl SqliteDatabases {
    pub fn new(volume: Volume, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { volume, rooms: Rooms::new(clock), ids }
    }

    /// Names in order.
    pub async fn list(&self, room: RoomId, namespace: &[String]) -> Result<Vec<String>, SqliteError> {
        let folder = names::folder(&self.root(room), namespace)?;
        blocking(move || names::list(&folder)).await
    }

    /// Makes a database.
    pub async fn create(
        &self,
        at: &DatabaseAt,
        mode: Mode,
        change: SettingsChange,
    ) -> Result<(), SqliteError> {
        let path = self.path(at)?;
        let settings = change.on(Settings::default())?;
        let _alone = self.rooms.alone(at, &path).await?;
        let name = at.name.clone();
        blocking(move || {
            match (names::exists(&path), mode) {
                (true, Mode::Create) => return Err(SqliteError::exists(&name)),
                (true, Mode::CreateIfNotExists) => return Ok(()),
                (true, Mode::Overwrite) => names::remove(&path)?,
                (false, _) => {}
            }
            settings.save(&path)?;
            open::create(&path, settings)
        })
        .await
    }

    pub async fn settings(&self, at: &DatabaseAt) -> Result<Settings, SqliteError> {
        let path = self.found(at).await?;
        blocking(move || Settings::load(&path)).await
    }

    pub async fn change_settings(
        &self,
        at: &DatabaseAt,
        change: SettingsChange,
    ) -> Result<Settings, SqliteError> {
        let path = self.found(at).await?;
        // Connections that are open keep the old settings, so none may be.
        let _alone = self.rooms.alone(at, &path).await?;
        blocking(move || {
            let settings = change.on(Settings::load(&path)?)?;
            settings.save(&path)?;
            Ok(settings)
        })
        .await
    }

    /// Writes everything to the disk.
    pub async fn flush(&self, at: &DatabaseAt) -> Result<(), SqliteError> {
        self.run(at, handles::Handle::flush).await
    }

    /// Deletes a database; what runs in it is cancelled.
    pub async fn drop_database(&self, at: &DatabaseAt, ignore_missing: bool) -> Result<(), SqliteError> {
        let path = self.path(at)?;
        let name = at.name.clone();
        let _alone = self.rooms.alone(at, &path).await?;
        blocking(move || match names::exists(&path) {
            true => names::remove(&path),
            false if ignore_missing => Ok(()),
            false => Err(SqliteError::no_database(&name)),
        })
        .await
    }

    pub async fn inspect(&self, at: &DatabaseAt) -> Result<Details, SqliteError> {
        self.run(at, |handle| {
            let sql = "SELECT count(*), (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) \
                       FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
            let details = handle.connection()?.query_row(sql, [], |row| {
                Ok(Details {
                    tables: row.get::<_, i64>(0)?.unsigned_abs(),
                    size_bytes: row.get::<_, i64>(1)?.unsigned_abs(),
                })
            });
            details.map_err(|error| SqliteError::of(&error, ""))
        })
        .await
    }

    /// Lets go of what is open for a room whose session ended here; what runs is cancelled.
    pub async fn close_room(&self, room: RoomId) {
        self.rooms.close(room).await;
    }

    /// Removes all databases of a deleted room.
    pub async fn delete_room(&self, room: RoomId) -> Result<(), SqliteError> {
        self.rooms.close(room).await;
        let root = self.root(room);
        blocking(move || match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SqliteError::io("delete", &root, &error))
            }
            _ => Ok(()),
        })
        .await
    }

    fn root(&self, room: RoomId) -> PathBuf {
        self.volume.folder(room, FOLDER)
    }

    fn path(&self, at: &DatabaseAt) -> Result<PathBuf, SqliteError> {
        names::file(&self.root(at.room), at)
    }

    async fn found(&self, at: &DatabaseAt) -> Result<PathBuf, SqliteError> {
        let path = self.path(at)?;
        let name = at.name.clone();
        blocking(move || if names::exists(&path) { Ok(path) } else { Err(SqliteError::no_database(&name)) })
            .await
    }

    /// Runs `work` on a connection of its own; dropped, it is interrupted.
    async fn run<T: Send + 'static>(
        &self,
        at: &DatabaseAt,
        work: impl FnOnce(&mut handles::Handle) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let handle = self.handle(at).await?;
        handles::work(handle, work).await.1
    }

    async fn handle(&self, at: &DatabaseAt) -> Result<handles::Handle, SqliteError> {
        let path = self.found(at).await?;
        self.rooms.handle(at, &path).await
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, SqliteError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(SqliteError::failed(format!("the work on the database stopped: {error}")))
    })
}

//! Connections: a few per database are kept open, a bounded number per room and per server is in use, and whoever
//! replaces or deletes a database waits until nobody has it open.

use super::error::SqliteError;
use super::names::DatabaseAt;
use super::settings::{Replication, Settings};
use super::{blocking, open};
use crate::clock::Clock;
use crate::error_code::RoomCode;
use crate::id::RoomId;
use rusqlite::Connection;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

/// Most connections in use by one room.
const HANDLES_PER_ROOM_MAX: usize = 32;
/// Most connections in use by all rooms of this server.
const HANDLES_MAX: usize = 256;
/// Connections that wait for the next statement, per database.
const IDLE_PER_DATABASE_MAX: usize = 2;
/// How long a caller waits for a connection, or to have a database alone.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long one statement, or one block of a result, may take.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(30);
/// Steps of SQLite's machine between looks at the clock.
const STEPS_PER_LOOK: i32 = 10_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One database that is, or was, open.
pub(super) struct Db {
    path: PathBuf,
    pub name: String,
    /// Read by who uses it, written by who replaces it.
    gate: Arc<RwLock<()>>,
    /// Cancelled to end what runs; renewed by who then has the database alone.
    closing: Mutex<CancellationToken>,
    idle: Mutex<Vec<Connection>>,
    /// Writers of this process stand in line here, not in SQLite's retries.
    write: Mutex<()>,
    flush_due: AtomicBool,
}

struct Room {
    databases: HashMap<PathBuf, Arc<Db>>,
    permits: Arc<Semaphore>,
}

pub(super) struct Rooms {
    rooms: Mutex<HashMap<RoomId, Room>>,
    permits: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl Rooms {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { rooms: Mutex::default(), permits: Arc::new(Semaphore::new(HANDLES_MAX)), clock }
    }

    fn database(&self, at: &DatabaseAt, path: &Path) -> (Arc<Db>, Arc<Semaphore>) {
        let mut rooms = lock(&self.rooms);
        let room = rooms.entry(at.room).or_insert_with(|| Room {
            databases: HashMap::new(),
            permits: Arc::new(Semaphore::new(HANDLES_PER_ROOM_MAX)),
        });
        let fresh = || {
            Arc::new(Db {
                path: path.to_path_buf(),
                name: at.name.clone(),
                gate: Arc::default(),
                closing: Mutex::default(),
                idle: Mutex::default(),
                write: Mutex::default(),
                flush_due: AtomicBool::new(false),
            })
        };
        let database = room.databases.entry(path.to_path_buf()).or_insert_with(fresh);
        (Arc::clone(database), Arc::clone(&room.permits))
    }

    /// A connection for one piece of work.
    pub async fn handle(&self, at: &DatabaseAt, path: &Path) -> Result<Handle, SqliteError> {
        let (db, room) = self.database(at, path);
        let got = tokio::time::timeout(WAIT_MAX, async {
            let room = room.acquire_owned().await;
            let server = Arc::clone(&self.permits).acquire_owned().await;
            (
                room.and_then(|room| server.map(|server| [room, server])),
                Arc::clone(&db.gate).read_owned().await,
            )
        });
        let Ok((Ok(permits), gate)) = got.await else {
            return Err(busy(&at.name));
        };
        let limit = Arc::new(Limit {
            stop: AtomicBool::new(false),
            deadline_ms: AtomicI64::new(0),
            closing: lock(&db.closing).clone(),
            clock: Arc::clone(&self.clock),
        });
        let name = at.name.clone();
        blocking(move || {
            if !super::names::exists(&db.path) {
                return Err(SqliteError::no_database(&name));
            }
            let settings = Settings::load(&db.path)?;
            let idle = lock(&db.idle).pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => open::open(&db.path, settings)?,
            };
            let watch = Arc::clone(&limit);
            connection
                .progress_handler(STEPS_PER_LOOK, Some(move || watch.is_over()))
                .map_err(|error| SqliteError::of(&error, ""))?;
            Ok(Handle {
                db,
                settings,
                connection: Some(connection),
                limit,
                gate: Some(gate),
                _permits: permits,
            })
        })
        .await
    }

    /// Ends what runs in a database and keeps everybody else out while the guard lives.
    pub async fn alone(
        &self,
        at: &DatabaseAt,
        path: &Path,
    ) -> Result<OwnedRwLockWriteGuard<()>, SqliteError> {
        let (db, _) = self.database(at, path);
        lock(&db.closing).cancel();
        let got = tokio::time::timeout(WAIT_MAX, Arc::clone(&db.gate).write_owned()).await;
        *lock(&db.closing) = CancellationToken::new();
        let guard = got.map_err(|_| busy(&at.name))?;
        let idle = std::mem::take(&mut *lock(&db.idle));
        blocking(move || {
            drop(idle);
            Ok(())
        })
        .await?;
        Ok(guard)
    }

    /// Ends what runs in a room and closes its connections.
    pub async fn close(&self, room: RoomId) {
        let Some(room) = lock(&self.rooms).remove(&room) else { return };
        for db in room.databases.into_values() {
            lock(&db.closing).cancel();
            if tokio::time::timeout(WAIT_MAX, Arc::clone(&db.gate).write_owned()).await.is_err() {
                tracing::warn!(database = %db.name, "a database of a closed room is still in use");
            }
            let closed = blocking(move || {
                lock(&db.idle).clear();
                Ok(())
            });
            if let Err(error) = closed.await {
                tracing::warn!(%error, "a database was not closed");
            }
        }
    }
}

fn busy(name: &str) -> SqliteError {
    let text =
        format!("database `{name}` is busy: too many statements run or wait; close open queries, try again");
    SqliteError::new(RoomCode::InvalidState, text)
}

/// When a statement has to stop.
pub(super) struct Limit {
    /// Whoever wanted the result is gone.
    stop: AtomicBool,
    /// Milliseconds since 1970; 0 is none.
    deadline_ms: AtomicI64,
    closing: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Limit {
    /// Begins the time of one statement, or of the next block of its rows.
    pub fn start(&self) {
        let length = i64::try_from(STATEMENT_TIME_MAX.as_millis()).unwrap_or(i64::MAX);
        self.deadline_ms.store(self.clock.now().timestamp_millis() + length, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn cut_off(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.closing.is_cancelled()
    }

    fn is_over(&self) -> bool {
        let deadline = self.deadline_ms.load(Ordering::Relaxed);
        self.cut_off() || (deadline > 0 && self.clock.now().timestamp_millis() > deadline)
    }

    /// Waits until the work is to end.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// What an interruption was.
    pub fn reason(&self) -> SqliteError {
        if self.cut_off() {
            return SqliteError::new(
                RoomCode::InvalidState,
                "the statement was cancelled: its database was closed, or its caller left",
            );
        }
        let seconds = STATEMENT_TIME_MAX.as_secs();
        SqliteError::new(
            RoomCode::Timeout,
            format!(
                "the statement took longer than {seconds} s and was stopped; add an index, or ask for less"
            ),
        )
    }
}

/// A connection in use.
pub(super) struct Handle {
    pub db: Arc<Db>,
    settings: Settings,
    /// Taken when dropped.
    connection: Option<Connection>,
    pub limit: Arc<Limit>,
    gate: Option<OwnedRwLockReadGuard<()>>,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Handle {
    /// The connection; the time of a statement begins.
    pub fn connection(&mut self) -> Result<&mut Connection, SqliteError> {
        self.limit.start();
        self.connection.as_mut().ok_or_else(|| SqliteError::failed("the connection is closed"))
    }

    /// Keeps other writers of this process out.
    pub fn writing<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        let db = Arc::clone(&self.db);
        let result = {
            let _line = lock(&db.write);
            self.connection().and_then(work)
        };
        self.written();
        result
    }

    /// Runs `work` in a transaction that is written or not at all.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        self.writing(|connection| {
            let ours = |error: rusqlite::Error| SqliteError::of(&error, "");
            connection.execute_batch("BEGIN IMMEDIATE").map_err(ours)?;
            let done = work(connection).and_then(|value| {
                connection.execute_batch("COMMIT").map_err(ours)?;
                Ok(value)
            });
            if done.is_err() && !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK").map_err(ours)?;
            }
            done
        })
    }

    /// Writes everything to the disk.
    pub fn flush(&mut self) -> Result<(), SqliteError> {
        let checkpoint = self.connection()?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        checkpoint.map_err(|error| SqliteError::of(&error, ""))?;
        // A reader may keep the checkpoint from ending; what is in the WAL is then made durable there.
        let sync = |path: PathBuf| match std::fs::File::open(&path).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SqliteError::io("sync", &path, &error))
            }
            _ => Ok(()),
        };
        sync(super::names::beside(&self.db.path, "-wal"))?;
        sync(self.db.path.clone())
    }

    /// After a write to a database that is written out later: sees to it that it is.
    fn written(&self) {
        if self.settings.replication_mode == Replication::Synchronous
            || self.db.flush_due.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let (db, interval) = (Arc::clone(&self.db), self.settings.flush_interval());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(interval).await;
            db.flush_due.store(false, Ordering::Release);
            let name = db.name.clone();
            let synced = blocking(move || {
                let wal = super::names::beside(&db.path, "-wal");
                match std::fs::File::open(&wal).and_then(|file| file.sync_all()) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(SqliteError::io("sync", &wal, &error))
                    }
                    _ => Ok(()),
                }
            });
            if let Err(error) = synced.await {
                tracing::warn!(database = %name, %error, "a database could not be written out");
            }
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let clean = connection.is_autocommit()
                && connection.progress_handler(0, None::<fn() -> bool>).is_ok()
                && connection
                    .authorizer(
                        None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
                    )
                    .is_ok();
            let mut idle = lock(&self.db.idle);
            if clean && idle.len() < IDLE_PER_DATABASE_MAX && !self.limit.closing.is_cancelled() {
                idle.push(connection);
            } else {
                drop(idle);
                drop(connection);
            }
        }
        // Not before the connection is closed.
        self.gate.take();
    }
}

/// Runs `work` off the async threads; when the caller goes away the statement is interrupted.
pub(super) async fn work<T: Send + 'static>(
    handle: Handle,
    work: impl FnOnce(&mut Handle) -> Result<T, SqliteError> + Send + 'static,
) -> (Option<Handle>, Result<T, SqliteError>) {
    let stop = StopOnDrop(Some(Arc::clone(&handle.limit)));
    let done = tokio::task::spawn_blocking(move || {
        let mut handle = handle;
        let result = work(&mut handle);
        (handle, result)
    });
    let (handle, result) = match done.await {
        Ok((handle, result)) => (Some(handle), result),
        Err(error) => (None, Err(SqliteError::failed(format!("the work on the database stopped: {error}")))),
    };
    stop.done();
    let result = result.map_err(|error| match (&handle, error.code) {
        (Some(handle), RoomCode::Timeout) => handle.limit.reason(),
        _ => error,
    });
    (handle, result)
}

struct StopOnDrop(Option<Arc<Limit>>);

impl StopOnDrop {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(limit) = &self.0 {
            limit.stop();
        }
    }
}

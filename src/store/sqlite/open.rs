//! Opening: the lock on the directory, the settings that durability needs, the schema.

use super::{LOCK_FILE, Setup};
use crate::store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for an outside tool that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A write-ahead log that a large write has made longer is cut to this when it begins anew, bytes.
const WAL_KEPT_BYTES: i64 = 64 * 1024 * 1024;
/// Prepared statements kept per connection.
const STATEMENTS_MAX: usize = 128;
/// `PRAGMA synchronous` as read back: 2 is FULL.
const SYNCHRONOUS_FULL: i64 = 2;

/// The writing connection, and the lock that goes with it.
pub(super) struct Opened {
    pub path: PathBuf,
    pub connection: Connection,
    pub lock: File,
}

pub(super) fn open(data_dir: &Path, setup: &Setup) -> Result<Opened, StoreError> {
    let path = data_dir.join(setup.file);
    let failed = |reason: String| StoreError::Open { place: path.display().to_string(), reason };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|e| failed(e.to_string()))?;
    let lock = lock(data_dir).map_err(|e| e.unwrap_or_else(&failed))?;
    // Made here so that only the owner can read it; SQLite gives its other files the same mode.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    file.map_err(|e| failed(e.to_string()))?;
    let at_open = |e: rusqlite::Error| match StoreError::from(e) {
        StoreError::Damaged { reason, .. } => {
            StoreError::Damaged { place: path.display().to_string(), reason }
        }
        StoreError::Full { .. } => StoreError::Full { place: path.display().to_string() },
        other => failed(other.to_string()),
    };
    let mut connection = Connection::open_with_flags(&path, flags()).map_err(at_open)?;
    configure(&mut connection, setup).map_err(at_open)?;
    assert_durable(&connection).map_err(at_open)?.map_err(failed)?;
    let found = schema_version(&connection).map_err(at_open)?;
    let known = i64::try_from(setup.migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { place: path.display().to_string(), found, known });
    }
    migrate(&mut connection, found, setup).map_err(at_open)?;
    Ok(Opened { path, connection, lock })
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path, setup: &Setup) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    prepare(&mut connection, setup)?;
    connection.pragma_update(None, "cache_size", -setup.reader_cache_kib)?;
    Ok(connection)
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Takes the directory for this process. `Err(Err(text))` is a failure of the file system.
fn lock(data_dir: &Path) -> Result<File, Result<StoreError, String>> {
    let path = data_dir.join(LOCK_FILE);
    let io = |e: std::io::Error| Err(e.to_string());
    let options =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = options.map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid);
            let pid = if read.is_ok() && !pid.trim().is_empty() {
                pid.trim().to_owned()
            } else {
                "unknown".to_owned()
            };
            return Err(Ok(StoreError::InUse { dir: data_dir.display().to_string(), pid }));
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    // The text is for people; the lock counts, so a full disk is no reason to stop here.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// For writer and readers.
fn prepare(connection: &mut Connection, setup: &Setup) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Plans depend on the statement alone; otherwise SQLite prepares again whenever a parameter changes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    (setup.connected)(connection)
}

fn configure(connection: &mut Connection, setup: &Setup) -> rusqlite::Result<()> {
    prepare(connection, setup)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -setup.writer_cache_kib)?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
}

/// Reads the settings back: an acknowledgement must mean that the data is on the disk.
fn assert_durable(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode == "wal" && synchronous == SYNCHRONOUS_FULL {
        return Ok(Ok(()));
    }
    Ok(Err(format!(
        "its file system does not give a durable write-ahead log (journal_mode={mode}, synchronous={synchronous}); \
         put the data directory on a local disk"
    )))
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection, found: i64, setup: &Setup) -> rusqlite::Result<()> {
    let done = usize::try_from(found).unwrap_or(0);
    if done >= setup.migrations.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for migration in setup.migrations.iter().skip(done) {
        transaction.execute_batch(migration.sqlite)?;
        tracing::info!(migration = migration.name, "database schema brought up to date");
    }
    transaction.pragma_update(
        None,
        "user_version",
        i64::try_from(setup.migrations.len()).unwrap_or(i64::MAX),
    )?;
    transaction.commit()
}

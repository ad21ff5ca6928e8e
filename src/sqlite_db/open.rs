//! Opening a connection: what it may never do, whatever the SQL.

use super::names::make_folder;
use super::settings::Replication;
use super::{Settings, SqliteError};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How long a statement waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most memory for cached pages of one connection, KiB.
const CACHE_KIB: i64 = 4 * 1024;
/// Largest database, pages of 4 KiB: 64 GiB.
const PAGES_MAX: i64 = 16 * 1024 * 1024;
/// Largest text, blob or row, bytes.
const VALUE_BYTES_MAX: i32 = 64 * 1024 * 1024;
/// Longest statement, bytes; values of updates stand in it.
const SQL_BYTES_MAX: i32 = 16 * 1024 * 1024;
const EXPRESSION_DEPTH_MAX: i32 = 500;
const COLUMNS_MAX: i32 = 2_000;
/// The WAL is cut to this when it was checkpointed, bytes.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// Makes an empty database that is there for good when this returns.
pub(super) fn create(path: &Path, settings: Settings) -> Result<(), SqliteError> {
    make_folder(path)?;
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    file.map_err(|error| SqliteError::io("make", path, &error))?;
    let connection = open(path, settings)?;
    // Writes the first page.
    let made = connection.execute_batch("BEGIN IMMEDIATE; PRAGMA user_version = 0; COMMIT");
    made.map_err(|error| SqliteError::of(&error, ""))?;
    super::names::sync_folder(path)
}

pub(super) fn open(path: &Path, settings: Settings) -> Result<Connection, SqliteError> {
    // Not a URI, and not made where it is missing.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| SqliteError::of(&error, ""))?;
    configure(&connection, settings).map_err(|error| SqliteError::of(&error, ""))?;
    Ok(connection)
}

fn configure(connection: &Connection, settings: Settings) -> rusqlite::Result<()> {
    harden(connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match settings.replication_mode {
        Replication::Synchronous => "FULL",
        Replication::Asynchronous => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "max_page_count", PAGES_MAX)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(0);
    Ok(())
}

/// Takes away what SQL could do beyond the database; also for files that came from outside.
pub(super) fn harden(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_DEPTH_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_COLUMN, COLUMNS_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    Ok(())
}

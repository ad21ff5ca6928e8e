//! What goes wrong with a database. Each text says what happened, to which database, and what to do next.

use rusqlite::ErrorCode;

/// Why a database cannot be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(
        "data directory `{dir}` is in use by another server (process {pid}); \
         stop that one, or choose another with --data-dir"
    )]
    InUse { dir: String, pid: String },
    #[error(
        "database `{place}` was written by a newer version (schema {found}, this program knows {known}); \
         run that version, or restore a backup"
    )]
    Newer { place: String, found: i64, known: i64 },
    #[error("the disk under `{place}` is full; free some space and retry, no restart is needed")]
    Full { place: String },
    #[error("database `{place}` is damaged: {reason}; stop the server and run `meshagent log verify`")]
    Damaged { place: String, reason: String },
    #[error("cannot open database `{place}`: {reason}")]
    Open { place: String, reason: String },
    #[error(
        "the disk under `{place}` failed to store what was written: {reason}; check the disk, then restart the server"
    )]
    SyncFailed { place: String, reason: String },
    #[error("database `{place}` is not available: {reason}; retry")]
    Unavailable { place: String, reason: String },
    /// A statement that is wrong, or that broke a constraint nobody handled.
    #[error("database `{place}` refused a statement: {reason}; please report this as a defect")]
    Statement { place: String, reason: String },
}

/// What a statement's error says about the SQLite file, whose name no error carries.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let place = super::sqlite::DATABASE_FILE.to_owned();
        let reason = error.to_string();
        let Some(cause) = error.sqlite_error() else { return Self::Statement { place, reason } };
        match cause.code {
            ErrorCode::DiskFull => Self::Full { place },
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damaged { place, reason },
            ErrorCode::SystemIoFailure if is_sync(cause.extended_code) => Self::SyncFailed { place, reason },
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted => Self::Unavailable { place, reason },
            _ => Self::Statement { place, reason },
        }
    }
}

fn is_sync(extended_code: i32) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    extended_code == SQLITE_IOERR_FSYNC || extended_code == SQLITE_IOERR_DIR_FSYNC
}

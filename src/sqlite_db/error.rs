//! Why a database did not do what it was asked. Goes to the caller as it is.

use crate::columnar::ipc::IpcError;
use crate::columnar::typed::TypedError;
use crate::error_code::RoomCode;
use rusqlite::{Error, ErrorCode};
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SqliteError {
    pub code: RoomCode,
    pub text: String,
}

impl SqliteError {
    pub(super) fn new(code: RoomCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(RoomCode::InvalidRequest, text)
    }
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(RoomCode::OperationFailed, text)
    }
    pub(super) fn exists(name: &str) -> Self {
        let text = format!("database `{name}` exists; choose another name, or mode `overwrite`");
        Self::new(RoomCode::AlreadyExists, text)
    }
    pub(super) fn no_database(name: &str) -> Self {
        let text =
            format!("database `{name}` does not exist here; sqlite.list_databases shows those that do");
        Self::new(RoomCode::NotFound, text)
    }
    pub(super) fn no_table(name: &str) -> Self {
        let text = format!("table `{name}` does not exist here; sqlite.list_tables shows those that do");
        Self::new(RoomCode::NotFound, text)
    }
    /// The path stays in the server; callers see what was done to which file.
    pub(super) fn io(action: &str, path: &Path, error: &std::io::Error) -> Self {
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self::failed(format!("cannot {action} the database file {file}: {error}"))
    }

    /// An error of SQLite while it ran `sql`, which is empty where it was not the caller's.
    pub(super) fn of(error: &Error, sql: &str) -> Self {
        Self::within(error, sql, 0)
    }

    /// The same where the caller's `sql` stands `before` bytes into what ran.
    pub(super) fn within(error: &Error, sql: &str, before: usize) -> Self {
        match error {
            Error::SqlInputError { error, msg, offset, .. } => {
                let at = usize::try_from(*offset).ok().and_then(|at| at.checked_sub(before));
                let place = at.filter(|at| *at <= sql.len()).map_or_else(String::new, |at| place(sql, at));
                Self::new(code(error.code, msg), format!("SQL{place}: {msg}"))
            }
            Error::SqliteFailure(error, text) => {
                let text = text.clone().unwrap_or_else(|| error.to_string());
                Self::new(code(error.code, &text), format!("SQL: {text}"))
            }
            Error::MultipleStatement => {
                Self::invalid("SQL: several statements came; send one at a time, or sqlite.execute_sql_batch")
            }
            other => Self::invalid(format!("SQL: {other}")),
        }
    }
}

fn code(code: ErrorCode, text: &str) -> RoomCode {
    match code {
        ErrorCode::AuthorizationForStatementDenied | ErrorCode::PermissionDenied => {
            RoomCode::PermissionDenied
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ConstraintViolation => {
            RoomCode::Conflict
        }
        ErrorCode::OperationInterrupted => RoomCode::Timeout,
        ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly => RoomCode::OperationFailed,
        _ if text.starts_with("no such table") => RoomCode::NotFound,
        _ => RoomCode::InvalidRequest,
    }
}

/// `, line 2 column 5` of a byte offset; columns count characters from 1.
fn place(sql: &str, at: usize) -> String {
    let before = String::from_utf8_lossy(&sql.as_bytes()[..at]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(", line {line} column {column}")
}

impl From<TypedError> for SqliteError {
    fn from(error: TypedError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<IpcError> for SqliteError {
    fn from(error: IpcError) -> Self {
        Self::invalid(error.to_string())
    }
}

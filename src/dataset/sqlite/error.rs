//! What the database's errors are to a caller.

use crate::columnar::cell::CellError;
use crate::columnar::ipc::IpcError;
use crate::columnar::typed::TypedError;
use crate::dataset::DatasetError;
use crate::error_code::RoomCode;
use crate::store::StoreError;
use rusqlite::ErrorCode;

impl From<StoreError> for DatasetError {
    fn from(error: StoreError) -> Self {
        if let StoreError::InUse { .. } = error {
            tracing::warn!(%error, "datasets cannot be opened");
            return Self::new(
                RoomCode::InvalidState,
                "the room's datasets are in use by another server; retry when its session there has ended",
            );
        }
        Self::new(RoomCode::OperationFailed, error.to_string())
    }
}

impl From<rusqlite::Error> for DatasetError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error().map(|cause| cause.code) {
            Some(ErrorCode::OperationInterrupted) => Self::new(
                RoomCode::Timeout,
                "the query took too long and was ended; narrow its filter, or make an index",
            ),
            Some(ErrorCode::TooBig) => {
                Self::invalid("a value or a statement is larger than the store can hold; split it")
            }
            _ => StoreError::from(error).into(),
        }
    }
}

impl From<CellError> for DatasetError {
    fn from(error: CellError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<IpcError> for DatasetError {
    fn from(error: IpcError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<TypedError> for DatasetError {
    fn from(error: TypedError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// An error of a statement that a user's text is part of.
pub(super) fn of_query(error: rusqlite::Error) -> DatasetError {
    match &error {
        rusqlite::Error::SqliteFailure(cause, Some(text)) if cause.code == ErrorCode::Unknown => {
            DatasetError::invalid(format!("the query failed: {text}"))
        }
        _ => error.into(),
    }
}

/// What should not happen: the store's own data does not fit together.
pub(super) fn broken(what: impl std::fmt::Display) -> DatasetError {
    DatasetError::failed(format!("the dataset's own records do not fit together: {what}; please report this"))
}

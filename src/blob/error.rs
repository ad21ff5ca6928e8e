//! What can go wrong with files, and the room protocol's numbers for it.

use crate::error_code::RoomCode;

/// Why a file was not read, written, moved or deleted.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("`{path}` does not exist; list its folder to see what does")]
    NotFound { path: String },
    #[error("`{path}` is a folder that is not empty; pass recursive to delete all below it")]
    RecursiveRequired { path: String },
    #[error("`{path}` is not a usable path: {rule}")]
    InvalidPath { path: String, rule: &'static str },
    #[error("`{path}` exists already; choose another name, or pass overwrite where it is a file")]
    AlreadyExists { path: String },
    #[error(
        "the disk is full: `{path}` was not stored and what was there before is unchanged; free space on the server"
    )]
    DiskFull { path: String },
    #[error("the folder `{path}` holds more than {limit} entries; list its folders one by one")]
    TooMany { path: String, limit: usize },
    #[error("cannot use `{url}` for room files: {detail}")]
    Config { url: String, detail: String },
    #[error("cannot {action} `{path}`: {detail}")]
    Io { action: &'static str, path: String, detail: String },
}

impl BlobError {
    pub(super) fn invalid(path: &str, rule: &'static str) -> Self {
        Self::InvalidPath { path: path.to_owned(), rule }
    }

    /// The room protocol's number of this error.
    #[must_use]
    pub const fn code(&self) -> RoomCode {
        match self {
            Self::NotFound { .. } => RoomCode::StorageNotFound,
            Self::RecursiveRequired { .. } => RoomCode::StorageRecursiveRequired,
            Self::InvalidPath { .. } => RoomCode::StorageInvalidPath,
            Self::AlreadyExists { .. } => RoomCode::StorageAlreadyExists,
            Self::DiskFull { .. } | Self::TooMany { .. } | Self::Config { .. } | Self::Io { .. } => {
                RoomCode::OperationFailed
            }
        }
    }
}

//! What can go wrong with documents, and the room protocol's numbers for it.

use super::journal::JournalError;
use super::{DOCUMENT_BYTES_MAX, LOADED_MAX, OPENERS_MAX};
use crate::blob::BlobError;
use crate::error_code::RoomCode;
use crate::yjs::{SchemaError, TreeError, UpdateError};

/// Why a document was not made, opened, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("document `{path}` does not exist; open it with `create`, or list its folder to see what does")]
    NotFound { path: String },
    #[error("document `{path}` exists already; open it, or choose another path")]
    AlreadyExists { path: String },
    #[error(
        "document `{path}` has no schema: give one, or store it as `{place}` in room storage (MeshSchema JSON)"
    )]
    NoSchema { path: String, place: String },
    #[error("`{path}` is a file and no document; choose another path, or delete the file first")]
    NotADocument { path: String },
    #[error("the file `{path}` stands for a document whose content is not in this room; delete the file")]
    Elsewhere { path: String },
    #[error("document `{path}` was deleted or replaced while it was open")]
    Deleted { path: String },
    #[error("`{path}` is not a usable schema: {reason}")]
    SchemaFile { path: String, reason: String },
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("the update of document `{path}` was refused, and changed nothing: {error}")]
    Update { path: String, error: UpdateError },
    #[error("the state vector for document `{path}` cannot be read: {error}")]
    Vector { path: String, error: UpdateError },
    #[error(
        "document `{path}` would be larger than {DOCUMENT_BYTES_MAX} bytes; move a part of it to another"
    )]
    TooLarge { path: String },
    #[error("{LOADED_MAX} documents are open on this server; close some first")]
    TooManyDocuments,
    #[error("document `{path}` is open {OPENERS_MAX} times; close it somewhere first")]
    TooManyOpeners { path: String },
    #[error("document `{path}` cannot be used: {error}")]
    Journal { path: String, error: JournalError },
    #[error("document `{path}` had to be closed after an error; open it again")]
    Closed { path: String },
    #[error(transparent)]
    Files(#[from] BlobError),
}

impl DocumentError {
    /// The room protocol's number of this error.
    #[must_use]
    pub const fn code(&self) -> RoomCode {
        match self {
            Self::NotFound { .. } | Self::NoSchema { .. } | Self::Deleted { .. } => RoomCode::NotFound,
            Self::AlreadyExists { .. } => RoomCode::AlreadyExists,
            Self::NotADocument { .. } | Self::Elsewhere { .. } | Self::Closed { .. } => {
                RoomCode::InvalidState
            }
            Self::SchemaFile { .. }
            | Self::Schema(_)
            | Self::Tree(_)
            | Self::Update { .. }
            | Self::Vector { .. }
            | Self::TooLarge { .. } => RoomCode::InvalidRequest,
            Self::TooManyDocuments | Self::TooManyOpeners { .. } | Self::Journal { .. } => {
                RoomCode::OperationFailed
            }
            Self::Files(error) => error.code(),
        }
    }
}

//! Why a memory did not do what it was asked.

use super::cypher::{GraphFull, QueryError};
use crate::columnar::typed::TypedError;
use crate::dataset::DatasetError;
use crate::error_code::RoomCode;

/// Goes to the caller as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MemoryError {
    pub code: RoomCode,
    pub text: String,
}

impl MemoryError {
    pub fn new(code: RoomCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(RoomCode::InvalidRequest, text)
    }
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(RoomCode::OperationFailed, text)
    }
    /// The words before the name are what the platform's own tools look for.
    pub fn missing(name: &str) -> Self {
        Self::new(
            RoomCode::MemoryNotFound,
            format!(
                "memory does not exist: {name}; memory.create makes it, memory.list shows those there are"
            ),
        )
    }
    pub fn exists(name: &str) -> Self {
        Self::new(
            RoomCode::MemoryAlreadyExists,
            format!(
                "memory already exists: {name}; choose another name, or ask for it to be kept (ignore_exists) or overwritten (overwrite)"
            ),
        )
    }
}

impl From<DatasetError> for MemoryError {
    fn from(error: DatasetError) -> Self {
        Self::new(error.code, error.text)
    }
}

impl From<QueryError> for MemoryError {
    fn from(error: QueryError) -> Self {
        let code = match error {
            QueryError::Invalid { .. } => RoomCode::InvalidRequest,
            QueryError::TooMuch(_) | QueryError::Cancelled => RoomCode::OperationFailed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<GraphFull> for MemoryError {
    fn from(error: GraphFull) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<TypedError> for MemoryError {
    fn from(error: TypedError) -> Self {
        Self::invalid(error.to_string())
    }
}

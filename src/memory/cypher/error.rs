//! What is wrong with a query, and where.

/// A place in a statement. Two places are always equal, so that expressions compare by what they say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pos {
    pub line: u32,
    pub column: u32,
}

impl PartialEq for Pos {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Why a query gave no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The statement is not one, or asks for something that is not supported.
    #[error("line {line}, column {column}: {text}")]
    Invalid {
        /// From 1.
        line: u32,
        /// From 1, in characters.
        column: u32,
        text: String,
    },
    /// It went over a bound and was stopped.
    #[error("the query was stopped: {0}")]
    TooMuch(String),
    /// Nobody waits for it any more.
    #[error("the query was cancelled")]
    Cancelled,
}

pub(super) fn invalid(at: Pos, text: impl Into<String>) -> QueryError {
    QueryError::Invalid { line: at.line, column: at.column, text: text.into() }
}

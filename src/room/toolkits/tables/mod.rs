//! What the toolkits of tables share: streams of Arrow blocks in which the receiver asks for each, and open queries.
//!
//! Knows calls and Arrow; no stores, no grants.

pub mod cursors;
pub mod give;
pub mod take;

pub use cursors::Cursors;
pub use give::{Items, RowItems, Rows, give};
pub use take::{Block, Blocks};

use super::super::toolkit::ToolError;
use crate::columnar::ipc::IpcError;
use crate::columnar::typed::TypedError;

impl From<IpcError> for ToolError {
    fn from(error: IpcError) -> Self {
        match error {
            IpcError::Encode(_) => Self::failed(error.to_string()),
            _ => Self::invalid(error.to_string()),
        }
    }
}

impl From<TypedError> for ToolError {
    fn from(error: TypedError) -> Self {
        Self::invalid(error.to_string())
    }
}

//! Which documents each sync tool needs. Paths are read as those of room storage, where documents are too.

use super::{need, text, unknown};
use crate::domain::access::{self, Need, StoragePath};
use crate::error_code::RoomCode;
use crate::room::toolkit::ToolError;
use crate::spec::ApiScope;
use serde_json::{Map, Value};

pub(super) fn check(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    let path = path(text(fields, "path"))?;
    match tool {
        "create" => need(api, &Need::WriteDocument(path.as_str())),
        // Who may only read may open what exists; `can_write` decides about the rest.
        "open" | "describe" => need(api, &Need::ReadDocument(path.as_str())),
        _ => Err(unknown("sync", tool)),
    }
}

/// May the participant make and change this document?
pub fn can_write(api: &ApiScope, path: &str) -> Result<(), ToolError> {
    let path = self::path(path)?;
    need(api, &Need::WriteDocument(path.as_str()))
}

/// The same as a yes or no.
#[must_use]
pub fn is_writable(api: &ApiScope, path: &str) -> bool {
    StoragePath::parse(path).is_ok_and(|path| access::allows(api, &Need::WriteDocument(path.as_str())))
}

fn path(text: &str) -> Result<StoragePath, ToolError> {
    StoragePath::parse(text).map_err(|error| ToolError::new(RoomCode::StorageInvalidPath, error.to_string()))
}

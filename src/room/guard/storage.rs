//! Which file actions each storage tool needs. Paths are read as `domain::access` reads them; one that cannot be
//! read is an invalid path, whatever the grants.

use super::{either, need, text, unknown};
use crate::domain::access::{self, Need, StoragePath};
use crate::error_code::RoomCode;
use crate::room::toolkit::ToolError;
use crate::spec::ApiScope;
use crate::spec::grant::FileAction;
use serde_json::{Map, Value};

pub(super) fn check(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    if tool == "move" {
        // Whether the source is a folder is not known here, so the grants must cover what a folder would hold.
        let (from, to) = (path(text(fields, "source_path"))?, path(text(fields, "destination_path"))?);
        tree(api, FileAction::Read, &from)?;
        tree(api, FileAction::Delete, &from)?;
        return tree(api, FileAction::Write, &to);
    }
    let path = path(text(fields, "path"))?;
    match tool {
        "exists" | "stat" => {
            either(api, &Need::File { action: FileAction::Read, path: &path }, &Need::ListFolder(&path))
        }
        "list" => need(api, &Need::ListFolder(&path)),
        "delete" if fields.get("recursive").and_then(Value::as_bool) == Some(true) => {
            tree(api, FileAction::Delete, &path)
        }
        "delete" => file(api, FileAction::Delete, &path),
        "download" => file(api, FileAction::Read, &path),
        "upload" => file(api, FileAction::Write, &path),
        "download_url" => link(api, &path),
        _ => Err(unknown("storage", tool)),
    }
}

/// May the participant hear of changes to this path?
#[must_use]
pub fn can_read(api: &ApiScope, text: &str) -> bool {
    StoragePath::parse(text)
        .is_ok_and(|path| access::allows(api, &Need::File { action: FileAction::Read, path: &path }))
}

/// May the participant see this entry in a listing?
#[must_use]
pub fn can_list(api: &ApiScope, text: &str) -> bool {
    StoragePath::parse(text).is_ok_and(|path| access::allows(api, &Need::ListFolder(&path)))
}

/// A link is a read by whoever holds it. A policy says itself who may make links; the older grants by path, the only
/// ones that the npm SDK can write, have no word for it, and there the right to read is enough.
fn link(api: &ApiScope, path: &StoragePath) -> Result<(), ToolError> {
    let has_policy = api.storage.as_ref().is_some_and(|grant| grant.files.is_some());
    file(api, if has_policy { FileAction::Presign } else { FileAction::Read }, path)
}

fn file(api: &ApiScope, action: FileAction, path: &StoragePath) -> Result<(), ToolError> {
    need(api, &Need::File { action, path })
}

fn tree(api: &ApiScope, action: FileAction, path: &StoragePath) -> Result<(), ToolError> {
    need(api, &Need::FileTree { action, path })
}

fn path(text: &str) -> Result<StoragePath, ToolError> {
    StoragePath::parse(text).map_err(|error| ToolError::new(RoomCode::StorageInvalidPath, error.to_string()))
}

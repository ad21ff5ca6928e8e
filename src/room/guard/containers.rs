//! Which container rights each tool needs. What a container sees of the room's files counts as the caller seeing it:
//! mounting a folder needs the rights over all of it.

use super::{need, text, unknown};
use crate::domain::access::{self, Need, RegistryAction, StoragePath};
use crate::error_code::RoomCode;
use crate::room::toolkit::ToolError;
use crate::spec::ApiScope;
use crate::spec::grant::FileAction;
use serde_json::{Map, Value};

pub(super) fn check(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    if matches!(tool, "logs" | "get_build_logs") {
        return need(api, &Need::ReadContainerLogs);
    }
    need(api, &Need::UseContainers)?;
    match tool {
        "list_containers" | "list_images" | "inspect_image" | "delete_image" | "list_builds"
        | "cancel_build" | "delete_build" | "exec" | "stop_container" | "delete_container"
        | "wait_for_exit" => Ok(()),
        "run_service" => need(api, &Need::ListServices),
        "pull_image" => {
            let image = text(fields, "tag");
            need(api, &Need::PullImage(image))?;
            registry(api, RegistryAction::Pull, image)
        }
        "push_image" => registry(api, RegistryAction::Write, text(fields, "tag")),
        "load" => {
            let path = parse(text(fields, "archive_path"))?;
            need(api, &Need::File { action: FileAction::Read, path: &path })
        }
        "load_image" | "save_image" => {
            let mounts = fields.get("mounts").and_then(Value::as_array);
            mounts.into_iter().flatten().try_for_each(|mounts| room_mounts(api, mounts))
        }
        "build" => tags(fields).into_iter().try_for_each(|tag| registry(api, RegistryAction::Write, tag)),
        "run" => run(api, fields),
        _ => Err(unknown("containers", tool)),
    }
}

/// May the participant have this image fetched for a run?
#[must_use]
pub fn can_pull(api: &ApiScope, image: &str) -> bool {
    access::allows(api, &Need::PullImage(image)) && registry(api, RegistryAction::Pull, image).is_ok()
}

/// May the participant work inside containers that somebody else keeps private?
#[must_use]
pub fn is_admin(api: &ApiScope) -> bool {
    access::allows(api, &Need::Configure)
}

/// May the participant reach this port of a container?
pub fn tunnel(api: &ApiScope, port: u16) -> Result<(), ToolError> {
    need(api, &Need::Tunnel(port))
}

fn registry(api: &ApiScope, action: RegistryAction, image: &str) -> Result<(), ToolError> {
    need(api, &Need::Registry { action, repository: image })
}

fn run(api: &ApiScope, fields: &Map<String, Value>) -> Result<(), ToolError> {
    let image = text(fields, "image");
    need(api, &Need::RunImage(image))?;
    registry(api, RegistryAction::Run, image)?;
    if fields.get("mount_path").is_some_and(|path| !path.is_null()) {
        folder(api, text(fields, "mount_subpath"), false)?;
    }
    if text(fields, "template") == "agent" {
        folder(api, "", false)?;
    }
    let mounts = fields.get("mounts").unwrap_or(&Value::Null);
    for mount in mounts.get("images").and_then(Value::as_array).into_iter().flatten() {
        let image = mount.get("image").and_then(Value::as_str).unwrap_or_default();
        need(api, &Need::RunImage(image))?;
    }
    room_mounts(api, mounts)
}

/// The room folders that a mounts object names.
fn room_mounts(api: &ApiScope, mounts: &Value) -> Result<(), ToolError> {
    for mount in mounts.get("room").and_then(Value::as_array).into_iter().flatten() {
        let subpath = mount.get("subpath").and_then(Value::as_str).unwrap_or_default();
        let read_only = mount.get("read_only").and_then(Value::as_bool).unwrap_or(false);
        folder(api, subpath, read_only)?;
    }
    Ok(())
}

/// The rights over a folder and all below it that a mount of it gives.
fn folder(api: &ApiScope, path: &str, read_only: bool) -> Result<(), ToolError> {
    let path = parse(path)?;
    need(api, &Need::FileTree { action: FileAction::Read, path: &path })?;
    if read_only {
        return Ok(());
    }
    need(api, &Need::FileTree { action: FileAction::Write, path: &path })?;
    need(api, &Need::FileTree { action: FileAction::Delete, path: &path })
}

fn parse(path: &str) -> Result<StoragePath, ToolError> {
    StoragePath::parse(path).map_err(|error| ToolError::new(RoomCode::StorageInvalidPath, error.to_string()))
}

/// `tags`, or the single `tag` of older clients.
fn tags(fields: &Map<String, Value>) -> Vec<&str> {
    let many = fields.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    many.chain(fields.get("tag").and_then(Value::as_str)).collect()
}

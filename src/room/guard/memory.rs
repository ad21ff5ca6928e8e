//! Which permission of an entry each memory tool needs. What reads something else besides (a table, files) needs that
//! grant as well, or a memory would be a way around it.

use super::{need, text, unknown};
use crate::domain::access::{MemoryAction, Need, StoragePath, TableAction};
use crate::error_code::RoomCode;
use crate::room::toolkit::ToolError;
use crate::spec::ApiScope;
use crate::spec::grant::FileAction;
use serde_json::{Map, Value};

pub(super) fn check(api: &ApiScope, tool: &str, fields: &Map<String, Value>) -> Result<(), ToolError> {
    if tool == "list" {
        return need(api, &Need::ListMemories);
    }
    let namespace = segments(fields, "namespace")?;
    let entry =
        |action| need(api, &Need::Memory { namespace: &namespace, memory: text(fields, "name"), action });
    match tool {
        // Replacing one destroys what is there.
        "create" if fields.get("overwrite").and_then(Value::as_bool) == Some(true) => {
            entry(MemoryAction::Create)?;
            entry(MemoryAction::Drop)
        }
        "create" => entry(MemoryAction::Create),
        "drop" => entry(MemoryAction::Drop),
        "inspect" => entry(MemoryAction::Inspect),
        "query" => entry(MemoryAction::Query),
        "upsert_table"
        | "upsert_nodes"
        | "upsert_relationships"
        | "delete_entities"
        | "delete_relationships" => entry(MemoryAction::Upsert),
        "recall" => entry(MemoryAction::Recall),
        "optimize" => entry(MemoryAction::Optimize),
        "ingest_text" | "ingest_image" => entry(MemoryAction::Ingest),
        "ingest_file" => {
            entry(MemoryAction::Ingest)?;
            let inline = fields.get("text").is_some_and(Value::is_string);
            if inline { Ok(()) } else { file(api, text(fields, "path")) }
        }
        "ingest_from_storage" => {
            entry(MemoryAction::Ingest)?;
            let paths = fields.get("paths").and_then(Value::as_array);
            paths.into_iter().flatten().try_for_each(|path| file(api, path.as_str().unwrap_or_default()))
        }
        "ingest_from_table" => {
            entry(MemoryAction::Ingest)?;
            let namespace = segments(fields, "table_namespace")?;
            let table = text(fields, "table");
            need(api, &Need::Table { namespace: &namespace, table, action: TableAction::Read })
        }
        _ => Err(unknown("memory", tool)),
    }
}

fn file(api: &ApiScope, path: &str) -> Result<(), ToolError> {
    let path = StoragePath::parse(path)
        .map_err(|error| ToolError::new(RoomCode::StorageInvalidPath, error.to_string()))?;
    need(api, &Need::File { action: FileAction::Read, path: &path })
}

/// A namespace; null is the room's own. Anything else than texts is refused here, as the grant could not be found.
fn segments<'f>(fields: &'f Map<String, Value>, field: &str) -> Result<Vec<&'f str>, ToolError> {
    let wrong = || ToolError::invalid(format!("field `{field}`: a namespace is a list of texts or null"));
    match fields.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(segments)) => segments.iter().map(|s| s.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

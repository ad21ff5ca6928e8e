//! What `room.list_toolkits` shows of a server's tools, and what a result is in the room.

use crate::app::tools::ToolServer;
use crate::error_code::RoomCode;
use crate::wire::Content;
use rmcp::model::{CallToolResult, Tool};
use serde_json::{Map, Value, json};

/// Annotation of a toolkit: whether people are to be asked before a call, `always` or `never`.
const APPROVAL: &str = "meshagent.mcp.require_approval";

pub(super) fn of(server: &ToolServer, participant: &str, tools: &[Tool]) -> Map<String, Value> {
    let read_only =
        |tool: &Tool| tool.annotations.as_ref().and_then(|notes| notes.read_only_hint) == Some(true);
    let shown = tools.iter().filter(|tool| server.allows(&tool.name, read_only(tool)));
    let tools: Map<String, Value> = shown.map(|tool| (tool.name.to_string(), one(tool))).collect();
    let mut annotations = Map::new();
    if let Some(always) = server.approval {
        annotations.insert(APPROVAL.to_owned(), json!(if always { "always" } else { "never" }));
    }
    let listing = json!({
        "title": server.label,
        "description": server.description,
        "participant_id": participant,
        "annotations": annotations,
        "tools": tools,
    });
    match listing {
        Value::Object(listing) => listing,
        _ => Map::new(),
    }
}

fn one(tool: &Tool) -> Value {
    let schema = Value::Object(tool.input_schema.as_ref().clone());
    let mut output = json!({"types": ["json", "text", "empty"], "stream": false});
    if let Some(schema) = &tool.output_schema {
        output["schema"] = Value::Object(schema.as_ref().clone());
    }
    json!({
        "title": tool.title.clone().unwrap_or_else(|| tool.name.to_string()),
        "description": tool.description.as_deref().unwrap_or_default(),
        "input_spec": {"types": ["json"], "stream": false, "schema": schema},
        "output_spec": output,
    })
}

/// Structured results are JSON, texts are text, anything else is the whole result as JSON.
pub(super) fn content(result: &CallToolResult) -> Content {
    let texts: Option<Vec<&str>> =
        result.content.iter().map(|block| block.as_text().map(|text| text.text.as_str())).collect();
    if result.is_error == Some(true) {
        let said = texts.unwrap_or_default().join("\n");
        let text = if said.is_empty() { "the tool failed and does not say why".to_owned() } else { said };
        return Content::error(RoomCode::OperationFailed, text);
    }
    if let Some(value) = &result.structured_content {
        return Content::Json(value.clone());
    }
    match texts {
        Some(texts) if texts.is_empty() => Content::Empty,
        Some(texts) => Content::Text(texts.join("\n")),
        None => Content::Json(serde_json::to_value(result).unwrap_or_default()),
    }
}

//! Toolkits of a room, offered to clients of the protocol: as the room lists them at the moment, called as this
//! participant.

use super::offer::Offer;
use super::{CallToolResult, Tool};
use crate::client::room::{Answer, RoomClient, Target, ToolkitFilter, ToolkitInfo};
use crate::wire::Content;
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmcp::model::ContentBlock;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Items that a streamed result may have.
const ITEMS_MAX: usize = 1024;
/// Bytes that a result may have.
const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The toolkits of one room by name.
#[derive(Debug)]
pub struct RoomTools {
    room: RoomClient,
    toolkits: Vec<String>,
}

impl RoomTools {
    /// With one toolkit its tools keep their names; with several each is named `TOOLKIT__TOOL`.
    #[must_use]
    pub fn new(room: RoomClient, toolkits: Vec<String>) -> Self {
        Self { room, toolkits }
    }

    async fn listed(&self) -> Result<Vec<ToolkitInfo>, String> {
        let all = self.room.list_toolkits(&ToolkitFilter::default()).await.map_err(|e| e.to_string())?;
        let mut found = Vec::new();
        for name in &self.toolkits {
            let toolkit = all.iter().find(|toolkit| toolkit.name == *name);
            let missing = || format!("toolkit `{name}` is not in room `{}` now", self.room.room_name());
            found.push(toolkit.cloned().ok_or_else(missing)?);
        }
        Ok(found)
    }

    fn shown(&self, toolkit: &str, tool: &str) -> String {
        if self.toolkits.len() == 1 { tool.to_owned() } else { format!("{toolkit}__{tool}") }
    }
}

#[async_trait]
impl Offer for RoomTools {
    fn name(&self) -> String {
        format!("meshagent room {}", self.room.room_name())
    }

    async fn tools(&self) -> Result<Vec<Tool>, String> {
        let toolkits = self.listed().await?;
        let each = toolkits.iter().flat_map(|toolkit| toolkit.tools.iter().map(move |tool| (toolkit, tool)));
        Ok(each.map(|(toolkit, (name, info))| described(self.shown(&toolkit.name, name), info)).collect())
    }

    async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<CallToolResult, String> {
        for toolkit in self.listed().await? {
            let named = toolkit.tools.keys().find(|name| self.shown(&toolkit.name, name) == tool);
            let Some(named) = named else { continue };
            let target = Target {
                participant_id: toolkit.participant_id.clone(),
                ..Target::new(&toolkit.name, named)
            };
            return self.called(&target, arguments).await;
        }
        Err(format!("there is no tool `{tool}`; list the tools"))
    }
}

impl RoomTools {
    async fn called(&self, target: &Target, arguments: Map<String, Value>) -> Result<CallToolResult, String> {
        let arguments = Some(Content::Json(Value::Object(arguments)));
        let mut call = self.room.start(target, arguments).await.map_err(|error| error.to_string())?;
        let first = match call.answer().await.map_err(|error| error.to_string())? {
            Answer::Unary(content) => return result(content),
            Answer::Stream => call.next().await.map_err(|error| error.to_string())?,
        };
        let (mut blocks, mut next, mut bytes) = (Vec::new(), first, 0);
        while let Some(content) = next {
            let more = result(content)?;
            bytes += serde_json::to_string(&more.content).map_or(0, |text| text.len());
            blocks.extend(more.content);
            if blocks.len() > ITEMS_MAX || bytes > RESULT_BYTES_MAX {
                return Err("the tool answered with more than fits one result; ask for less".into());
            }
            next = call.next().await.map_err(|error| error.to_string())?;
        }
        Ok(CallToolResult::success(blocks))
    }
}

/// A tool as the room lists it, under another name.
fn described(name: String, info: &Value) -> Tool {
    let text = |key: &str| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let schema = info.pointer("/input_spec/schema").or_else(|| info.get("input_schema"));
    let mut schema = schema.and_then(Value::as_object).cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| json!("object"));
    if let Some(definitions) = info.get("defs").filter(|defs| defs.is_object()) {
        schema.entry("$defs").or_insert_with(|| definitions.clone());
    }
    let tool = Tool::new(name, text("description"), Arc::new(schema));
    match text("title") {
        title if title.is_empty() => tool,
        title => tool.with_title(title),
    }
}

/// A content of the room as a result. Error: it is one, or nothing that the protocol has.
fn result(content: Content) -> Result<CallToolResult, String> {
    let one = |block| Ok(CallToolResult::success(vec![block]));
    match content {
        Content::Empty => Ok(CallToolResult::success(Vec::new())),
        Content::Text(text) => one(ContentBlock::text(text)),
        Content::Json(Value::String(text)) => one(ContentBlock::text(text)),
        Content::Json(value) => one(ContentBlock::text(value.to_string())),
        Content::Link { name, url } => one(ContentBlock::text(format!("[{name}]({url})"))),
        Content::File { name, mime_type, data } => one(file(&name, mime_type, &data)),
        Content::Error { text, .. } => Err(text),
        Content::Binary { .. } | Content::Control(_) | Content::Raw(_) => {
            Err("the tool answered with something that no MCP client can read".into())
        }
    }
}

fn file(name: &str, mime_type: String, data: &[u8]) -> ContentBlock {
    match std::str::from_utf8(data) {
        Ok(text) if !mime_type.starts_with("image/") => ContentBlock::text(text),
        _ => {
            let data = BASE64_STANDARD.encode(data);
            if mime_type.starts_with("image/") {
                return ContentBlock::image(data, mime_type);
            }
            if mime_type.starts_with("audio/") {
                return ContentBlock::audio(data, mime_type);
            }
            let uri = format!("room:///{name}");
            let blob = rmcp::model::ResourceContents::blob(data, uri).with_mime_type(mime_type);
            ContentBlock::resource(blob)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn shown(content: Content) -> Result<Value, String> {
        result(content).map(|result| serde_json::to_value(result.content).unwrap())
    }

    #[test]
    fn contents_become_results() {
        let file = |mime_type: &str, data: &'static [u8]| Content::File {
            name: "a".into(),
            mime_type: mime_type.into(),
            data: Bytes::from_static(data),
        };
        assert_eq!(shown(Content::Empty).unwrap(), json!([]));
        assert_eq!(shown(Content::Text("t".into())).unwrap(), json!([{"type": "text", "text": "t"}]));
        assert_eq!(
            shown(Content::Json(json!({"n": 1}))).unwrap(),
            json!([{"type": "text", "text": r#"{"n":1}"#}])
        );
        assert_eq!(shown(file("text/plain", b"hi")).unwrap(), json!([{"type": "text", "text": "hi"}]));
        let image = shown(file("image/png", b"hi")).unwrap();
        assert_eq!((&image[0]["type"], &image[0]["data"]), (&json!("image"), &json!("aGk=")));
        let blob = shown(file("application/zip", b"\xff\xfe")).unwrap();
        assert_eq!(blob[0]["resource"]["mimeType"], "application/zip");
        assert_eq!(shown(Content::Error { text: "broke".into(), code: None }).unwrap_err(), "broke");
        assert!(shown(Content::Raw(Vec::new())).is_err());
    }

    #[test]
    fn a_tool_keeps_its_schema_and_gets_a_type_where_it_has_none() {
        let info = json!({"title": "Add", "description": "adds", "input_spec": {"schema": {"properties": {"a": {}}}}, "defs": {"x": {}}});
        let tool = serde_json::to_value(described("k__add".into(), &info)).unwrap();
        let schema = json!({"type": "object", "properties": {"a": {}}, "$defs": {"x": {}}});
        assert_eq!(
            (&tool["name"], &tool["title"], &tool["inputSchema"]),
            (&json!("k__add"), &json!("Add"), &schema)
        );
        let bare = serde_json::to_value(described("t".into(), &json!({}))).unwrap();
        assert_eq!(bare["inputSchema"], json!({"type": "object"}));
    }
}

//! What the room offers: its own toolkits and those of participants.

use super::{RoomClient, RoomError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A toolkit in the room's list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolkitInfo {
    pub name: String,
    pub title: String,
    pub description: String,
    /// Who hosts it; `None` for the room's own.
    pub participant_id: Option<String>,
    pub annotations: Map<String, Value>,
    /// Tool name → the tool as the room describes it (`title`, `description`, `input_spec`, …).
    pub tools: BTreeMap<String, Value>,
}

/// Whose toolkits to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolkitFilter {
    pub participant_id: Option<String>,
    pub participant_name: Option<String>,
    /// Seconds that the room may wait for the named participant.
    pub timeout_s: Option<u64>,
}

impl RoomClient {
    /// The toolkits that `filter` admits, by name.
    pub async fn list_toolkits(&self, filter: &ToolkitFilter) -> Result<Vec<ToolkitInfo>, RoomError> {
        let mut header = Map::new();
        if let Some(id) = &filter.participant_id {
            header.insert("participant_id".into(), json!(id));
        }
        if let Some(name) = &filter.participant_name {
            header.insert("participant_name".into(), json!(name));
        }
        if let Some(timeout) = filter.timeout_s {
            header.insert("timeout".into(), json!(timeout));
        }
        let link = self.shared.link("room.list_toolkits").await?;
        let answer = link.request_json("room.list_toolkits", &Value::Object(header)).await?;
        let toolkits = answer.get("tools").and_then(Value::as_object);
        Ok(toolkits.map(|t| t.iter().map(|(name, t)| info(name, t)).collect()).unwrap_or_default())
    }

    /// Whether the room's own toolkit `toolkit` has `tool`.
    pub async fn offers(&self, toolkit: &str, tool: &str) -> Result<bool, RoomError> {
        let all = self.list_toolkits(&ToolkitFilter::default()).await?;
        Ok(all.iter().any(|t| t.name == toolkit && t.participant_id.is_none() && t.tools.contains_key(tool)))
    }
}

fn info(name: &str, toolkit: &Value) -> ToolkitInfo {
    let text = |key: &str| toolkit.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let map = |key: &str| toolkit.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    ToolkitInfo {
        name: name.to_owned(),
        title: text("title"),
        description: text("description"),
        participant_id: toolkit.get("participant_id").and_then(Value::as_str).map(str::to_owned),
        annotations: map("annotations"),
        tools: map("tools").into_iter().collect(),
    }
}

//! Toolkits of the room that `--require-toolkit` attaches: each tool becomes one of the agent's.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec};
use crate::client::room::{RoomClient, Target, ToolkitFilter};
use crate::wire::Content;
use serde_json::{Value, json};
use std::sync::Arc;

/// All tools of room toolkit `name`, as the room lists it now. Error: it is not there.
pub async fn attach(client: &RoomClient, name: &str) -> Result<Vec<Arc<dyn Tool>>, ToolError> {
    let all = client.list_toolkits(&ToolkitFilter::default()).await?;
    let Some(toolkit) = all.into_iter().find(|t| t.name == name) else {
        return Err(format!(
            "toolkit `{name}`, which this agent requires, is not in the room; start it first"
        )
        .into());
    };
    let tool = |(tool, info): (String, Value)| {
        let target = Target { participant_id: toolkit.participant_id.clone(), ..Target::new(name, &tool) };
        let text = |key: &str| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let schema = info.pointer("/input_spec/schema").or_else(|| info.get("input_schema"));
        let spec = ToolSpec {
            toolkit: name.to_owned(),
            tool,
            description: text("description"),
            parameters: schema
                .filter(|s| s.is_object())
                .cloned()
                .unwrap_or_else(|| json!({"type": "object"})),
            strict: false,
            approval: false,
        };
        Arc::new(RoomTool { spec, target, client: client.clone() }) as Arc<dyn Tool>
    };
    Ok(toolkit.tools.into_iter().map(tool).collect())
}

struct RoomTool {
    spec: ToolSpec,
    target: Target,
    client: RoomClient,
}

#[async_trait::async_trait]
impl Tool for RoomTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, arguments: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let answer = self.client.invoke(&self.target, Content::Json(arguments)).await;
        match answer? {
            Content::Json(Value::String(text)) | Content::Text(text) => Ok(text.into()),
            Content::Json(value) => Ok(value.to_string().into()),
            Content::Empty => Ok(ToolOutput::default()),
            Content::Link { name, url } => Ok(format!("[{name}]({url})").into()),
            Content::File { name, mime_type, data } => match std::str::from_utf8(&data) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(format!("{name} is a binary file ({mime_type}) and cannot be shown").into()),
            },
            _ => Err("the tool answered with something that is no text".into()),
        }
    }
}

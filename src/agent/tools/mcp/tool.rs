//! One tool of a server.

use crate::agent::history::Part;
use crate::agent::tools::pins::{self, SharedPins};
use crate::agent::tools::{CallContext, Tool, ToolError, ToolOutput, ToolSpec};
use crate::client::mcp::{self, Server, shown};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the tools of one server in one turn share.
pub(super) struct Of {
    pub label: String,
    pub identity: String,
    pub connection: Arc<Server>,
    pub pins: SharedPins,
    pub call_max: Duration,
    /// Changes the server had told of when its tools were listed.
    pub seen: u64,
    /// Whether a person is asked first.
    pub approval: bool,
}

pub(super) struct McpTool {
    of: Of,
    spec: ToolSpec,
    digest: [u8; 32],
}

impl McpTool {
    pub fn new(of: Of, tool: &mcp::Tool, digest: [u8; 32]) -> Self {
        let parameters = Value::Object(tool.input_schema.as_ref().clone());
        let spec = ToolSpec {
            toolkit: of.label.clone(),
            tool: tool.name.to_string(),
            description: tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default().to_owned(),
            parameters: if parameters.get("type").is_some() { parameters } else { json!({"type": "object"}) },
            strict: false,
            approval: of.approval,
        };
        Self { of, spec, digest }
    }

    /// Whether the tool is still what the model, and who approved the call, was told that it is.
    async fn is_same(&self) -> Result<bool, ToolError> {
        if self.of.connection.changes() == self.of.seen {
            return Ok(true);
        }
        let now = self.of.connection.tools().await.map_err(|error| error.to_string())?;
        Ok(now.iter().any(|tool| tool.name == self.spec.tool && digest(tool) == self.digest))
    }
}

#[async_trait::async_trait]
impl Tool for McpTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, arguments: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let Value::Object(arguments) = arguments else {
            return Err("the arguments are no JSON object".into());
        };
        if !self.is_same().await? {
            let text = format!(
                "MCP server `{}` described this tool otherwise or withdrew it since the turn began, so it was not \
                 called; it is looked at again in the next turn",
                self.of.label
            );
            return Err(text.into());
        }
        // Another turn may have called it as it was described then.
        self.of.pins.admit(&self.of.identity, &self.spec.tool, self.digest, self.of.approval).await?;
        let result = self.of.connection.call(&self.spec.tool, arguments, self.of.call_max).await;
        let given = shown(&result.map_err(|error| error.to_string())?)?;
        let file = |(name, mime_type, data)| Part::File { name, mime_type, data };
        Ok(ToolOutput { text: given.text, files: given.files.into_iter().map(file).collect() })
    }
}

/// Tells two descriptions of a tool apart: name, title, texts, schemas, hints.
pub(super) fn digest(tool: &mcp::Tool) -> [u8; 32] {
    pins::digest(json!([
        tool.name,
        tool.title,
        tool.description,
        tool.input_schema,
        tool.output_schema,
        tool.annotations,
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> [u8; 32] {
        digest(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_digest_tells_of_every_change_and_of_no_order() {
        let tool = |description: &str, schema: &str| {
            let schema: Value = serde_json::from_str(schema).unwrap();
            of(json!({"name": "t", "description": description, "inputSchema": schema}))
        };
        let plain = tool("adds", r#"{"type":"object","properties":{"a":{},"b":{}}}"#);
        assert_eq!(plain, tool("adds", r#"{"properties":{"b":{},"a":{}},"type":"object"}"#));
        assert_ne!(
            plain,
            tool("adds, and sends your files", r#"{"type":"object","properties":{"a":{},"b":{}}}"#)
        );
        assert_ne!(plain, tool("adds", r#"{"type":"object","properties":{"a":{}}}"#));
    }
}

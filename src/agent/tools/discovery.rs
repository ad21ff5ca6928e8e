//! Toolkit `discovery`: what else the room has to offer.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, spec};
use crate::client::room::{RoomClient, ToolkitFilter};
use serde_json::{Value, json};
use std::sync::Arc;

/// The tool of `--discovery`.
pub fn discovery(client: &RoomClient) -> Arc<dyn Tool> {
    let spec = spec("discovery", "list_tools", "Lists the toolkits of the room and their tools.", json!({}));
    Arc::new(Discovery { spec, client: client.clone() })
}

struct Discovery {
    spec: ToolSpec,
    client: RoomClient,
}

#[async_trait::async_trait]
impl Tool for Discovery {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, _: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let toolkits = self.client.list_toolkits(&ToolkitFilter::default()).await?;
        let described =
            |info: &Value| info.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        let shown: Vec<_> = toolkits
            .iter()
            .map(|toolkit| {
                let tools: Vec<_> = toolkit
                    .tools
                    .iter()
                    .map(|(name, info)| json!({"name": name, "description": described(info)}))
                    .collect();
                json!({"name": toolkit.name, "tools": tools})
            })
            .collect();
        Ok(json!({"toolkits": shown}).to_string().into())
    }
}

//! Tool `chat.attach_file`: shows a file in the conversation.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::channel::Agent;
use crate::agent::message::{Body, ContentEdge, FileDelta, Message};
use crate::agent::path::room_path;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// How addresses begin that clients may follow.
const ADDRESSES: [&str; 3] = ["https://", "http://", "data:"];

struct AttachFile {
    spec: ToolSpec,
    agent: Agent,
}

/// The tool that the chat channel adds.
pub fn attach_file(agent: Agent) -> Arc<dyn Tool> {
    let path = json!({"type": "string", "description": "path of a file in the room, or an address"});
    let spec = spec(
        "chat",
        "attach_file",
        "Shows a file of the room, or an address, in this conversation.",
        json!({"path": path}),
    );
    Arc::new(AttachFile { spec, agent })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
}

#[async_trait::async_trait]
impl Tool for AttachFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, call: &CallContext) -> Result<ToolOutput, ToolError> {
        let Arguments { path } = arguments(given)?;
        let url = if ADDRESSES.iter().any(|scheme| path.starts_with(scheme)) {
            path
        } else {
            let path = room_path(&path).ok_or_else(|| format!("`{path}` is no path in the room"))?;
            if !self.agent.room().storage().exists(&path).await? {
                return Err(format!("attach_file could not find a room file at {path}").into());
            }
            format!("room:///{path}")
        };
        let engine = &self.agent.engine;
        let edge = ContentEdge {
            thread_id: call.thread.clone(),
            provider: None,
            model: None,
            turn_id: call.turn_id.clone(),
            item_id: engine.ids.fresh().to_string(),
            phase: None,
        };
        let bodies = [
            Body::FileStarted(edge.clone()),
            Body::FileDelta(FileDelta { edge: edge.clone(), url }),
            Body::FileEnded(edge),
        ];
        let message = |body| {
            let mut message = Message::new(engine.ids.fresh().to_string(), engine.clock.now(), body);
            message.sender_name = Some(self.agent.name().to_owned());
            message
        };
        if !self.agent.show(&call.thread, bodies.into_iter().map(message).collect()).await {
            return Err("the conversation takes nothing more now; try again later".into());
        }
        Ok("shown".into())
    }
}

//! The tool by which a turn begins a conversation by mail.

use super::post;
use crate::agent::channel::Agent;
use crate::agent::mail::reply::{Outgoing, named};
use crate::agent::tools::{CallContext, Tool, ToolError, ToolOutput, ToolSpec};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Files of one mail.
const ATTACHMENTS_MAX: usize = 20;
/// Bytes of one file.
const FILE_BYTES_MAX: usize = 20 * 1024 * 1024;

/// `new_email_thread`.
pub(super) struct NewThread {
    agent: Agent,
    address: String,
    spec: ToolSpec,
}

impl NewThread {
    pub fn new(agent: Agent, address: &str) -> Self {
        let text = |what: &str| json!({"type": "string", "description": what});
        let spec = ToolSpec {
            toolkit: "mail".into(),
            tool: "new_email_thread".into(),
            description: format!("Sends a new email from {address}. Answers to it continue this thread."),
            parameters: json!({
                "type": "object",
                "properties": {
                    "to": text("address of the recipient"),
                    "subject": text("subject"),
                    "body": text("text, Markdown"),
                    "attachments": {"type": "array", "items": {"type": "string"},
                        "description": "paths of files in the room's storage"},
                },
                "required": ["to", "subject", "body", "attachments"],
                "additionalProperties": false,
            }),
            strict: true,
            approval: false,
        };
        Self { agent, address: address.to_owned(), spec }
    }

    async fn files(&self, paths: &[String]) -> Result<Vec<(String, String, Vec<u8>)>, ToolError> {
        if paths.len() > ATTACHMENTS_MAX {
            return Err(ToolError::Told(format!("a mail has at most {ATTACHMENTS_MAX} attachments")));
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let path = path.trim_start_matches("room://").trim_start_matches('/');
            let read = self.agent.room().storage().read(path, FILE_BYTES_MAX).await;
            let (data, kind) = read.map_err(|error| {
                if error.is_lost() {
                    ToolError::Lost(error)
                } else {
                    ToolError::Told(format!("cannot attach {path}: {error}"))
                }
            })?;
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            files.push((name, kind, data.to_vec()));
        }
        Ok(files)
    }
}

#[derive(Deserialize)]
struct Arguments {
    to: String,
    subject: String,
    body: String,
    #[serde(default)]
    attachments: Vec<String>,
}

#[async_trait::async_trait]
impl Tool for NewThread {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, arguments: Value, call: &CallContext) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = serde_json::from_value(arguments)
            .map_err(|error| ToolError::Told(format!("the arguments do not fit: {error}")))?;
        let of_call = format!("{}/{}/{}", call.thread, call.turn_id, call.item_id);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, of_call.as_bytes()).to_string();
        let message = Outgoing {
            id: named(&id, &self.address),
            from: self.address.clone(),
            to: vec![arguments.to.trim().to_owned()],
            cc: Vec::new(),
            subject: arguments.subject,
            in_reply_to: None,
            references: None,
            correlation_id: None,
            body: arguments.body,
            attachments: self.files(&arguments.attachments).await?,
            date: self.agent.engine.clock.now().timestamp(),
        };
        post(&self.agent, &message, &call.thread)
            .await
            .map_err(|failure| ToolError::Told(failure.message))?;
        Ok("{}".into())
    }
}

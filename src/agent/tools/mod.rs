//! What a model may do: one trait, the kits that flags switch on, and the bounds on what a tool may say.

mod datetime;
mod room;
mod storage;
mod uuid;

pub use datetime::datetime;
pub use room::attach;
pub use storage::storage;
pub use uuid::uuid;

use super::history::ToolCall;
use super::turn::Failure;
use crate::client::room::RoomError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Lines of one tool's output that the model sees.
pub const OUTPUT_LINES_MAX: usize = 2000;
/// Bytes of one tool's output that the model sees.
pub const OUTPUT_BYTES_MAX: usize = 50 * 1024;

/// How long one tool call may take.
pub const TOOL_MAX: Duration = Duration::from_mins(10);

/// How a tool presents itself to the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    pub toolkit: String,
    pub tool: String,
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub parameters: Value,
    /// Whether the schema follows the strict rules (every property required, nothing else allowed).
    pub strict: bool,
}

/// Something the model may call. What it answers is text.
#[async_trait::async_trait]
pub trait Tool: Send + Sync {
    fn spec(&self) -> &ToolSpec;
    async fn run(&self, arguments: Value) -> Result<String, ToolError>;
}

/// Why a tool did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ToolError {
    /// Told to the model, which goes on.
    #[error("{0}")]
    Told(String),
    /// The connection went away under the call. Nobody knows whether it was done: the turn fails, and its job comes again.
    #[error(transparent)]
    Lost(RoomError),
}

impl From<String> for ToolError {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

impl From<&str> for ToolError {
    fn from(text: &str) -> Self {
        Self::Told(text.to_owned())
    }
}

impl From<RoomError> for ToolError {
    fn from(error: RoomError) -> Self {
        if error.is_lost() || error.is_final() { Self::Lost(error) } else { Self::Told(error.to_string()) }
    }
}

/// The failure of a turn whose connection went away.
pub fn lost(error: &RoomError) -> Failure {
    Failure { message: error.to_string(), code: "room_lost" }
}

/// The tools of one turn.
#[derive(Clone, Default)]
pub struct Tools(Vec<Arc<dyn Tool>>);

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.specs().map(|s| format!("{}.{}", s.toolkit, s.tool))).finish()
    }
}

impl Tools {
    pub fn extend(&mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) {
        self.0.extend(tools);
    }

    pub fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.0.iter().map(|tool| tool.spec())
    }

    fn find(&self, toolkit: &str, tool: &str) -> Option<&Arc<dyn Tool>> {
        let fits = |spec: &ToolSpec| spec.tool == tool && (toolkit.is_empty() || spec.toolkit == toolkit);
        self.0.iter().find(|candidate| fits(candidate.spec()))
    }

    /// Runs one call. Whatever goes wrong is the output, but for a lost connection. An empty toolkit name matches any.
    pub async fn run(&self, call: &ToolCall) -> Result<String, Failure> {
        Ok(clip(match self.try_run(call).await {
            Ok(text) if text.is_empty() => "ok".to_owned(),
            Ok(text) => text,
            Err(ToolError::Lost(error)) => return Err(lost(&error)),
            Err(ToolError::Told(error)) => {
                json!({"error": format!("unable to complete tool call: {error}")}).to_string()
            }
        }))
    }

    async fn try_run(&self, call: &ToolCall) -> Result<String, ToolError> {
        let Some(tool) = self.find(&call.toolkit, &call.tool) else {
            let known: Vec<_> = self.specs().map(|s| s.tool.as_str()).collect();
            return Err(ToolError::Told(match known.as_slice() {
                [] => format!("there is no tool `{}`; this agent has no tools", call.tool),
                known => format!("there is no tool `{}`; the tools are {}", call.tool, known.join(", ")),
            }));
        };
        let arguments = match call.arguments.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).map_err(|e| format!("the arguments are not JSON: {e}"))?,
        };
        match tokio::time::timeout(TOOL_MAX, tool.run(arguments)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(format!("tool `{}` did not answer within {} s", call.tool, TOOL_MAX.as_secs()).into())
            }
        }
    }
}

/// Cuts an output at its bounds and says so.
#[must_use]
pub fn clip(text: String) -> String {
    let line_end = text.match_indices('\n').nth(OUTPUT_LINES_MAX - 1).map_or(text.len(), |(at, _)| at);
    let mut end = line_end.min(OUTPUT_BYTES_MAX);
    if end >= text.len() {
        return text;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let left = text.len() - end;
    format!("{}\n[… {left} more bytes were cut off]", text.get(..end).unwrap_or_default())
}

/// Reads arguments into their type; the error names the field.
fn arguments<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("the arguments do not fit: {error}"))
}

/// A strict schema: `properties`, all required, nothing else.
fn object_schema(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().map(|p| p.keys().cloned().collect()).unwrap_or_default();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn spec(toolkit: &str, tool: &str, description: &str, properties: Value) -> ToolSpec {
    ToolSpec {
        toolkit: toolkit.to_owned(),
        tool: tool.to_owned(),
        description: description.to_owned(),
        parameters: object_schema(properties),
        strict: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cut_by_lines_and_bytes_on_a_character_boundary() {
        assert_eq!(clip("short".into()), "short");
        let lines = clip("x\n".repeat(OUTPUT_LINES_MAX + 5));
        assert_eq!(lines.lines().count(), OUTPUT_LINES_MAX + 1);
        assert!(lines.ends_with("[… 11 more bytes were cut off]"), "{}", &lines[lines.len() - 60..]);
        let bytes = clip("ä".repeat(OUTPUT_BYTES_MAX));
        assert!(bytes.len() < OUTPUT_BYTES_MAX + 100 && bytes.contains("cut off"));
    }

    #[tokio::test]
    async fn a_wrong_call_is_told_to_the_model() {
        let mut tools = Tools::default();
        let call = |tool: &str, arguments: &str| ToolCall {
            id: "1".into(),
            toolkit: String::new(),
            tool: tool.into(),
            arguments: arguments.into(),
        };
        assert!(tools.run(&call("x", "{}")).await.unwrap().contains("this agent has no tools"));
        tools.extend(uuid(Arc::new(crate::clock::System)));
        assert!(tools.run(&call("x", "{}")).await.unwrap().contains("the tools are uuid_v4"));
        assert!(tools.run(&call("uuid_v4", "{").clone()).await.unwrap().contains("are not JSON"));
        assert!(tools.run(&call("uuid_v4", r#"{"zap":1}"#)).await.unwrap().contains("do not fit"));
    }
}

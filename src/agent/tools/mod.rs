//! What a model may do: one trait, the kits that flags switch on, and the bounds on what a tool may say.

mod attach;
mod computer;
mod dataset;
mod datetime;
mod discovery;
mod documents;
mod files;
mod images;
pub mod mcp;
mod memories;
mod patch;
mod pins;
mod room;
mod scripts;
mod search;
pub mod shell;
mod storage;
mod thread;
mod uuid;
mod web_fetch;
mod web_search;

pub use attach::attach_file;
pub use computer::{CALL as COMPUTER_CALL, Computer, KIT as COMPUTER, asks as computer_asks};
pub use dataset::dataset;
pub use datetime::datetime;
pub use discovery::discovery;
pub use documents::Documents;
pub use files::{Files, apply_patch};
pub use images::Images;
pub use memories::memories;
pub use pins::SharedPins;
pub use room::{APPROVAL, Attached, attach};
pub use scripts::scripts;
pub use search::search;
pub use storage::storage;
pub use thread::thread;
pub use uuid::uuid;
pub use web_fetch::web_fetch;
pub use web_search::web_search;

use super::history::{Part, ToolCall};
use super::message::LogLine;
use super::provider::Said;
use super::turn::Failure;
use crate::client::room::RoomError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

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
    /// Whether a person must approve each call first.
    pub approval: bool,
}

/// For whom and where a tool is called. Dropping the call's future cancels it.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Path of the thread.
    pub thread: String,
    pub turn_id: String,
    pub item_id: String,
    /// Participant id of the one who began the turn, where it is a participant of the room.
    pub participant_id: Option<String>,
    pub sender_name: Option<String>,
    log: Option<mpsc::Sender<(String, Vec<LogLine>)>>,
    events: Option<mpsc::Sender<Said>>,
}

impl CallContext {
    #[must_use]
    pub fn new(thread: &str, turn_id: &str, item_id: &str) -> Self {
        let (thread, turn_id, item_id) = (thread.to_owned(), turn_id.to_owned(), item_id.to_owned());
        Self { thread, turn_id, item_id, participant_id: None, sender_name: None, log: None, events: None }
    }

    /// Lets [`CallContext::log`] show its lines in the thread.
    #[must_use]
    pub fn logged(mut self, to: mpsc::Sender<(String, Vec<LogLine>)>) -> Self {
        self.log = Some(to);
        self
    }

    /// Lets [`CallContext::tell`] record its events in the thread.
    #[must_use]
    pub fn recorded(mut self, to: mpsc::Sender<Said>) -> Self {
        self.events = Some(to);
        self
    }

    /// Records an event in the thread.
    pub async fn tell(&self, event: Map<String, Value>) {
        if let Some(events) = &self.events {
            // Nobody listens any more: the turn was stopped.
            let _ = events.send(Said::Notice(event)).await;
        }
    }

    /// Shows lines of a running call in the thread; `source` is `stdout` or `stderr`.
    pub async fn log(&self, source: &str, text: impl Into<String>) {
        if let Some(log) = &self.log {
            let line = LogLine { source: source.to_owned(), text: text.into() };
            // Nobody listens any more: the turn was stopped.
            let _ = log.send((self.item_id.clone(), vec![line])).await;
        }
    }
}

/// What a tool gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    /// What the model reads.
    pub text: String,
    /// Images and other files for the model, beside the text.
    pub files: Vec<Part>,
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self { text, files: Vec::new() }
    }
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Something the model may call: one file each. What goes wrong is told to the model.
#[async_trait::async_trait]
pub trait Tool: Send + Sync {
    fn spec(&self) -> &ToolSpec;
    async fn run(&self, arguments: Value, call: &CallContext) -> Result<ToolOutput, ToolError>;
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

    /// The names of the toolkits.
    #[must_use]
    pub fn toolkits(&self) -> BTreeSet<String> {
        self.specs().map(|spec| spec.toolkit.clone()).collect()
    }

    fn find(&self, toolkit: &str, tool: &str) -> Option<&Arc<dyn Tool>> {
        let fits = |spec: &ToolSpec| spec.tool == tool && (toolkit.is_empty() || spec.toolkit == toolkit);
        self.0.iter().find(|candidate| fits(candidate.spec()))
    }

    /// Whether a person must approve this call first.
    #[must_use]
    pub fn needs_approval(&self, call: &ToolCall) -> bool {
        self.find(&call.toolkit, &call.tool).is_some_and(|tool| tool.spec().approval)
    }

    /// Toolkit and tool that a call means; an empty toolkit name matches any.
    #[must_use]
    pub fn named(&self, call: &ToolCall) -> Option<(String, String)> {
        let spec = self.find(&call.toolkit, &call.tool)?.spec();
        Some((spec.toolkit.clone(), spec.tool.clone()))
    }

    /// Runs one call. Whatever goes wrong is the result, but for a lost connection. An empty toolkit name matches any.
    pub async fn run(&self, call: &ToolCall, context: &CallContext) -> Result<ToolResult, Failure> {
        match self.try_run(call, context).await {
            Ok(output) if output.text.is_empty() && output.files.is_empty() => {
                Ok(ToolResult::Done("ok".into()))
            }
            Ok(output) => Ok(ToolResult::Done(ToolOutput { text: clip(output.text), ..output })),
            Err(ToolError::Lost(error)) => Err(lost(&error)),
            Err(ToolError::Told(error)) => Ok(ToolResult::Failed(clip(error))),
        }
    }

    async fn try_run(&self, call: &ToolCall, context: &CallContext) -> Result<ToolOutput, ToolError> {
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
        match tokio::time::timeout(TOOL_MAX, tool.run(arguments, context)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(format!("tool `{}` did not answer within {} s", call.tool, TOOL_MAX.as_secs()).into())
            }
        }
    }
}

/// How a tool call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolResult {
    Done(ToolOutput),
    /// Told to the model and shown in the thread.
    Failed(String),
}

/// What the model is told of a call that failed.
#[must_use]
pub fn failed_text(error: &str) -> String {
    json!({"error": format!("unable to complete tool call: {error}")}).to_string()
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
        approval: false,
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
            item_id: "1".into(),
            toolkit: String::new(),
            tool: tool.into(),
            arguments: arguments.into(),
        };
        let context = CallContext::new("t", "u", "i");
        let run = async |tools: &Tools, call: &ToolCall| match tools.run(call, &context).await.unwrap() {
            ToolResult::Failed(error) => error,
            done @ ToolResult::Done(_) => panic!("{done:?}"),
        };
        assert!(run(&tools, &call("x", "{}")).await.contains("this agent has no tools"));
        tools.extend(uuid(Arc::new(crate::clock::System)));
        assert!(run(&tools, &call("x", "{}")).await.contains("the tools are uuid_v4"));
        assert!(run(&tools, &call("uuid_v4", "{")).await.contains("are not JSON"));
        assert!(run(&tools, &call("uuid_v4", r#"{"zap":1}"#)).await.contains("do not fit"));
    }
}

//! What an agent says to its clients.

use super::input::InputContent;
use super::parts::{Failed, ProviderInfo, ToolkitInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A thread as lists have it. Times are ISO 8601.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadEntry {
    pub path: String,
    pub name: String,
    #[serde(default)]
    pub created_at: String,
    #[serde(default)]
    pub modified_at: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadStarted {
    pub source_message_id: String,
    pub thread_id: String,
    #[serde(default)]
    pub realtime_connection: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadLoaded {
    pub thread_id: String,
    #[serde(default)]
    pub source_message_id: Option<String>,
    #[serde(default)]
    pub since_turn: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub source_message_id: String,
    #[serde(default)]
    pub threads: Vec<ThreadEntry>,
    #[serde(default)]
    pub total: usize,
    #[serde(default)]
    pub offset: usize,
    #[serde(default)]
    pub limit: usize,
}

/// `thread.created` and `thread.updated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadNotice {
    pub thread: ThreadEntry,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadDeleted {
    pub path: String,
}

/// What a thread is doing now. All null: nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub thread_id: String,
    pub status: Option<String>,
    /// `busy` or `steerable`.
    pub mode: Option<String>,
    pub started_at: Option<String>,
    pub turn_id: Option<String>,
    pub pending_item_id: Option<String>,
    /// Bytes of tool arguments so far.
    pub total_bytes: Option<u64>,
    pub lines_added: Option<u64>,
    pub lines_removed: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadEvent {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub event: Map<String, Value>,
}

/// `turn.start.accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub thread_id: String,
    #[serde(default)]
    pub turn_id: Option<String>,
    pub source_message_id: String,
    #[serde(default)]
    pub content: Vec<InputContent>,
}

/// `turn.steer.accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SteerAccepted {
    pub thread_id: String,
    pub turn_id: String,
    pub source_message_id: String,
    #[serde(default)]
    pub content: Vec<InputContent>,
}

/// `turn.start.rejected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    pub thread_id: String,
    pub source_message_id: String,
    pub error: Failed,
}

/// `turn.steer.rejected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SteerRejected {
    pub thread_id: String,
    pub turn_id: String,
    pub source_message_id: String,
    pub error: Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnEnded {
    pub thread_id: String,
    pub turn_id: String,
    #[serde(default)]
    pub error: Option<Failed>,
}

/// Beginning or end of a text, of reasoning or of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentEdge {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    /// Texts only: `commentary` or `final_answer`.
    #[serde(default)]
    pub phase: Option<String>,
}

/// More of a text or of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentDelta {
    #[serde(flatten)]
    pub edge: ContentEdge,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileDelta {
    #[serde(flatten)]
    pub edge: ContentEdge,
    pub url: String,
}

/// `tool_call.pending`, `.in_progress`, `.started` and `.approval_requested`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCallStage {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    #[serde(default = "own")]
    pub namespace: String,
    #[serde(default)]
    pub call_id: Option<String>,
    pub toolkit: String,
    pub tool: String,
    #[serde(default)]
    pub arguments: Option<Map<String, Value>>,
    #[serde(default)]
    pub argument_bytes: Option<u64>,
}

fn own() -> String {
    "meshagent".to_owned()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArgumentsDelta {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    #[serde(default = "own")]
    pub namespace: String,
    #[serde(default)]
    pub call_id: Option<String>,
    pub delta: String,
}

/// A line a tool wrote; `source` is `stdout` or `stderr`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub source: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogDelta {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    #[serde(default = "own")]
    pub namespace: String,
    #[serde(default)]
    pub call_id: Option<String>,
    pub lines: Vec<LogLine>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCallEnded {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    #[serde(default = "own")]
    pub namespace: String,
    #[serde(default)]
    pub call_id: Option<String>,
    #[serde(default)]
    pub toolkit: Option<String>,
    #[serde(default)]
    pub tool: Option<String>,
    /// The header of a room content.
    #[serde(default)]
    pub result: Option<Value>,
    #[serde(default)]
    pub error: Option<Failed>,
}

/// `client_tool_call.requested` and `.cancelled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientToolCall {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub request_id: String,
    pub toolkit: String,
    pub tool: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub target_participant_id: Option<String>,
}

/// `image_generation.*`: each kind has its own of the last fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageGeneration {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub turn_id: String,
    pub item_id: String,
    #[serde(default)]
    pub call_id: Option<String>,
    pub toolkit: String,
    pub tool: String,
    #[serde(default)]
    pub arguments: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failed>,
}

/// A context was shortened; `messages` stand for everything up to `through_sequence`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compacted {
    pub thread_id: String,
    /// Whose form `messages` have.
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    pub checkpoint_id: String,
    pub path: String,
    pub through_sequence: i64,
    #[serde(default)]
    pub messages: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContextWindow {
    pub used_tokens: u64,
    #[serde(default)]
    pub total_tokens: Option<u64>,
    #[serde(default)]
    pub compaction_mode: Option<String>,
    #[serde(default)]
    pub compaction_threshold: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageUpdated {
    pub thread_id: String,
    #[serde(default)]
    pub turn_id: Option<String>,
    /// `<model>.<metric>` → number.
    #[serde(default)]
    pub usage: Map<String, Value>,
    pub context_window: ContextWindow,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelChanged {
    pub thread_id: String,
    #[serde(default)]
    pub source_message_id: Option<String>,
    pub provider: String,
    #[serde(default)]
    pub backend: Option<String>,
    pub model: String,
    #[serde(default)]
    pub voice: Option<String>,
    #[serde(default)]
    pub input_format: Option<Value>,
    #[serde(default)]
    pub output_format: Option<Value>,
    #[serde(default)]
    pub turn_detection: Option<String>,
    #[serde(default)]
    pub output_modalities: Vec<String>,
    #[serde(default)]
    pub realtime_protocols: Vec<String>,
    #[serde(default)]
    pub supports_attachments: bool,
    #[serde(default)]
    pub accepts: Vec<String>,
}

/// `models.response`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Models {
    pub source_message_id: String,
    pub providers: Vec<ProviderInfo>,
}

/// `capabilities_response`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    pub thread_id: String,
    pub source_message_id: String,
    pub version: String,
    pub toolkits: Vec<ToolkitInfo>,
}

/// `thread.cleared`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    pub thread_id: String,
    pub source_message_id: String,
}

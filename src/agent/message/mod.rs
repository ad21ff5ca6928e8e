//! The messages that agents and their clients exchange (process agents §4): every type with its fields, as serde types.
//! Pure; knows no transport. A type this version does not know, or a message that lacks a field, does not parse.

mod audio;
mod body;
mod input;
mod output;
mod parts;

pub use audio::{
    AudioChunk, AudioCommit, AudioDelta, AudioEdge, AudioEnded, AudioFormat, InputSpeech, PCM, SAMPLE_RATE,
    Sound, Transcription,
};
pub use body::{Body, NoFields, OfItem, OfThread, OfTurn, OfTurnSource};
pub use input::{
    ClientToolResponse, Inject, InputContent, LlmAuthorization, ModelChange, OpenThread, Options,
    RenameThread, StartThread, Steer, ThreadPage, TurnStart,
};
pub use output::{
    Accepted, Answered, ArgumentsDelta, Capabilities, ClientToolCall, Compacted, ContentDelta, ContentEdge,
    ContextWindow, FileDelta, ImageGeneration, Listed, LogDelta, LogLine, ModelChanged, Models, Rejected,
    Status, SteerAccepted, SteerRejected, ThreadDeleted, ThreadEntry, ThreadEvent, ThreadLoaded,
    ThreadNotice, ThreadStarted, ToolCallEnded, ToolCallStage, TurnEnded, UsageUpdated,
};
pub use parts::{Failed, ModelInfo, ProviderInfo, ToolInfo, ToolkitInfo};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How the type of every message begins.
pub const PREFIX: &str = "meshagent.agent.";

/// A message: what all have, and what its type adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub message_id: String,
    /// ISO 8601, UTC, with `Z`.
    pub created_at: String,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    #[serde(default)]
    pub sender_name: Option<String>,
    #[serde(flatten)]
    pub body: Body,
}

/// Why a JSON value is no message.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    #[error("an agent message must be a JSON object with a `type`")]
    NoType,
    #[error("agent message `{kind}` is not valid: {reason}")]
    Invalid { kind: String, reason: String },
}

/// The time as messages have it.
#[must_use]
pub fn timestamp(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Key in the metadata of a `….ended`: what came of the item is void, the answer that it was part of begins anew.
pub const DISCARDED: &str = "discarded";
/// Key in the metadata of a `context.compacted`: its last message repeats what the running turn began with, in words only.
pub const REPEATS_INPUT: &str = "repeats_input";

impl Message {
    /// Whether it says that its item is void.
    #[must_use]
    pub fn is_discard(&self) -> bool {
        self.metadata.get(DISCARDED) == Some(&Value::Bool(true))
    }

    #[must_use]
    pub fn new(message_id: String, now: DateTime<Utc>, body: Body) -> Self {
        let created_at = timestamp(now);
        Self { message_id, created_at, metadata: Map::new(), sender_name: None, body }
    }

    /// Reads a message. What every message has is filled in where it is missing, with `fresh` as id.
    pub fn parse(
        value: &Value,
        fresh: impl FnOnce() -> String,
        now: DateTime<Utc>,
    ) -> Result<Self, InvalidMessage> {
        let fields = value.as_object().ok_or(InvalidMessage::NoType)?;
        let kind = fields.get("type").and_then(Value::as_str).ok_or(InvalidMessage::NoType)?.to_owned();
        let mut fields = fields.clone();
        let missing = |fields: &Map<String, Value>, name: &str| {
            fields.get(name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty())
        };
        if missing(&fields, "message_id") {
            fields.insert("message_id".into(), json!(fresh()));
        }
        if missing(&fields, "created_at") {
            fields.insert("created_at".into(), json!(timestamp(now)));
        }
        if fields.get("metadata").is_none_or(Value::is_null) {
            fields.remove("metadata");
        }
        serde_json::from_value(Value::Object(fields))
            .map_err(|error| InvalidMessage::Invalid { kind, reason: error.to_string() })
    }

    /// All fields, nulls included: the form of storage, replays and answers to one participant.
    #[must_use]
    pub fn full(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

/// The form of live messages: without nulls, `created_at` and empty `metadata`.
#[must_use]
pub fn live(full: &Map<String, Value>) -> Map<String, Value> {
    let kept = |(name, value): &(&String, &Value)| {
        let empty = *name == "metadata" && value.as_object().is_some_and(Map::is_empty);
        *name != "created_at" && !empty
    };
    let all = full.iter().filter(kept).filter(|(_, value)| !value.is_null());
    all.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Result<Message, InvalidMessage> {
        Message::parse(&value, || "fresh".into(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_message_reads_and_writes_with_all_its_fields() {
        let given = json!({"type": "meshagent.agent.turn.start", "thread_id": "t", "content": [
            {"type": "text", "text": "hi"}, {"type": "file", "url": "room:///a"}], "extra": 1});
        let message = parse(given).unwrap();
        let Body::TurnStart(start) = &message.body else { panic!("{message:?}") };
        assert_eq!((start.thread_id.as_str(), start.content.len()), ("t", 2));
        let full = message.full();
        assert_eq!(full["type"], "meshagent.agent.turn.start");
        assert_eq!(
            (&full["message_id"], &full["created_at"]),
            (&json!("fresh"), &json!("1970-01-01T00:00:00.000000Z"))
        );
        assert!(full["llm_authorization"].is_null() && full.contains_key("tool_choice"));
        let live = live(&full);
        assert_eq!(
            live.keys().map(String::as_str).collect::<Vec<_>>(),
            ["content", "message_id", "thread_id", "type"]
        );
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (given, said) in [
            (json!([]), "JSON object"),
            (json!({"type": 1}), "JSON object"),
            (json!({"type": "meshagent.agent.zap"}), "meshagent.agent.zap"),
            (json!({"type": "meshagent.agent.turn.steer", "thread_id": "t", "content": []}), "turn_id"),
        ] {
            let error = parse(given).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_authorization_never_shows_itself() {
        let given = json!({"type": "meshagent.agent.thread.start", "content": null,
            "llm_authorization": {"token": "s3cret", "expires_at": "2026-01-01T00:00:00Z"}});
        let message = parse(given).unwrap();
        assert!(!format!("{message:?}").contains("s3cret"));
    }
}

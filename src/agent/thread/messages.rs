//! Makes the messages of a thread: each with an id, the time and who says it.

use crate::agent::message::{
    ArgumentsDelta, Body, ClientToolCall, ContentDelta, ContentEdge, Failed, LogDelta, LogLine, Message,
    Status, ToolCallEnded, ToolCallStage, timestamp,
};
use crate::agent::model::ModelId;
use crate::clock::{Clock, IdSource};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What every message of a thread takes from it.
pub(super) struct Stamp {
    pub path: String,
    pub agent: String,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

impl Stamp {
    pub fn fresh(&self) -> String {
        self.ids.fresh().to_string()
    }

    pub fn now(&self) -> String {
        timestamp(self.clock.now())
    }

    pub fn message(&self, body: Body) -> Message {
        let mut message = Message::new(self.fresh(), self.clock.now(), body);
        message.sender_name = Some(self.agent.clone());
        message
    }
}

/// What the messages of one turn share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub path: String,
    pub turn_id: String,
    pub model: ModelId,
}

/// A call as messages name it.
#[derive(Clone, Debug)]
pub(super) struct Called {
    pub namespace: &'static str,
    pub item_id: String,
    pub call_id: Option<String>,
    pub toolkit: String,
    pub tool: String,
    pub arguments: Option<Map<String, Value>>,
}

impl Shared {
    fn provider(&self) -> Option<String> {
        Some(self.model.provider.clone())
    }

    fn model(&self) -> Option<String> {
        Some(self.model.name.clone())
    }

    pub fn edge(&self, item_id: &str, phase: Option<&str>) -> ContentEdge {
        ContentEdge {
            thread_id: self.path.clone(),
            provider: self.provider(),
            model: self.model(),
            turn_id: self.turn_id.clone(),
            item_id: item_id.to_owned(),
            phase: phase.map(str::to_owned),
        }
    }

    pub fn delta(&self, item_id: &str, phase: Option<&str>, text: String) -> ContentDelta {
        ContentDelta { edge: self.edge(item_id, phase), text }
    }

    pub fn stage(&self, call: &Called) -> ToolCallStage {
        ToolCallStage {
            thread_id: self.path.clone(),
            provider: self.provider(),
            model: self.model(),
            turn_id: self.turn_id.clone(),
            item_id: call.item_id.clone(),
            namespace: call.namespace.to_owned(),
            call_id: call.call_id.clone(),
            toolkit: call.toolkit.clone(),
            tool: call.tool.clone(),
            arguments: call.arguments.clone(),
            argument_bytes: None,
        }
    }

    pub fn arguments(&self, call: &Called, delta: String) -> ArgumentsDelta {
        ArgumentsDelta {
            thread_id: self.path.clone(),
            provider: self.provider(),
            model: self.model(),
            turn_id: self.turn_id.clone(),
            item_id: call.item_id.clone(),
            namespace: call.namespace.to_owned(),
            call_id: call.call_id.clone(),
            delta,
        }
    }

    pub fn log(&self, call: &Called, lines: Vec<LogLine>) -> LogDelta {
        LogDelta {
            thread_id: self.path.clone(),
            provider: self.provider(),
            model: self.model(),
            turn_id: self.turn_id.clone(),
            item_id: call.item_id.clone(),
            namespace: call.namespace.to_owned(),
            call_id: call.call_id.clone(),
            lines,
        }
    }

    pub fn ended(&self, call: &Called, result: Option<Value>, error: Option<Failed>) -> ToolCallEnded {
        ToolCallEnded {
            thread_id: self.path.clone(),
            provider: self.provider(),
            model: self.model(),
            turn_id: self.turn_id.clone(),
            item_id: call.item_id.clone(),
            namespace: call.namespace.to_owned(),
            call_id: call.call_id.clone(),
            toolkit: Some(call.toolkit.clone()),
            tool: Some(call.tool.clone()),
            result,
            error,
        }
    }

    /// A call of a client's own tool; `reason` where it is withdrawn.
    pub fn client_call(&self, call: &Called, to: Option<&str>, reason: Option<&str>) -> ClientToolCall {
        let requested = reason.is_none();
        ClientToolCall {
            thread_id: self.path.clone(),
            provider: self.provider(),
            model: self.model(),
            turn_id: self.turn_id.clone(),
            request_id: call.item_id.clone(),
            toolkit: call.toolkit.clone(),
            tool: call.tool.clone(),
            arguments: requested.then(|| call.arguments.clone().unwrap_or_default()),
            reason: reason.map(str::to_owned),
            target_participant_id: to.map(str::to_owned),
        }
    }

    pub fn status(&self, text: &str, mode: &str, started_at: &str, item: Option<&str>) -> Status {
        Status {
            thread_id: self.path.clone(),
            status: Some(text.to_owned()),
            mode: Some(mode.to_owned()),
            started_at: Some(started_at.to_owned()),
            turn_id: Some(self.turn_id.clone()),
            pending_item_id: item.map(str::to_owned),
            ..Status::default()
        }
    }
}

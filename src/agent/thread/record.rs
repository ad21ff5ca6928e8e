//! What of a thread's messages is stored, and in which form (process agents §13): texts in one piece once they end, calls with
//! their final arguments once they end, everything else as it comes. The official agent writes the same.

use super::aloud::{Aloud, USER};
use crate::agent::message::{
    Body, ContentDelta, ContentEdge, Failed, FileDelta, LogLine, Message, ThreadEvent, ToolCallEnded,
    ToolCallStage,
};
use crate::clock::IdSource;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is in the namespaces of tools that a provider of models runs, whose answer may begin anew.
const OF_PROVIDER: char = '.';

/// A row of a thread's table; its sequence number is given when it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub turn_id: Option<String>,
    pub item_id: String,
    pub kind: String,
    /// ISO 8601; the message's `created_at`.
    pub timestamp: String,
    /// The message, with all its fields but `created_at`.
    pub data: Map<String, Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    File,
}

struct Content {
    kind: Kind,
    edge: ContentEdge,
    sender_name: Option<String>,
    created_at: String,
    text: String,
    urls: Vec<String>,
}

struct Call {
    stage: ToolCallStage,
    message: Message,
    began: bool,
    logs: Vec<LogLine>,
}

/// Turns messages into rows. What is still coming in is held until it ends.
pub struct Recorder {
    ids: Arc<dyn IdSource>,
    contents: BTreeMap<String, Content>,
    calls: BTreeMap<String, Call>,
    /// Steering messages that are not heard yet, by id.
    steers: BTreeMap<String, Message>,
    aloud: Aloud,
    /// Rows of an answer that comes in and may begin anew, until it is whole.
    held: Vec<Row>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}

/// The row of one message.
#[must_use]
pub fn row(message: &Message) -> Row {
    let mut data = message.full();
    data.remove("created_at");
    let text =
        |key: &str| data.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    Row {
        turn_id: text("turn_id"),
        item_id: text("item_id").unwrap_or_else(|| message.message_id.clone()),
        kind: message.body.kind().to_owned(),
        timestamp: message.created_at.clone(),
        data,
    }
}

impl Recorder {
    #[must_use]
    pub fn new(ids: Arc<dyn IdSource>) -> Self {
        Self {
            ids,
            contents: BTreeMap::new(),
            calls: BTreeMap::new(),
            steers: BTreeMap::new(),
            aloud: Aloud::default(),
            held: Vec::new(),
        }
    }

    /// The rows that are due after this message.
    pub fn on(&mut self, message: &Message) -> Vec<Row> {
        if message.is_discard() {
            self.discard(message);
            return Vec::new();
        }
        let mut rows = Vec::new();
        self.read(message, &mut rows);
        match &message.body {
            Body::TextEnded(_) | Body::ReasoningEnded(_) => self.held.append(&mut rows),
            Body::TranscriptCompleted(of) if of.role.as_deref() != Some(USER) => self.held.append(&mut rows),
            Body::ToolEnded(ended) if ended.namespace.contains(OF_PROVIDER) => self.held.append(&mut rows),
            Body::Usage(_)
            | Body::Steered(_)
            | Body::Interrupted(_)
            | Body::TurnEnded(_)
            | Body::ToolEnded(_)
            | Body::Compacted(_)
            | Body::ThreadCleared(_) => {
                self.held.append(&mut rows);
                return std::mem::take(&mut self.held);
            }
            _ => {}
        }
        rows
    }

    /// Nothing of the message's item is stored.
    fn discard(&mut self, message: &Message) {
        let item_id = row(message).item_id;
        self.contents.remove(&item_id);
        self.calls.remove(&item_id);
        self.held.retain(|row| row.item_id != item_id);
    }

    fn read(&mut self, message: &Message, rows: &mut Vec<Row>) {
        if message.body.is_speech() {
            rows.extend(self.aloud.on(message));
            return;
        }
        match &message.body {
            Body::ThreadStatus(_)
            | Body::ToolArguments(_)
            | Body::ImageStarted(_)
            | Body::ImagePartial(_) => {}
            Body::TurnSteer(_) => {
                self.steers.insert(message.message_id.clone(), message.clone());
            }
            Body::Steered(steered) => {
                if let Some(steer) = self.steers.remove(&steered.source_message_id) {
                    self.flush(&steered.turn_id, "completed", false, rows);
                    rows.push(row(&steer));
                }
                rows.push(row(message));
            }
            Body::SteerRejected(rejected) => {
                self.steers.remove(&rejected.source_message_id);
                rows.push(row(message));
            }
            Body::TextStarted(edge) => self.content(Kind::Text, edge, message),
            Body::ReasoningStarted(edge) => self.content(Kind::Reasoning, edge, message),
            Body::FileStarted(edge) => self.content(Kind::File, edge, message),
            Body::TextDelta(delta) => self.text(Kind::Text, delta, message),
            Body::ReasoningDelta(delta) => self.text(Kind::Reasoning, delta, message),
            Body::FileDelta(delta) => {
                self.content(Kind::File, &delta.edge, message);
                if let Some(content) = self.contents.get_mut(&delta.edge.item_id) {
                    content.urls.push(delta.url.clone());
                }
            }
            Body::TextEnded(edge) | Body::ReasoningEnded(edge) | Body::FileEnded(edge) => {
                self.end_content(&edge.item_id, Some(message), rows);
            }
            Body::ToolPending(stage) => self.stage(stage, message, false),
            Body::ToolInProgress(stage) | Body::ToolStarted(stage) => self.stage(stage, message, true),
            Body::ToolLog(log) => {
                if let Some(call) = self.calls.get_mut(&log.item_id) {
                    call.logs.extend(log.lines.iter().cloned());
                }
            }
            Body::ToolEnded(ended) => self.end_call(&ended.item_id, Some(message), "completed", rows),
            Body::Interrupted(of) => {
                self.flush(&of.turn_id, "cancelled", true, rows);
                rows.push(row(message));
            }
            Body::TurnEnded(ended) => {
                self.steers.clear();
                let reason = if ended.error.is_some() { "failed" } else { "completed" };
                self.flush(&ended.turn_id, reason, true, rows);
                if let Some(error) = &ended.error {
                    rows.push(self.failed(&ended.thread_id, &ended.turn_id, error, message));
                }
                rows.push(row(message));
            }
            Body::ThreadCleared(_) => {
                self.contents.clear();
                self.calls.clear();
                self.steers.clear();
                self.aloud = Aloud::default();
                rows.push(row(message));
            }
            _ => rows.push(row(message)),
        }
    }

    fn content(&mut self, kind: Kind, edge: &ContentEdge, message: &Message) {
        self.contents.entry(edge.item_id.clone()).or_insert_with(|| Content {
            kind,
            edge: edge.clone(),
            sender_name: message.sender_name.clone(),
            created_at: message.created_at.clone(),
            text: String::new(),
            urls: Vec::new(),
        });
    }

    fn text(&mut self, kind: Kind, delta: &ContentDelta, message: &Message) {
        self.content(kind, &delta.edge, message);
        if let Some(content) = self.contents.get_mut(&delta.edge.item_id) {
            // The official agent takes a delta that repeats the end for a duplicate; one that repeats is text too.
            content.text.push_str(&delta.text);
            content.edge.phase = content.edge.phase.take().or_else(|| delta.edge.phase.clone());
        }
    }

    fn message(&self, like: &Message, body: Body) -> Message {
        Message {
            message_id: self.ids.fresh().to_string(),
            created_at: like.created_at.clone(),
            metadata: Map::new(),
            sender_name: like.sender_name.clone(),
            body,
        }
    }

    fn end_content(&mut self, item_id: &str, ended: Option<&Message>, rows: &mut Vec<Row>) {
        let Some(content) = self.contents.remove(item_id) else {
            rows.extend(ended.filter(|message| !message.metadata.is_empty()).map(row));
            return;
        };
        let piece = |body| Message {
            message_id: self.ids.fresh().to_string(),
            created_at: ended.map_or(&content.created_at, |m| &m.created_at).clone(),
            metadata: Map::new(),
            sender_name: content.sender_name.clone(),
            body,
        };
        let edge = content.edge.clone();
        let blank = content.text.trim().is_empty();
        match content.kind {
            Kind::File => {
                for url in content.urls.into_iter().filter(|url| !url.trim().is_empty()) {
                    rows.push(row(&piece(Body::FileDelta(FileDelta { edge: edge.clone(), url }))));
                }
            }
            Kind::Reasoning if blank => {}
            Kind::Text if blank => return,
            Kind::Text => rows.push(row(&piece(Body::TextDelta(ContentDelta { edge, text: content.text })))),
            Kind::Reasoning => {
                rows.push(row(&piece(Body::ReasoningDelta(ContentDelta { edge, text: content.text }))));
            }
        }
        rows.extend(ended.map(row));
    }

    fn stage(&mut self, stage: &ToolCallStage, message: &Message, began: bool) {
        match self.calls.get_mut(&stage.item_id) {
            Some(call) => {
                call.began |= began;
                let arguments = stage.arguments.clone().or_else(|| call.stage.arguments.take());
                call.stage = ToolCallStage { arguments, ..stage.clone() };
            }
            None => {
                let call = Call { stage: stage.clone(), message: message.clone(), began, logs: Vec::new() };
                self.calls.insert(stage.item_id.clone(), call);
            }
        }
    }

    /// A call that never began leaves nothing.
    fn end_call(&mut self, item_id: &str, ended: Option<&Message>, reason: &str, rows: &mut Vec<Row>) {
        let Some(call) = self.calls.remove(item_id) else {
            rows.extend(ended.map(row));
            return;
        };
        if ended.is_none() && !call.began && call.logs.is_empty() {
            return;
        }
        let (stage, first) = (call.stage, call.message);
        let started = Message { body: Body::ToolStarted(stage.clone()), ..first.clone() };
        rows.push(row(&started));
        if !call.logs.is_empty() {
            let log = crate::agent::message::LogDelta {
                thread_id: stage.thread_id.clone(),
                provider: stage.provider.clone(),
                model: stage.model.clone(),
                turn_id: stage.turn_id.clone(),
                item_id: stage.item_id.clone(),
                namespace: stage.namespace.clone(),
                call_id: stage.call_id.clone(),
                lines: call.logs,
            };
            rows.push(row(&self.message(&first, Body::ToolLog(log))));
        }
        match ended {
            Some(ended) => rows.push(row(ended)),
            None => {
                let code = if matches!(reason, "cancelled" | "failed") { reason } else { "incomplete" };
                let text = if code == "cancelled" {
                    "Tool call was cancelled"
                } else {
                    "Tool call ended without a result"
                };
                let error = Failed { message: text.to_owned(), code: Some(code.to_owned()) };
                let body = Body::ToolEnded(ended_call(stage, error));
                let message_id = format!("{}:terminal", first.message_id);
                rows.push(row(&Message { message_id, body, ..first }));
            }
        }
    }

    /// Ends what is still open in a turn.
    fn flush(&mut self, turn_id: &str, reason: &str, calls: bool, rows: &mut Vec<Row>) {
        let of_turn = |turn: &str| turn == turn_id;
        let contents: Vec<_> = self
            .contents
            .iter()
            .filter(|(_, c)| of_turn(&c.edge.turn_id))
            .map(|(id, _)| id.clone())
            .collect();
        for item in contents {
            self.end_content(&item, None, rows);
        }
        if calls {
            rows.extend(self.aloud.end(turn_id, reason == "cancelled"));
            let calls: Vec<_> = self
                .calls
                .iter()
                .filter(|(_, c)| of_turn(&c.stage.turn_id))
                .map(|(id, _)| id.clone())
                .collect();
            for item in calls {
                self.end_call(&item, None, reason, rows);
            }
        }
    }

    fn failed(&self, thread_id: &str, turn_id: &str, error: &Failed, like: &Message) -> Row {
        let event = json!({"type": "turn.error", "kind": "collab", "state": "failed", "summary": "Turn failed",
            "headline": "Turn failed", "details": [error.message], "error": error});
        let event = event.as_object().cloned().unwrap_or_default();
        let event = ThreadEvent { thread_id: thread_id.to_owned(), provider: None, model: None, event };
        Row { turn_id: Some(turn_id.to_owned()), ..row(&self.message(like, Body::ThreadEvent(event))) }
    }
}

fn ended_call(stage: ToolCallStage, error: Failed) -> ToolCallEnded {
    ToolCallEnded {
        thread_id: stage.thread_id,
        provider: stage.provider,
        model: stage.model,
        turn_id: stage.turn_id,
        item_id: stage.item_id,
        namespace: stage.namespace,
        call_id: stage.call_id,
        toolkit: Some(stage.toolkit),
        tool: Some(stage.tool),
        result: None,
        error: Some(error),
    }
}

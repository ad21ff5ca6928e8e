//! What those who watch a thread live are shown: who has it open, and what happened since its turn began. Pure.

use super::message::{DISCARDED, live};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Messages kept for those who open a thread in the middle of a turn.
pub const EVENTS_MAX: usize = 512;
/// Inputs whose turns have not begun yet.
const PENDING_MAX: usize = 512;

/// A message in its live form.
pub type Live = Arc<Map<String, Value>>;

/// One thread, live.
#[derive(Debug, Default)]
pub struct Board {
    open: BTreeSet<String>,
    events: VecDeque<Live>,
    status: Option<Live>,
    /// Arguments of calls that are being written, in one piece each, by item id.
    arguments: BTreeMap<String, Map<String, Value>>,
    /// `turn.start` and `turn.steer` messages whose turns have not heard them, by message id.
    pending: BTreeMap<String, Live>,
}

fn text<'a>(message: &'a Map<String, Value>, key: &str) -> &'a str {
    message.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn kind(message: &Map<String, Value>) -> &str {
    text(message, "type").strip_prefix(super::message::PREFIX).unwrap_or_default()
}

impl Board {
    pub fn open(&mut self, participant: &str) {
        self.open.insert(participant.to_owned());
    }

    /// Whether they had it open.
    pub fn close(&mut self, participant: &str) -> bool {
        self.open.remove(participant)
    }

    /// Nobody has it open.
    pub fn is_unwatched(&self) -> bool {
        self.open.is_empty()
    }

    /// Those who have it open.
    pub fn watchers(&self) -> impl Iterator<Item = &String> {
        self.open.iter()
    }

    /// Notes what somebody said, to be shown to the others.
    pub fn said(&mut self, full: &Map<String, Value>) -> Live {
        let message = Arc::new(live(full));
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_first();
        }
        self.pending.insert(text(full, "message_id").to_owned(), message.clone());
        self.keep(message.clone());
        message
    }

    /// Notes a message of the thread; the form in which it is shown.
    pub fn happened(&mut self, full: &Map<String, Value>) -> Live {
        let mut message = live(full);
        let discarded = full.get("metadata").and_then(|metadata| metadata.get(DISCARDED));
        if discarded.and_then(Value::as_bool) == Some(true) {
            let item = text(full, "item_id");
            self.events.retain(|event| text(event, "item_id") != item);
            self.arguments.remove(item);
            return Arc::new(message);
        }
        match kind(full) {
            // Audio is for those who listen now.
            "audio_generation.delta" => return Arc::new(message),
            "thread.status" => {
                let message = Arc::new(message);
                self.status = full.get("status").is_some_and(|s| !s.is_null()).then(|| message.clone());
                return message;
            }
            "turn.started" | "turn.steered" => {
                if let Some(input) = self.pending.remove(text(full, "source_message_id")) {
                    for field in ["content", "sender_name"] {
                        if let Some(value) = input.get(field) {
                            message.insert(field.to_owned(), value.clone());
                        }
                    }
                }
            }
            "turn.start.rejected" | "turn.steer.rejected" => {
                self.pending.remove(text(full, "source_message_id"));
            }
            "tool_call.arguments_delta" => {
                self.more_arguments(&message);
                return Arc::new(message);
            }
            "tool_call.started" | "tool_call.ended" => {
                self.arguments.remove(text(full, "item_id"));
            }
            "turn.ended" | "thread.cleared" => {
                self.events.clear();
                self.arguments.clear();
                self.status = None;
                return Arc::new(message);
            }
            _ => {}
        }
        let message = Arc::new(message);
        self.keep(message.clone());
        message
    }

    fn more_arguments(&mut self, delta: &Map<String, Value>) {
        let whole = self.arguments.entry(text(delta, "item_id").to_owned()).or_insert_with(|| {
            let mut first = delta.clone();
            first.insert("delta".into(), json!(""));
            first
        });
        let all = format!("{}{}", text(whole, "delta"), text(delta, "delta"));
        whole.insert("delta".into(), json!(all));
    }

    fn keep(&mut self, message: Live) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(message);
    }

    /// What one who opens the thread now has missed.
    pub fn replay(&self) -> Vec<Live> {
        let mut all: Vec<Live> = self.events.iter().cloned().collect();
        all.extend(self.status.clone());
        all.extend(self.arguments.values().cloned().map(Arc::new));
        let accepted: BTreeSet<&str> = self
            .events
            .iter()
            .filter(|event| kind(event).ends_with(".accepted"))
            .map(|event| text(event, "source_message_id"))
            .collect();
        let missing = self.pending.iter().filter(|(id, _)| !accepted.contains(id.as_str()));
        all.extend(missing.map(|(id, input)| Arc::new(accepted_form(id, input))));
        all
    }
}

/// The acceptance that stands for an input.
fn accepted_form(id: &str, input: &Map<String, Value>) -> Map<String, Value> {
    let steer = kind(input) == "turn.steer";
    let name = if steer { "turn.steer.accepted" } else { "turn.start.accepted" };
    let mut message = Map::new();
    message.insert("type".into(), json!(format!("{}{name}", super::message::PREFIX)));
    message.insert("message_id".into(), json!(format!("{id}:accepted")));
    message.insert("source_message_id".into(), json!(id));
    for field in ["thread_id", "turn_id", "content", "sender_name"] {
        if let Some(value) = input.get(field) {
            message.insert(field.to_owned(), value.clone());
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, fields: Value) -> Map<String, Value> {
        let mut all = fields.as_object().unwrap().clone();
        all.insert("type".into(), json!(format!("meshagent.agent.{kind}")));
        all
    }

    fn kinds(messages: &[Live]) -> Vec<&str> {
        messages.iter().map(|m| kind(m)).collect()
    }

    #[test]
    fn one_who_comes_late_sees_the_turn_so_far() {
        let mut board = Board::default();
        board.said(&message("turn.start", json!({"message_id": "m", "content": [1], "sender_name": "ann"})));
        board.happened(&message("turn.start.accepted", json!({"source_message_id": "m"})));
        let started = board.happened(&message("turn.started", json!({"source_message_id": "m"})));
        assert_eq!((&started["content"], &started["sender_name"]), (&json!([1]), &json!("ann")));
        board.happened(&message("thread.status", json!({"status": "Thinking"})));
        for delta in ["{\"a", "\":1}"] {
            board.happened(&message("tool_call.arguments_delta", json!({"item_id": "i", "delta": delta})));
        }
        board.said(&message("turn.steer", json!({"message_id": "s", "turn_id": "t"})));
        let replay = board.replay();
        assert_eq!(
            kinds(&replay),
            [
                "turn.start",
                "turn.start.accepted",
                "turn.started",
                "turn.steer",
                "thread.status",
                "tool_call.arguments_delta",
                "turn.steer.accepted"
            ]
        );
        assert_eq!(replay[5]["delta"], "{\"a\":1}");
        board.happened(&message("turn.ended", json!({"turn_id": "t"})));
        assert_eq!(kinds(&board.replay()), ["turn.steer.accepted"], "only what is not over");
    }

    #[test]
    fn what_became_void_is_not_replayed() {
        let mut board = Board::default();
        board.happened(&message("text_content.delta", json!({"item_id": "a", "text": "half"})));
        board.happened(&message("text_content.delta", json!({"item_id": "b", "text": "whole"})));
        let void = json!({"item_id": "a", "metadata": {"discarded": true}});
        let told = board.happened(&message("text_content.ended", void));
        assert_eq!(told["metadata"]["discarded"], true, "who watches is told");
        let replay = board.replay();
        assert_eq!((replay.len(), &replay[0]["text"]), (1, &json!("whole")));
    }

    #[test]
    fn only_so_much_is_kept() {
        let mut board = Board::default();
        for n in 0..EVENTS_MAX + 5 {
            board.happened(&message("text_content.delta", json!({"n": n})));
        }
        let replay = board.replay();
        assert_eq!((replay.len(), &replay[0]["n"]), (EVENTS_MAX, &json!(5)));
    }
}

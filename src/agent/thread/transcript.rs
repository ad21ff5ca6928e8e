//! A stored thread as a person reads it: who said what, in lines. Pure.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that was said or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who: a sender's name, `user`, `assistant`, `tool` or `error`.
    pub role: String,
    pub turn_id: Option<String>,
    pub text: String,
}

impl Line {
    /// `role [turn]: text`.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.turn_id {
            Some(turn) => format!("{} [{turn}]: {}", self.role, self.text),
            None => format!("{}: {}", self.role, self.text),
        }
    }

    #[must_use]
    pub fn json(&self) -> Value {
        json!({"role": self.role, "turn_id": self.turn_id, "text": self.text})
    }
}

fn text<'a>(message: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    message.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[derive(Default)]
struct Reader {
    lines: Vec<Line>,
    inputs: BTreeSet<String>,
    /// Texts that come in, by item: who says them, in which turn, and what.
    texts: BTreeMap<String, (String, Option<String>, String)>,
}

/// The lines of a thread's messages, oldest first.
#[must_use]
pub fn lines<'a>(messages: impl IntoIterator<Item = &'a Map<String, Value>>) -> Vec<Line> {
    let mut reader = Reader::default();
    for message in messages {
        reader.read(message);
    }
    for item in reader.texts.keys().cloned().collect::<Vec<_>>() {
        reader.end_text(&item);
    }
    reader.lines
}

impl Reader {
    fn push(&mut self, role: &str, turn_id: Option<&str>, text: String) {
        if !text.trim().is_empty() {
            let turn_id = turn_id.map(str::to_owned);
            self.lines.push(Line { role: role.to_owned(), turn_id, text: text.trim().to_owned() });
        }
    }

    fn read(&mut self, message: &Map<String, Value>) {
        let turn = text(message, "turn_id");
        let kind = text(message, "type").and_then(|kind| kind.strip_prefix(crate::agent::message::PREFIX));
        match kind.unwrap_or_default() {
            "turn.start" | "turn.steer" => self.input(text(message, "message_id"), message),
            "turn.start.accepted" => self.input(text(message, "source_message_id"), message),
            "text_content.delta" => {
                let role = text(message, "sender_name").unwrap_or("assistant");
                let item = text(message, "item_id").unwrap_or_default();
                let begun = || (role.to_owned(), turn.map(str::to_owned), String::new());
                let entry = self.texts.entry(item.to_owned()).or_insert_with(begun);
                entry.2.push_str(text(message, "text").unwrap_or_default());
            }
            "text_content.ended" => self.end_text(text(message, "item_id").unwrap_or_default()),
            "realtime_audio.commit" => {
                let role = text(message, "sender_name").unwrap_or("user");
                let said = crate::agent::history::written(text(message, "text"));
                self.push(role, turn, said.to_owned());
            }
            "audio_transcription.completed" => {
                let by_user = text(message, "role") == Some("user");
                let role = text(message, "sender_name").unwrap_or(if by_user { "user" } else { "assistant" });
                self.push(role, turn, text(message, "text").unwrap_or_default().to_owned());
            }
            "tool_call.started" => {
                let name = |key| text(message, key).unwrap_or_default();
                let arguments = message.get("arguments").filter(|a| !a.is_null());
                let arguments = arguments.map_or_else(String::new, |a| format!(" {a}"));
                self.push("tool", turn, format!("{}.{}{arguments}", name("toolkit"), name("tool")));
            }
            "tool_call.ended" => {
                if let Some(error) =
                    message.get("error").and_then(|e| e.get("message")).and_then(Value::as_str)
                {
                    self.push("tool", turn, format!("error: {error}"));
                }
            }
            "turn.ended" => {
                if let Some(error) =
                    message.get("error").and_then(|e| e.get("message")).and_then(Value::as_str)
                {
                    self.push("error", turn, error.to_owned());
                }
            }
            _ => {}
        }
    }

    fn input(&mut self, id: Option<&str>, message: &Map<String, Value>) {
        let content = message.get("content").and_then(Value::as_array);
        let piece = |item: &Value| {
            let field = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
            field("text").or_else(|| field("name")).or_else(|| field("url"))
        };
        let said: Vec<String> = content.into_iter().flatten().filter_map(piece).collect();
        if !said.is_empty() && self.inputs.insert(id.unwrap_or_default().to_owned()) {
            let role = text(message, "sender_name").unwrap_or("user").to_owned();
            self.push(&role, text(message, "turn_id"), said.join("\n"));
        }
    }

    fn end_text(&mut self, item_id: &str) {
        if let Some((role, turn, text)) = self.texts.remove(item_id) {
            self.push(&role, turn.as_deref(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_reads_as_lines() {
        let message = |kind: &str, fields: Value| {
            let mut all = fields.as_object().unwrap().clone();
            all.insert("type".into(), json!(format!("meshagent.agent.{kind}")));
            all
        };
        let content = json!([{"type": "text", "text": "hi"}, {"type": "file", "url": "room:///a"}]);
        let messages = [
            message(
                "turn.start",
                json!({"message_id": "m", "turn_id": "t", "content": content, "sender_name": "ann"}),
            ),
            message(
                "turn.start.accepted",
                json!({"source_message_id": "m", "turn_id": "t", "content": content}),
            ),
            message(
                "tool_call.started",
                json!({"toolkit": "s", "tool": "w", "arguments": {"a": 1}, "turn_id": "t"}),
            ),
            message("tool_call.ended", json!({"error": {"message": "no"}, "turn_id": "t"})),
            message("text_content.delta", json!({"item_id": "i", "text": "hello ", "turn_id": "t"})),
            message("text_content.delta", json!({"item_id": "i", "text": "you", "turn_id": "t"})),
            message("text_content.ended", json!({"item_id": "i", "turn_id": "t"})),
            message("turn.ended", json!({"turn_id": "t", "error": {"message": "late"}})),
        ];
        let shown: Vec<_> = lines(&messages).iter().map(Line::shown).collect();
        assert_eq!(
            shown,
            [
                "ann [t]: hi\nroom:///a",
                "tool [t]: s.w {\"a\":1}",
                "tool [t]: error: no",
                "assistant [t]: hello you",
                "error [t]: late"
            ]
        );
    }
}

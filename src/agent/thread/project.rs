//! What a model is shown of a stored thread (process agents §14). Pure: rows in, items out. Rows of the official agent read alike.

use super::done::{DoneTurns, text_of};
use crate::agent::history::{self, Item, Part, ToolCall, written};
use crate::agent::message::{InputContent, REPEATS_INPUT};
use crate::agent::model::{Backend, ModelId};
use crate::agent::turn::MODEL_ERROR;
use crate::agent::voice::Modality;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A thread, read back.
#[derive(Debug, Default, PartialEq)]
pub struct Restored {
    pub items: Vec<Item>,
    /// The model of the last turn.
    pub model: Option<ModelId>,
    /// Voice and kind of the answers of the last turn, where it said so.
    pub manner: (Option<String>, Option<Modality>),
    /// Turns that began and never ended: whoever ran them is gone.
    pub open_turns: Vec<String>,
    /// Turns that ended without an error.
    pub done_turns: DoneTurns,
    /// The session of the program that ran its last turn, where one did.
    pub session: Option<crate::agent::backend::SessionRef>,
    /// The last `usage.updated`.
    pub usage: Option<Map<String, Value>>,
    /// Tokens that the context took at the last request.
    pub used_tokens: u64,
}

#[derive(Default)]
struct Reader {
    restored: Restored,
    /// Inputs of turns that have not begun so far, by message id.
    held: BTreeMap<String, Item>,
    inputs: BTreeSet<String>,
    /// What was said aloud for turns that have not begun so far, by turn.
    aloud: BTreeMap<String, Item>,
    open_turns: Vec<String>,
    texts: BTreeMap<String, (String, Option<String>)>,
    calls: BTreeMap<String, Vec<String>>,
    /// Items that a summary stands for; they are as their provider wrote them.
    compacted_to: usize,
    /// Where the last turn begins.
    begun_at: usize,
    /// That turn.
    turn_id: String,
    /// Call item → call id, of calls without output so far.
    unanswered: BTreeMap<String, String>,
}

/// Reads the messages of a thread, oldest first.
#[must_use]
pub fn restore<'a>(messages: impl IntoIterator<Item = &'a Map<String, Value>>) -> Restored {
    let mut reader = Reader::default();
    for message in messages {
        let kind = message.get("type").and_then(Value::as_str).unwrap_or_default();
        reader.read(kind.strip_prefix(crate::agent::message::PREFIX).unwrap_or_default(), message);
    }
    reader.end_texts();
    reader.answer_all();
    history::drop_stray(&mut reader.restored.items, reader.compacted_to);
    reader.restored.open_turns = reader.open_turns;
    reader.restored
}

fn text<'a>(message: &'a Map<String, Value>, key: &str) -> &'a str {
    message.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whose words a message carries. Agents that did not say so knew one provider with reasoning of its own.
fn provider_of(message: &Map<String, Value>) -> &str {
    Some(text(message, "provider")).filter(|provider| !provider.is_empty()).unwrap_or("openai")
}

impl Reader {
    fn read(&mut self, kind: &str, message: &Map<String, Value>) {
        match kind {
            "turn.start" => self.hold(text(message, "message_id"), message),
            "turn.start.accepted" => {
                self.hold(text(message, "source_message_id"), message);
                let turn = text(message, "turn_id");
                if !turn.is_empty() && !self.restored.done_turns.contains(turn) {
                    self.open_turns.push(turn.to_owned());
                }
            }
            "turn.start.rejected" => {
                self.held.remove(text(message, "source_message_id"));
            }
            "turn.started" => {
                self.end_texts();
                self.begun_at = self.restored.items.len();
                self.restored.items.extend(self.held.remove(text(message, "source_message_id")));
                self.restored.items.extend(self.aloud.remove(text(message, "turn_id")));
                self.turn_id = text(message, "turn_id").to_owned();
            }
            "realtime_audio.commit" => self.aloud(message),
            "audio_transcription.completed" => self.written(message),
            "turn.steer" => {
                if let Some(input) = self.input(text(message, "message_id"), message) {
                    self.end_texts();
                    self.restored.items.push(input);
                }
            }
            "turn.ended" => self.ended(message),
            "text_content.delta" => {
                let entry = self.texts.entry(text(message, "item_id").to_owned()).or_default();
                entry.0.push_str(text(message, "text"));
                let phase = Some(text(message, "phase")).filter(|p| !p.is_empty()).map(str::to_owned);
                entry.1 = phase.or_else(|| entry.1.take());
            }
            "text_content.ended" => self.end_text(text(message, "item_id")),
            "reasoning_content.ended" => self.reasoning(message),
            "tool_call.started" => self.call(message),
            "tool_call.log_delta" => {
                let lines = message.get("lines").and_then(Value::as_array).into_iter().flatten();
                let lines =
                    lines.filter_map(|line| line.get("text").and_then(Value::as_str)).map(str::to_owned);
                self.calls.entry(text(message, "item_id").to_owned()).or_default().extend(lines);
            }
            "tool_call.ended" => self.end_call(message),
            "context.compacted" => self.compacted(message),
            "thread.cleared" => {
                self.restored.items.clear();
                self.restored.session = None;
                (self.compacted_to, self.begun_at) = (0, 0);
                self.texts.clear();
                self.unanswered.clear();
            }
            "usage.updated" => {
                let used =
                    message.get("context_window").and_then(|w| w.get("used_tokens")).and_then(Value::as_u64);
                self.restored.used_tokens = used.unwrap_or(0);
                self.restored.usage = Some(message.clone());
            }
            "model.changed" => self.model_changed(message),
            "thread.event" => {
                let session = message.get("event").and_then(crate::agent::backend::session_of);
                self.restored.session = session.or(self.restored.session.take());
            }
            _ => {}
        }
    }

    /// What was said, unless it is empty or was read already.
    fn input(&mut self, id: &str, message: &Map<String, Value>) -> Option<Item> {
        let content = message.get("content").and_then(Value::as_array).cloned().unwrap_or_default();
        if content.is_empty() || !self.inputs.insert(id.to_owned()) {
            return None;
        }
        let content: Vec<InputContent> =
            content.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
        Some(Item::User(content.iter().map(part).collect()))
    }

    fn model_changed(&mut self, message: &Map<String, Value>) {
        let (provider, name) = (text(message, "provider"), text(message, "model"));
        let (provider, name) = (provider.to_owned(), name.to_owned());
        let backend = Backend::named(text(message, "backend")).unwrap_or(Backend::Llm);
        self.restored.model = Some(ModelId { backend, provider, name });
        let voice = message.get("voice").and_then(Value::as_str).map(str::to_owned);
        let answers =
            message.get("output_modalities").and_then(|all| all.get(0)?.as_str()).and_then(Modality::named);
        self.restored.manner = (voice, answers);
    }

    /// What was said aloud and written down, by the agent or by a person who committed nothing.
    fn written(&mut self, message: &Map<String, Value>) {
        let said = text(message, "text").to_owned();
        if said.trim().is_empty() {
            return;
        }
        self.restored.items.push(match text(message, "role") {
            "user" => Item::User(vec![Part::Text(said)]),
            _ => Item::Answer { text: said, phase: None },
        });
    }

    /// What somebody said aloud: its row may be older or younger than the beginning of its turn, where it belongs.
    fn aloud(&mut self, message: &Map<String, Value>) {
        let said = Some(text(message, "text")).filter(|text| !text.trim().is_empty());
        let item = Item::User(vec![Part::Text(written(said).to_owned())]);
        let turn = text(message, "turn_id");
        if turn.is_empty() || turn != self.turn_id {
            self.aloud.insert(turn.to_owned(), item);
            return;
        }
        let first = self.restored.items.get(self.begun_at).is_some_and(|item| matches!(item, Item::User(_)));
        let at = (self.begun_at + usize::from(first)).min(self.restored.items.len());
        self.restored.items.insert(at, item);
    }

    /// A turn may be accepted long before it begins; its input belongs where it begins.
    fn hold(&mut self, id: &str, message: &Map<String, Value>) {
        if let Some(input) = self.input(id, message) {
            self.held.insert(id.to_owned(), input);
        }
    }

    fn ended(&mut self, message: &Map<String, Value>) {
        let turn = text(message, "turn_id");
        self.open_turns.retain(|open| open != turn);
        self.end_texts();
        if message.get("error").is_none_or(Value::is_null) {
            let said = text_of(self.restored.items.get(self.begun_at..).unwrap_or_default());
            self.restored.done_turns.insert(turn.to_owned(), said);
        }
        self.answer_all();
        // As in the turn itself: what the model refused at once is not kept.
        let code = message.get("error").and_then(|error| error.get("code")).and_then(Value::as_str);
        let nothing_said = |item: &Item| matches!(item, Item::User(_) | Item::Opaque { .. });
        let said = self.restored.items.get(self.begun_at..).unwrap_or_default();
        if code == Some(MODEL_ERROR) && said.iter().all(nothing_said) {
            self.restored.items.truncate(self.begun_at);
        }
    }

    fn end_text(&mut self, item_id: &str) {
        if let Some((text, phase)) = self.texts.remove(item_id) {
            self.restored.items.push(Item::Answer { text, phase });
        }
    }

    fn end_texts(&mut self) {
        for item in self.texts.keys().cloned().collect::<Vec<_>>() {
            self.end_text(&item);
        }
    }

    /// Reasoning means something only to the provider that wrote it, and only in its encrypted form.
    fn reasoning(&mut self, message: &Map<String, Value>) {
        let content = message.get("metadata").and_then(|m| m.pointer("/openai/encrypted_content"));
        if let Some(content) = content.filter(|c| c.is_string()) {
            let value = json!({"type": "reasoning", "id": text(message, "item_id"), "summary": [],
                "encrypted_content": content});
            self.restored.items.push(Item::opaque(provider_of(message), value));
        }
    }

    fn call(&mut self, message: &Map<String, Value>) {
        if text(message, "namespace") != "meshagent" {
            return;
        }
        let item_id = text(message, "item_id").to_owned();
        let id = Some(text(message, "call_id")).filter(|id| !id.is_empty()).unwrap_or(&item_id).to_owned();
        let arguments = message.get("arguments").filter(|a| !a.is_null());
        let arguments = arguments.map_or_else(|| "{}".to_owned(), ToString::to_string);
        self.end_texts();
        self.unanswered.insert(item_id.clone(), id.clone());
        let (toolkit, tool) = (text(message, "toolkit").to_owned(), text(message, "tool").to_owned());
        self.restored.items.push(Item::Call(ToolCall { id, item_id, toolkit, tool, arguments }));
    }

    fn end_call(&mut self, message: &Map<String, Value>) {
        let item_id = text(message, "item_id");
        let logs = self.calls.remove(item_id).unwrap_or_default();
        let Some(id) = self.unanswered.remove(item_id) else { return };
        let error = message.get("error").and_then(|e| e.get("message")).and_then(Value::as_str);
        let output = match (error, message.get("result").filter(|r| !r.is_null())) {
            (Some(error), _) => crate::agent::tools::failed_text(error),
            (None, Some(result)) => content_text(result),
            (None, None) if !logs.is_empty() => logs.join("\n"),
            (None, None) => "ok".to_owned(),
        };
        self.restored.items.push(Item::output(id, output));
    }

    /// No call stays without an output: providers refuse that.
    fn answer_all(&mut self) {
        for id in std::mem::take(&mut self.unanswered).into_values() {
            self.restored.items.push(Item::output(id, "error: the call was cancelled"));
        }
    }

    fn compacted(&mut self, message: &Map<String, Value>) {
        let Some(messages) = message.get("messages").and_then(Value::as_array) else { return };
        self.texts.clear();
        self.unanswered.clear();
        let provider = provider_of(message);
        // What the running turn began with is there with its files too.
        let repeats = message.get("metadata").and_then(|metadata| metadata.get(REPEATS_INPUT));
        let input = match repeats.and_then(Value::as_bool) {
            Some(true) => self.restored.items.get(self.begun_at..).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        };
        let kept = messages.len() - usize::from(!input.is_empty() && !messages.is_empty());
        self.restored.items = messages.iter().take(kept).map(|item| compacted_item(provider, item)).collect();
        self.compacted_to = self.restored.items.len();
        self.begun_at = self.compacted_to;
        self.restored.items.extend(input);
    }
}

/// A message in a provider's form: texts are read, everything else goes back to its provider as it is.
fn compacted_item(provider: &str, message: &Value) -> Item {
    let plain = |content: &Value| -> Option<String> {
        match content {
            Value::String(text) => Some(text.clone()),
            Value::Array(parts) => {
                let texts: Option<Vec<_>> =
                    parts.iter().map(|p| p.get("text").and_then(Value::as_str)).collect();
                Some(texts?.concat())
            }
            _ => None,
        }
    };
    let role = message.get("role").and_then(Value::as_str);
    match (role, message.get("content").and_then(plain)) {
        (Some("user"), Some(text)) => Item::User(vec![Part::Text(text)]),
        (Some("assistant"), Some(text)) => Item::Answer { text, phase: None },
        _ => Item::opaque(provider, message.clone()),
    }
}

/// The text of a room content's header.
fn content_text(content: &Value) -> String {
    match content.get("type").and_then(Value::as_str) {
        Some("text") => content.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
        Some("json") => content.get("json").unwrap_or(&Value::Null).to_string(),
        Some("empty") => "ok".to_owned(),
        _ => content.to_string(),
    }
}

/// What was said, as far as it is known without fetching.
#[must_use]
pub fn part(content: &InputContent) -> Part {
    match content {
        InputContent::Text { text } => Part::Text(text.clone()),
        InputContent::File { url, name } => data_file(url, name.as_deref())
            .unwrap_or_else(|| Part::Link { name: name.clone(), url: url.clone() }),
        InputContent::Audio { url } => {
            data_file(url, Some("audio")).unwrap_or_else(|| Part::Link { name: None, url: url.clone() })
        }
    }
}

fn data_file(url: &str, name: Option<&str>) -> Option<Part> {
    let (mime_type, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime_type = mime_type.strip_suffix(";base64")?;
    let data = STANDARD.decode(data).ok()?;
    let mime_type = if mime_type.is_empty() { "application/octet-stream" } else { mime_type };
    Some(Part::File {
        name: name.unwrap_or("file").to_owned(),
        mime_type: mime_type.to_owned(),
        data: data.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ending: &Value) -> Vec<Map<String, Value>> {
        let row = |kind: &str, mut fields: Value| {
            fields["type"] = json!(format!("{}{kind}", crate::agent::message::PREFIX));
            fields.as_object().cloned().unwrap_or_default()
        };
        vec![
            row("turn.start", json!({"message_id": "m", "content": [{"type": "text", "text": "hi"}]})),
            row("turn.started", json!({"source_message_id": "m", "turn_id": "u"})),
            row(
                "reasoning_content.ended",
                json!({"item_id": "r", "metadata": {"openai": {"encrypted_content": "x"}}}),
            ),
            row("turn.ended", json!({"turn_id": "u", "error": ending})),
        ]
    }

    #[test]
    fn what_led_to_nothing_is_not_restored() {
        let cancelled = rows(&json!({"message": "no", "code": "cancelled"}));
        assert_eq!(restore(&cancelled).items, [Item::User(vec![Part::Text("hi".into())])], "no reasoning");
        let refused = rows(&json!({"message": "no", "code": MODEL_ERROR}));
        assert_eq!(restore(&refused).items, [], "nothing of what the model refused");
    }
}

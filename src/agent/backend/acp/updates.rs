//! What a program tells of its turn: texts, thoughts, calls, plans. Pure.

use crate::agent::backend::dialect::{Act, arguments, result};
use crate::agent::history::Item;
use crate::agent::provider::{ForeignCall, Said};
use crate::clock::IdSource;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Calls of one turn; more are not told.
const CALLS_MAX: usize = 4096;
const NAMESPACE: &str = "acp";

/// A text or thought that comes in.
struct Open {
    item_id: String,
    thought: bool,
    /// What the program calls the message, where it says.
    message: Option<String>,
    text: String,
}

/// A call, as far as it is known.
struct Call {
    item_id: String,
    fields: Map<String, Value>,
    began: bool,
    ended: bool,
}

/// What was told of the present turn.
pub(super) struct Updates {
    ids: Arc<dyn IdSource>,
    open: Option<Open>,
    items: Vec<Item>,
    /// By the program's name of the call.
    calls: BTreeMap<String, Call>,
}

fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}

impl Updates {
    pub fn new(ids: Arc<dyn IdSource>) -> Self {
        Self { ids, open: None, items: Vec::new(), calls: BTreeMap::new() }
    }

    /// A new turn begins.
    pub fn forget(&mut self) {
        self.open = None;
        self.items.clear();
        self.calls.clear();
    }

    /// The texts of the turn.
    pub fn take(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    pub fn read(&mut self, update: &Value) -> Vec<Act> {
        match text(update, "sessionUpdate") {
            Some("agent_message_chunk") => self.chunk(update, false),
            Some("agent_thought_chunk") => self.chunk(update, true),
            Some("tool_call" | "tool_call_update") => self.call(update),
            Some("plan") => vec![Act::Say(Said::Notice(plan(update)))],
            // Modes, commands, titles: nothing of the turn. Others are of versions to come.
            _ => Vec::new(),
        }
    }

    fn chunk(&mut self, update: &Value, thought: bool) -> Vec<Act> {
        let Some(delta) = update.get("content").and_then(shown).filter(|delta| !delta.is_empty()) else {
            return Vec::new();
        };
        let message = text(update, "messageId").map(str::to_owned);
        let mut acts = Vec::new();
        let same = |open: &Open| open.thought == thought && (message.is_none() || open.message == message);
        if !self.open.as_ref().is_some_and(same) {
            acts.extend(self.close());
            let item_id = self.ids.fresh().to_string();
            self.open = Some(Open { item_id, thought, message, text: String::new() });
        }
        let Some(open) = &mut self.open else { return acts };
        open.text.push_str(&delta);
        let item_id = open.item_id.clone();
        acts.push(Act::Say(if thought {
            Said::Reasoning { item_id, delta }
        } else {
            Said::Text { item_id, phase: None, delta }
        }));
        acts
    }

    /// Ends the text or thought that comes in.
    fn close(&mut self) -> Option<Act> {
        let open = self.open.take()?;
        if open.thought {
            return Some(Act::Say(Said::ReasoningEnded { item_id: open.item_id, metadata: Map::new() }));
        }
        self.items.push(Item::Answer { text: open.text, phase: None });
        Some(Act::Say(Said::TextEnded { item_id: open.item_id, phase: None }))
    }

    /// The turn ends: calls of which nothing more was said did not end well.
    pub fn end(&mut self) -> Vec<Act> {
        let mut acts: Vec<Act> = self.close().into_iter().collect();
        for call in std::mem::take(&mut self.calls).into_values().filter(|call| call.began && !call.ended) {
            let error = Some("the turn ended and nothing was said of the call's end".to_owned());
            acts.push(Act::Say(Said::ForeignEnded { item_id: call.item_id, result: None, error }));
        }
        acts
    }

    /// Takes what an update says of a call; its name, where it has one and there are not too many.
    fn merge(&mut self, update: &Value) -> Option<(String, bool)> {
        let id = text(update, "toolCallId")?.to_owned();
        let new = !self.calls.contains_key(&id);
        if new && self.calls.len() >= CALLS_MAX {
            return None;
        }
        let item_id = || self.ids.fresh().to_string();
        let call = self.calls.entry(id.clone()).or_insert_with(|| Call {
            item_id: item_id(),
            fields: Map::new(),
            began: false,
            ended: false,
        });
        let given = update.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        call.fields.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        Some((id, new))
    }

    fn call(&mut self, update: &Value) -> Vec<Act> {
        let mut acts: Vec<Act> = self.close().into_iter().collect();
        let Some((id, new)) = self.merge(update) else { return acts };
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.ended) else { return acts };
        let status = call.fields.get("status").and_then(Value::as_str).unwrap_or("pending").to_owned();
        if status == "pending" {
            if new {
                acts.push(Act::Say(Said::ForeignPending(foreign(&id, call))));
            }
            return acts;
        }
        if !call.began {
            call.began = true;
            acts.push(Act::Say(Said::ForeignStarted(foreign(&id, call))));
        }
        if matches!(status.as_str(), "completed" | "failed") {
            call.ended = true;
            let (item_id, said) = (call.item_id.clone(), outcome(&call.fields));
            acts.push(Act::Say(if status == "failed" {
                let error = if said.is_empty() { "the call failed".to_owned() } else { said };
                Said::ForeignEnded { item_id, result: None, error: Some(crate::agent::tools::clip(error)) }
            } else {
                Said::ForeignEnded { item_id, result: Some(result(said)), error: None }
            }));
        }
        acts
    }

    /// The call that a question is about, told first where it was not.
    pub fn asked(&mut self, update: &Value) -> (Vec<Act>, ForeignCall) {
        let mut acts: Vec<Act> = self.close().into_iter().collect();
        if let Some((id, new)) = self.merge(update)
            && let Some(call) = self.calls.get(&id)
        {
            let call = foreign(&id, call);
            if new {
                acts.push(Act::Say(Said::ForeignPending(call.clone())));
            }
            return (acts, call);
        }
        let item_id = self.ids.fresh().to_string();
        let fields = update.as_object().cloned().unwrap_or_default();
        (acts, foreign("", &Call { item_id, fields, began: false, ended: false }))
    }

    /// The call of this item may begin.
    pub fn begin(&mut self, item_id: &str) -> Option<Act> {
        let (id, call) = self.calls.iter_mut().find(|(_, call)| call.item_id == item_id && !call.began)?;
        call.began = true;
        Some(Act::Say(Said::ForeignStarted(foreign(id, call))))
    }
}

fn foreign(id: &str, call: &Call) -> ForeignCall {
    let field = |key: &str| call.fields.get(key).cloned().unwrap_or(Value::Null);
    let named = |key: &str| call.fields.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
    let places = call.fields.get("locations").and_then(Value::as_array);
    let places: Vec<&str> = places.into_iter().flatten().filter_map(|place| text(place, "path")).collect();
    let places = if places.is_empty() { Value::Null } else { json!(places) };
    let kind = field("kind");
    ForeignCall {
        namespace: NAMESPACE,
        item_id: call.item_id.clone(),
        call_id: id.to_owned(),
        toolkit: NAMESPACE.to_owned(),
        tool: named("name").or(named("kind")).unwrap_or("tool").to_owned(),
        arguments: arguments(&[
            ("title", field("title")),
            ("kind", kind),
            ("input", field("rawInput")),
            ("locations", places),
        ]),
    }
}

/// What a call came to, in words.
fn outcome(fields: &Map<String, Value>) -> String {
    let content = fields.get("content").and_then(Value::as_array);
    let texts = content.into_iter().flatten().filter_map(|piece| match text(piece, "type") {
        Some("content") => piece.get("content").and_then(shown),
        Some("diff") => {
            let path = text(piece, "path").unwrap_or("a file");
            let new = text(piece, "newText").unwrap_or_default();
            Some(match text(piece, "oldText") {
                Some(old) => {
                    format!("{path} changed from {} to {} lines", old.lines().count(), new.lines().count())
                }
                None => format!("{path} written, {} lines", new.lines().count()),
            })
        }
        _ => None,
    });
    let texts: Vec<_> = texts.collect();
    match fields.get("rawOutput").filter(|_| texts.is_empty()) {
        Some(Value::String(text)) => text.clone(),
        Some(output) => output.to_string(),
        None => texts.join("\n"),
    }
}

/// A piece of content as text.
fn shown(content: &Value) -> Option<String> {
    match text(content, "type")? {
        "text" => text(content, "text").map(str::to_owned),
        "resource_link" => {
            let uri = text(content, "uri")?;
            Some(format!("[{}]({uri})", text(content, "name").unwrap_or(uri)))
        }
        "resource" => content.pointer("/resource/text").and_then(Value::as_str).map(str::to_owned),
        other => Some(format!("[{other}]")),
    }
}

fn plan(update: &Value) -> Map<String, Value> {
    let entries = update.get("entries").and_then(Value::as_array);
    let line = |entry: &Value| {
        let status = text(entry, "status").unwrap_or("pending").replace('_', " ");
        text(entry, "content").map(|content| format!("{content} ({status})"))
    };
    let details: Vec<_> = entries.into_iter().flatten().filter_map(line).collect();
    let is_done = |entry: &Value| text(entry, "status") == Some("completed");
    let done = entries.is_some_and(|entries| entries.iter().all(is_done));
    let event = json!({"type": "agent.event", "source": "acp", "name": "acp.plan", "kind": "plan",
        "state": if done { "completed" } else { "in_progress" }, "headline": "Plan",
        "summary": details.join("; "), "details": details});
    event.as_object().cloned().unwrap_or_default()
}

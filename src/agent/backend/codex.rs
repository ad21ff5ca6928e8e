//! The app server of Codex (`codex app-server`), from its client's side: JSON-RPC with threads, turns and items. Codex
//! has its own tools and asks before some of them. Pure.

use super::PROGRAM_ERROR;
use super::dialect::{Act, Dialect, arguments, result};
use super::rpc::{self, Heard, RpcError};
use crate::agent::history::{Item, Part, written};
use crate::agent::provider::{ForeignCall, Said};
use crate::agent::turn::{Failure, Response, Usage};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NAMESPACE: &str = "codex";
/// Questions that may wait for an answer at once.
const ASKED_MAX: usize = 32;
/// Items of one turn; more are not told.
const ITEMS_MAX: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Hello,
    Resuming,
    Starting,
    Turn,
}

/// The protocol's state with one app server.
pub struct Codex {
    folder: String,
    model: String,
    next_id: u64,
    waiting: Option<(u64, Waiting)>,
    wanted: Option<String>,
    thread: String,
    /// The turn that runs, once it has a name.
    turn: Option<String>,
    running: bool,
    stopping: bool,
    items: Vec<Item>,
    /// Texts that came in pieces, by item.
    texts: BTreeMap<String, String>,
    thoughts: BTreeSet<String>,
    calls: BTreeMap<String, ForeignCall>,
    usage: Usage,
    /// Questions, by item.
    asked: BTreeMap<String, Value>,
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn end(message: &str) -> Act {
    Act::End(Err(Failure { message: message.to_owned(), code: PROGRAM_ERROR }))
}

impl Codex {
    /// An app server that works in `folder`, an absolute path, with `model`.
    pub fn new(folder: &str, model: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            model: model.to_owned(),
            next_id: 0,
            waiting: None,
            wanted: None,
            thread: String::new(),
            turn: None,
            running: false,
            stopping: false,
            items: Vec::new(),
            texts: BTreeMap::new(),
            thoughts: BTreeSet::new(),
            calls: BTreeMap::new(),
            usage: Usage::default(),
            asked: BTreeMap::new(),
        }
    }

    fn forget(&mut self) {
        (self.turn, self.running, self.stopping) = (None, false, false);
        self.items.clear();
        self.texts.clear();
        self.thoughts.clear();
        self.calls.clear();
        self.asked.clear();
        self.usage = Usage::default();
    }

    /// The app server takes messages without the version that JSON-RPC writes.
    fn request(&mut self, waiting: Waiting, method: &str, params: &Value) -> Act {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting = Some((id, waiting));
        Act::Send(json!({"id": id, "method": method, "params": params}))
    }

    fn start_thread(&mut self) -> Act {
        let params = json!({"model": self.model, "cwd": self.folder});
        self.request(Waiting::Starting, "thread/start", &params)
    }

    fn answered(&mut self, waiting: Waiting, result: Result<Value, RpcError>) -> Vec<Act> {
        let id = |result: &Value, path: &str| result.pointer(path).and_then(Value::as_str).map(str::to_owned);
        match (waiting, result) {
            (Waiting::Hello, Ok(_)) => {
                let ready = Act::Send(json!({"method": "initialized"}));
                let next = match self.wanted.take() {
                    Some(thread) => {
                        let params = json!({"threadId": thread, "model": self.model, "cwd": self.folder});
                        self.request(Waiting::Resuming, "thread/resume", &params)
                    }
                    None => self.start_thread(),
                };
                vec![ready, next]
            }
            (Waiting::Resuming, Err(error)) => {
                tracing::info!(%error.message, "an earlier thread cannot be resumed; a new one begins");
                vec![self.start_thread()]
            }
            (Waiting::Resuming | Waiting::Starting, Ok(result)) => match id(&result, "/thread/id") {
                Some(thread) => {
                    self.thread.clone_from(&thread);
                    vec![Act::Opened { session: thread, resumed: waiting == Waiting::Resuming }]
                }
                None => vec![end("codex opened a thread without a name")],
            },
            (Waiting::Turn, Ok(result)) => {
                self.turn = id(&result, "/turn/id").or(self.turn.take());
                if self.stopping { self.interrupt().into_iter().collect() } else { Vec::new() }
            }
            (Waiting::Turn, Err(error)) => {
                self.forget();
                vec![end(&format!("codex answered with an error: {}", error.message))]
            }
            (Waiting::Hello | Waiting::Starting, Err(error)) => {
                vec![end(&format!("codex answered with an error: {}", error.message))]
            }
        }
    }

    fn interrupt(&mut self) -> Option<Act> {
        let turn = self.turn.clone()?;
        let id = self.next_id;
        self.next_id += 1;
        let params = json!({"threadId": self.thread, "turnId": turn});
        Some(Act::Send(json!({"id": id, "method": "turn/interrupt", "params": params})))
    }

    fn noted(&mut self, method: &str, params: &Value) -> Vec<Act> {
        if !self.running || text(params, "threadId") != self.thread {
            return Vec::new();
        }
        let item_id = Self::item_id(params, text(params, "itemId"));
        let delta = text(params, "delta").to_owned();
        let item = params.get("item").unwrap_or(&Value::Null);
        match method {
            "turn/started" => {
                let turn = params.pointer("/turn/id").and_then(Value::as_str);
                self.turn = turn.map(str::to_owned).or(self.turn.take());
                Vec::new()
            }
            "item/agentMessage/delta" => self.text(&item_id, delta),
            "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" if !delta.is_empty() => {
                self.thoughts.insert(item_id.clone());
                vec![Act::Say(Said::Reasoning { item_id, delta })]
            }
            "item/commandExecution/outputDelta" if self.calls.contains_key(&item_id) => {
                vec![Act::Say(Said::ForeignLog { item_id, source: "stdout", text: delta })]
            }
            "item/started" => self.began(params, item),
            "item/completed" => self.ended(params, item),
            "thread/tokenUsage/updated" => {
                let tokens = |name: &str| {
                    params.pointer(&format!("/tokenUsage/last/{name}")).and_then(Value::as_u64).unwrap_or(0)
                };
                self.usage =
                    Usage { input_tokens: tokens("inputTokens"), output_tokens: tokens("outputTokens") };
                Vec::new()
            }
            "turn/plan/updated" => vec![Act::Say(Said::Notice(plan(params)))],
            "error" if params.get("willRetry").and_then(Value::as_bool) == Some(true) => {
                let why = params.pointer("/error/message").and_then(Value::as_str).unwrap_or("an error");
                vec![Act::Say(Said::Notice(retried(why)))]
            }
            "turn/completed" => self.completed(params.get("turn").unwrap_or(&Value::Null)),
            _ => Vec::new(),
        }
    }

    /// Items are numbered anew by some versions, so the turn is part of their names.
    fn item_id(params: &Value, id: &str) -> String {
        format!("{}:{id}", text(params, "turnId"))
    }

    fn text(&mut self, item_id: &str, delta: String) -> Vec<Act> {
        if delta.is_empty() || (self.texts.len() >= ITEMS_MAX && !self.texts.contains_key(item_id)) {
            return Vec::new();
        }
        self.texts.entry(item_id.to_owned()).or_default().push_str(&delta);
        vec![Act::Say(Said::Text { item_id: item_id.to_owned(), phase: None, delta })]
    }

    fn began(&mut self, params: &Value, item: &Value) -> Vec<Act> {
        let item_id = Self::item_id(params, text(item, "id"));
        let Some(call) = call(&item_id, item).filter(|_| self.calls.len() < ITEMS_MAX) else {
            return Vec::new();
        };
        self.calls.insert(item_id, call.clone());
        vec![Act::Say(Said::ForeignStarted(call))]
    }

    fn ended(&mut self, params: &Value, item: &Value) -> Vec<Act> {
        let item_id = Self::item_id(params, text(item, "id"));
        match text(item, "type") {
            "agentMessage" => {
                let mut acts = match self.texts.get(&item_id) {
                    Some(_) => Vec::new(),
                    None => self.text(&item_id, text(item, "text").to_owned()),
                };
                if let Some(text) = self.texts.remove(&item_id) {
                    self.items.push(Item::Answer { text, phase: None });
                    acts.push(Act::Say(Said::TextEnded { item_id, phase: None }));
                }
                acts
            }
            "reasoning" if self.thoughts.remove(&item_id) => {
                vec![Act::Say(Said::ReasoningEnded { item_id, metadata: Map::new() })]
            }
            _ => {
                let mut acts =
                    if self.calls.contains_key(&item_id) { Vec::new() } else { self.began(params, item) };
                if self.calls.remove(&item_id).is_some() {
                    let (result, error) = outcome(item);
                    acts.push(Act::Say(Said::ForeignEnded { item_id, result, error }));
                }
                acts
            }
        }
    }

    fn completed(&mut self, turn: &Value) -> Vec<Act> {
        let is_other = self.turn.as_deref().is_some_and(|own| own != text(turn, "id"));
        if is_other {
            return Vec::new();
        }
        let mut acts = Vec::new();
        for (item_id, text) in std::mem::take(&mut self.texts) {
            self.items.push(Item::Answer { text, phase: None });
            acts.push(Act::Say(Said::TextEnded { item_id, phase: None }));
        }
        for item_id in std::mem::take(&mut self.calls).into_keys() {
            let error = Some("the turn ended and nothing was said of the call's end".to_owned());
            acts.push(Act::Say(Said::ForeignEnded { item_id, result: None, error }));
        }
        let response = Response {
            items: std::mem::take(&mut self.items),
            usage: self.usage,
            said: true,
            ..Response::default()
        };
        let failed = |message: &str, code| Err(Failure { message: message.to_owned(), code });
        let why = turn.pointer("/error/message").and_then(Value::as_str);
        let outcome = match text(turn, "status") {
            "completed" => Ok(response),
            "interrupted" => failed("codex stopped the turn by itself", "cancelled"),
            _ => failed(&format!("codex: {}", why.unwrap_or("the turn failed")), PROGRAM_ERROR),
        };
        self.forget();
        acts.push(Act::End(outcome));
        acts
    }

    fn requested(&mut self, id: Value, method: &str, params: &Value) -> Vec<Act> {
        let tool = match method {
            "item/commandExecution/requestApproval" => "command",
            "item/fileChange/requestApproval" => "file_change",
            other => {
                let text = format!("this client does not offer {other}");
                return vec![Act::Send(rpc::refusal(&id, rpc::NO_METHOD, &text))];
            }
        };
        let here = self.running && text(params, "threadId") == self.thread;
        if !here || self.asked.len() >= ASKED_MAX {
            return vec![decision(&id, "decline")];
        }
        let item_id = Self::item_id(params, text(params, "itemId"));
        let mut call = self.calls.get(&item_id).cloned().unwrap_or_else(|| {
            let field = |key: &str| params.get(key).cloned().unwrap_or(Value::Null);
            let given = arguments(&[("command", field("command")), ("cwd", field("cwd"))]);
            foreign(&item_id, text(params, "itemId"), NAMESPACE, tool, given)
        });
        if let Some(reason) = params.get("reason").filter(|reason| reason.is_string()) {
            call.arguments.insert("reason".to_owned(), reason.clone());
        }
        let mut acts = Vec::new();
        if let Some(before) = self.asked.insert(item_id, id) {
            acts.push(decision(&before, "decline"));
        }
        acts.push(Act::Ask(call));
        acts
    }
}

impl Dialect for Codex {
    fn name(&self) -> &'static str {
        NAMESPACE
    }

    fn open(&mut self, session: Option<&str>) -> Vec<Act> {
        self.forget();
        self.wanted = session.map(str::to_owned);
        let client = json!({"name": "meshagent", "title": "MeshAgent", "version": env!("CARGO_PKG_VERSION")});
        vec![self.request(Waiting::Hello, "initialize", &json!({"clientInfo": client}))]
    }

    fn prompt(&mut self, parts: &[Part]) -> Vec<Act> {
        self.forget();
        self.running = true;
        let input: Vec<_> = parts.iter().map(input).collect();
        let params =
            json!({"threadId": self.thread, "input": input, "model": self.model, "cwd": self.folder});
        vec![self.request(Waiting::Turn, "turn/start", &params)]
    }

    fn hear(&mut self, heard: Heard) -> Vec<Act> {
        match heard {
            Heard::Answer { id, result } => match self.waiting.take_if(|(of, _)| *of == id) {
                Some((_, waiting)) => self.answered(waiting, result),
                None => Vec::new(),
            },
            Heard::Request { id, method, params } => self.requested(id, &method, &params),
            Heard::Note { method, params } => self.noted(&method, &params),
        }
    }

    fn permit(&mut self, item_id: &str, approved: bool) -> Vec<Act> {
        let id = self.asked.remove(item_id);
        id.map(|id| decision(&id, if approved { "accept" } else { "decline" })).into_iter().collect()
    }

    fn cancel(&mut self) -> Vec<Act> {
        self.stopping = true;
        let asked = std::mem::take(&mut self.asked).into_values();
        let mut acts: Vec<_> = asked.map(|id| decision(&id, "cancel")).collect();
        acts.extend(self.interrupt());
        acts
    }
}

fn decision(id: &Value, decision: &str) -> Act {
    Act::Send(json!({"id": id, "result": {"decision": decision}}))
}

fn input(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Sound { text, .. } => json!({"type": "text", "text": written(text.as_deref())}),
        Part::Link { url, .. } => json!({"type": "text", "text": url}),
        Part::File { mime_type, data, .. } if mime_type.starts_with("image/") => {
            json!({"type": "image", "url": format!("data:{mime_type};base64,{}", STANDARD.encode(data))})
        }
        Part::File { name, mime_type, data } => match std::str::from_utf8(data) {
            Ok(text) => json!({"type": "text", "text": format!("File {name}:\n{text}")}),
            Err(_) => {
                let text = format!("[file {name}, {mime_type}, {} bytes, cannot be shown here]", data.len());
                json!({"type": "text", "text": text})
            }
        },
    }
}

fn foreign(item_id: &str, id: &str, toolkit: &str, tool: &str, arguments: Map<String, Value>) -> ForeignCall {
    ForeignCall {
        namespace: NAMESPACE,
        item_id: item_id.to_owned(),
        call_id: id.to_owned(),
        toolkit: toolkit.to_owned(),
        tool: tool.to_owned(),
        arguments,
    }
}

/// An item that is a call.
fn call(item_id: &str, item: &Value) -> Option<ForeignCall> {
    let field = |key: &str| item.get(key).cloned().unwrap_or(Value::Null);
    let (toolkit, tool, given) = match text(item, "type") {
        "commandExecution" => {
            (NAMESPACE, "command", arguments(&[("command", field("command")), ("cwd", field("cwd"))]))
        }
        "fileChange" => (NAMESPACE, "file_change", arguments(&[("changes", field("changes"))])),
        "mcpToolCall" => {
            (text(item, "server"), text(item, "tool"), arguments(&[("input", field("arguments"))]))
        }
        "webSearch" => (NAMESPACE, "web_search", arguments(&[("query", field("query"))])),
        _ => return None,
    };
    Some(foreign(item_id, text(item, "id"), toolkit, tool, given))
}

/// The result of an item that is a call, or its error.
fn outcome(item: &Value) -> (Option<Value>, Option<String>) {
    let status = text(item, "status");
    let said = item.pointer("/error/message").and_then(Value::as_str);
    let output = match item.get("aggregatedOutput").or(item.get("result")) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    let code = item.get("exitCode").and_then(Value::as_i64);
    match status {
        "failed" => {
            let why = said.map_or_else(
                || match code {
                    Some(code) => format!("exit code {code}\n{output}"),
                    None => "the call failed".to_owned(),
                },
                str::to_owned,
            );
            (None, Some(crate::agent::tools::clip(why)))
        }
        "declined" => (None, Some("the call was not approved".to_owned())),
        _ => (Some(result(output)), None),
    }
}

fn plan(params: &Value) -> Map<String, Value> {
    let steps = params.get("plan").and_then(Value::as_array);
    let line = |step: &Value| format!("{} ({})", text(step, "step"), text(step, "status"));
    let details: Vec<_> = steps.into_iter().flatten().map(line).collect();
    let done = steps.is_some_and(|steps| steps.iter().all(|step| text(step, "status") == "completed"));
    let event = json!({"type": "agent.event", "source": NAMESPACE, "name": "codex.plan", "kind": "plan",
        "state": if done { "completed" } else { "in_progress" }, "headline": "Plan",
        "summary": details.join("; "), "details": details});
    event.as_object().cloned().unwrap_or_default()
}

fn retried(why: &str) -> Map<String, Value> {
    let event = json!({"type": "agent.event", "source": NAMESPACE, "name": "codex.retry", "kind": "message",
        "state": "in_progress", "headline": "Trying again", "summary": why, "details": [why]});
    event.as_object().cloned().unwrap_or_default()
}

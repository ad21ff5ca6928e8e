//! The Agent Client Protocol, version 1, from the client's side: handshake, sessions, prompts, permissions. What a
//! session tells of a turn is read by [`updates`]. Pure.

mod updates;

use super::PROGRAM_ERROR;
use super::dialect::{Act, Dialect, Wanted};
use super::rpc::{self, Heard, RpcError};
use crate::agent::history::{Part, written};
use crate::agent::provider::Said;
use crate::agent::turn::{Failure, Response, Usage};
use crate::clock::IdSource;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use updates::Updates;

/// The version that is spoken.
const VERSION: u64 = 1;
/// Questions that may wait for an answer at once.
const ASKED_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Hello,
    Loading,
    Opening,
    Prompt,
}

/// A question whether a call may be made.
struct Asked {
    id: Value,
    allow: Option<String>,
    reject: Option<String>,
}

/// The protocol's state with one program.
pub struct Acp {
    folder: String,
    ids: Arc<dyn IdSource>,
    next_id: u64,
    waiting: Option<(u64, Waiting)>,
    /// To go on with.
    wanted: Option<String>,
    session: String,
    can_load: bool,
    can_image: bool,
    can_embed: bool,
    updates: Updates,
    asked: BTreeMap<String, Asked>,
}

impl Acp {
    /// A program that works in `folder`, an absolute path.
    pub fn new(folder: &str, ids: Arc<dyn IdSource>) -> Self {
        Self {
            folder: folder.to_owned(),
            updates: Updates::new(ids.clone()),
            ids,
            next_id: 0,
            waiting: None,
            wanted: None,
            session: String::new(),
            can_load: false,
            can_image: false,
            can_embed: false,
            asked: BTreeMap::new(),
        }
    }

    fn request(&mut self, waiting: Waiting, method: &str, params: &Value) -> Act {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting = Some((id, waiting));
        Act::Send(rpc::request(id, method, params))
    }

    fn answered(&mut self, waiting: Waiting, result: Result<Value, RpcError>) -> Vec<Act> {
        match (waiting, result) {
            (Waiting::Hello, Ok(result)) => self.greeted(&result),
            (Waiting::Loading, Ok(_)) => self.opened(true),
            (Waiting::Loading, Err(error)) => {
                tracing::info!(%error.message, "an earlier session cannot be loaded; a new one begins");
                vec![self.new_session()]
            }
            (Waiting::Opening, Ok(result)) => match result.get("sessionId").and_then(Value::as_str) {
                Some(session) => {
                    session.clone_into(&mut self.session);
                    self.opened(false)
                }
                None => vec![end("the program opened a session without a name")],
            },
            (Waiting::Prompt, Ok(result)) => self.prompted(&result),
            (Waiting::Prompt, Err(error)) => {
                let mut acts = self.updates.end();
                self.updates.take();
                self.asked.clear();
                acts.push(refused(&error));
                acts
            }
            (Waiting::Hello | Waiting::Opening, Err(error)) => vec![refused(&error)],
        }
    }

    fn greeted(&mut self, result: &Value) -> Vec<Act> {
        let version = result.get("protocolVersion").and_then(Value::as_u64);
        if version != Some(VERSION) {
            let theirs = version.map_or("none".to_owned(), |version| version.to_string());
            return vec![end(&format!(
                "the program speaks version {theirs} of the protocol; want {VERSION}"
            ))];
        }
        let can = |path: &str| result.pointer(path).and_then(Value::as_bool) == Some(true);
        self.can_load = can("/agentCapabilities/loadSession");
        self.can_image = can("/agentCapabilities/promptCapabilities/image");
        self.can_embed = can("/agentCapabilities/promptCapabilities/embeddedContext");
        match self.wanted.take().filter(|_| self.can_load) {
            Some(session) => {
                let params = json!({"sessionId": session, "cwd": self.folder, "mcpServers": []});
                self.session = session;
                vec![self.request(Waiting::Loading, "session/load", &params)]
            }
            None => vec![self.new_session()],
        }
    }

    fn new_session(&mut self) -> Act {
        let params = json!({"cwd": self.folder, "mcpServers": []});
        self.request(Waiting::Opening, "session/new", &params)
    }

    fn opened(&mut self, resumed: bool) -> Vec<Act> {
        vec![Act::Opened { session: self.session.clone(), resumed }]
    }

    /// The turn is over.
    fn prompted(&mut self, result: &Value) -> Vec<Act> {
        let mut acts = self.updates.end();
        let items = self.updates.take();
        self.asked.clear();
        let tokens =
            |name: &str| result.pointer(&format!("/usage/{name}")).and_then(Value::as_u64).unwrap_or(0);
        let usage = Usage { input_tokens: tokens("inputTokens"), output_tokens: tokens("outputTokens") };
        let response = Response { items, usage, said: true, ..Response::default() };
        let failed = |message: &str, code| Err(Failure { message: message.to_owned(), code });
        let outcome = match result.get("stopReason").and_then(Value::as_str) {
            Some("end_turn") => Ok(response),
            Some(reason @ ("max_tokens" | "max_turn_requests")) => {
                acts.push(Act::Say(Said::Notice(cut_short(reason))));
                Ok(Response { incomplete: true, ..response })
            }
            Some("refusal") => failed("the program refused to go on", "refusal"),
            Some("cancelled") => failed("the program stopped the turn by itself", "cancelled"),
            other => {
                failed(&format!("the program ended the turn as `{}`", other.unwrap_or("")), PROGRAM_ERROR)
            }
        };
        acts.push(Act::End(outcome));
        acts
    }

    /// The last a program says of a session before it is opened is what was said there; that is stored already.
    fn is_in_turn(&self) -> bool {
        matches!(self.waiting, Some((_, Waiting::Prompt)))
    }

    fn requested(&mut self, id: Value, method: &str, params: &Value) -> Vec<Act> {
        let of_session = params.get("sessionId").and_then(Value::as_str) == Some(self.session.as_str());
        match method {
            _ if !of_session => {
                vec![Act::Send(rpc::refusal(&id, rpc::BAD_PARAMS, "there is no such session"))]
            }
            "session/request_permission" => self.asks(id, params),
            "fs/read_text_file" => {
                let number = |key: &str| params.get(key).and_then(Value::as_u64);
                let wanted = Wanted::Read { line: number("line"), limit: number("limit") };
                file(id, params, Some(wanted))
            }
            "fs/write_text_file" => {
                let text = params.get("content").and_then(Value::as_str);
                file(id, params, text.map(|text| Wanted::Write { text: text.to_owned() }))
            }
            other => {
                let text = format!("this client does not offer {other}");
                vec![Act::Send(rpc::refusal(&id, rpc::NO_METHOD, &text))]
            }
        }
    }

    fn asks(&mut self, id: Value, params: &Value) -> Vec<Act> {
        let option = |kind: &str| {
            let mut all = params.get("options").and_then(Value::as_array).into_iter().flatten();
            let found = all.find(|option| option.get("kind").and_then(Value::as_str) == Some(kind))?;
            found.get("optionId").and_then(Value::as_str).map(str::to_owned)
        };
        // Only once: what is asked here is this call. A program that offers no such thing hears that nobody answers.
        let asked = Asked { id, allow: option("allow_once"), reject: option("reject_once") };
        if !self.is_in_turn() || self.asked.len() >= ASKED_MAX {
            return vec![permission(&asked.id, asked.reject.as_deref())];
        }
        let (mut acts, call) = self.updates.asked(params.get("toolCall").unwrap_or(&Value::Null));
        let item_id = call.item_id.clone();
        if let Some(before) = self.asked.insert(item_id, asked) {
            acts.push(permission(&before.id, None));
        }
        acts.push(Act::Ask(call));
        acts
    }

    fn block(&self, part: &Part) -> Value {
        match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Sound { text, .. } => json!({"type": "text", "text": written(text.as_deref())}),
            Part::Link { name, url } => {
                let name = name.as_deref().unwrap_or_else(|| url.rsplit('/').next().unwrap_or(url));
                json!({"type": "resource_link", "name": name, "uri": url})
            }
            Part::File { mime_type, data, .. } if self.can_image && mime_type.starts_with("image/") => {
                json!({"type": "image", "mimeType": mime_type, "data": STANDARD.encode(data)})
            }
            Part::File { name, mime_type, data } => match std::str::from_utf8(data) {
                Ok(text) if self.can_embed => json!({"type": "resource", "resource": {
                    "uri": format!("attachment:///{}", self.ids.fresh()), "mimeType": mime_type, "text": text}}),
                Ok(text) => json!({"type": "text", "text": format!("File {name}:\n{text}")}),
                Err(_) => {
                    let text =
                        format!("[file {name}, {mime_type}, {} bytes, cannot be shown here]", data.len());
                    json!({"type": "text", "text": text})
                }
            },
        }
    }
}

impl Dialect for Acp {
    fn name(&self) -> &'static str {
        "acp"
    }

    fn open(&mut self, session: Option<&str>) -> Vec<Act> {
        self.wanted = session.map(str::to_owned);
        self.asked.clear();
        self.updates.forget();
        let params = json!({
            "protocolVersion": VERSION,
            "clientCapabilities": {"fs": {"readTextFile": true, "writeTextFile": true}, "terminal": false},
            "clientInfo": {"name": "meshagent", "title": "MeshAgent", "version": env!("CARGO_PKG_VERSION")},
        });
        vec![self.request(Waiting::Hello, "initialize", &params)]
    }

    fn prompt(&mut self, parts: &[Part]) -> Vec<Act> {
        self.updates.forget();
        let blocks: Vec<_> = parts.iter().map(|part| self.block(part)).collect();
        let params = json!({"sessionId": self.session, "prompt": blocks});
        vec![self.request(Waiting::Prompt, "session/prompt", &params)]
    }

    fn hear(&mut self, heard: Heard) -> Vec<Act> {
        match heard {
            Heard::Answer { id, result } => match self.waiting.take_if(|(of, _)| *of == id) {
                Some((_, waiting)) => self.answered(waiting, result),
                None => Vec::new(),
            },
            Heard::Request { id, method, params } => self.requested(id, &method, &params),
            Heard::Note { method, params } if method == "session/update" && self.is_in_turn() => {
                let of_session =
                    params.get("sessionId").and_then(Value::as_str) == Some(self.session.as_str());
                let update = params.get("update").filter(|_| of_session);
                update.map(|update| self.updates.read(update)).unwrap_or_default()
            }
            Heard::Note { .. } => Vec::new(),
        }
    }

    fn permit(&mut self, item_id: &str, approved: bool) -> Vec<Act> {
        let Some(asked) = self.asked.remove(item_id) else { return Vec::new() };
        let mut acts = Vec::new();
        if approved && asked.allow.is_some() {
            acts.extend(self.updates.begin(item_id));
        }
        let chosen = if approved { &asked.allow } else { &asked.reject };
        acts.push(permission(&asked.id, chosen.as_deref()));
        acts
    }

    fn cancel(&mut self) -> Vec<Act> {
        let mut acts = vec![Act::Send(rpc::note("session/cancel", &json!({"sessionId": self.session})))];
        let asked = std::mem::take(&mut self.asked).into_values();
        acts.extend(asked.map(|asked| permission(&asked.id, None)));
        acts
    }
}

/// The answer to a question: the chosen option, or that none was chosen.
fn permission(id: &Value, option: Option<&str>) -> Act {
    let outcome = match option {
        Some(option) => json!({"outcome": "selected", "optionId": option}),
        None => json!({"outcome": "cancelled"}),
    };
    Act::Send(rpc::answer(id, &json!({"outcome": outcome})))
}

fn file(id: Value, params: &Value, wanted: Option<Wanted>) -> Vec<Act> {
    match (params.get("path").and_then(Value::as_str), wanted) {
        (Some(path), Some(wanted)) => vec![Act::File { id, path: path.to_owned(), wanted }],
        _ => vec![Act::Send(rpc::refusal(&id, rpc::BAD_PARAMS, "want a path, and text to write"))],
    }
}

fn end(message: &str) -> Act {
    Act::End(Err(Failure { message: message.to_owned(), code: PROGRAM_ERROR }))
}

fn refused(error: &RpcError) -> Act {
    if error.code == rpc::SIGN_IN {
        return end(&format!(
            "the program wants its user to sign in first ({}); sign in with it outside, or give it a key with --program-env",
            error.message
        ));
    }
    end(&format!("the program answered with an error: {}", error.message))
}

fn cut_short(reason: &str) -> Map<String, Value> {
    let text = match reason {
        "max_tokens" => "The answer was cut short: it had too many tokens",
        _ => "The turn was cut short: the program had asked its model too often",
    };
    let event = json!({"type": "agent.event", "source": "acp", "name": "acp.stopped", "kind": "message",
        "state": "completed", "headline": "Stopped early", "summary": text, "details": [text]});
    event.as_object().cloned().unwrap_or_default()
}

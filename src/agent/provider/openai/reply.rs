//! What a stream of Responses events amounts to. Pure: events in, a response or a refusal out.

use super::computer;
use super::native::Native;
use crate::agent::history::Item;
use crate::agent::provider::endpoint::{Refusal, Reply};
use crate::agent::provider::names::Names;
use crate::agent::provider::{ITEMS_MAX, Said};
use crate::agent::tools::{COMPUTER, COMPUTER_CALL};
use crate::agent::turn::{Response, Usage};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Error codes that may pass.
const PASSING_CODES: [&str; 3] = ["server_error", "rate_limit_exceeded", "overloaded"];

/// An answer being received.
pub(super) struct Answer<'a> {
    /// Whose answer it is.
    provider: &'static str,
    names: &'a Names,
    items: Vec<Item>,
    said: Vec<Said>,
    /// Phases of the messages that come in, by item id.
    phases: BTreeMap<String, Option<String>>,
}

impl<'a> Answer<'a> {
    pub fn new(provider: &'static str, names: &'a Names) -> Self {
        Self { provider, names, items: Vec::new(), said: Vec::new(), phases: BTreeMap::new() }
    }

    fn hear(&mut self, kind: &str, event: &Value) {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let item = |key: &str| {
            event.pointer(&format!("/item/{key}")).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (item_id, delta) = (text("item_id"), text("delta"));
        match kind {
            "response.output_item.added" if item("type") == "message" => {
                self.phases.insert(item("id"), Some(item("phase")).filter(|phase| !phase.is_empty()));
            }
            "response.output_item.added" if item("type") == "function_call" => {
                let (toolkit, tool) = self.names.tool(&item("name"));
                self.said.push(Said::CallPending {
                    item_id: item("id"),
                    call_id: item("call_id"),
                    toolkit,
                    tool,
                });
            }
            "response.output_item.added" if item("type") == "computer_call" => {
                let (toolkit, tool) = (COMPUTER.to_owned(), COMPUTER_CALL.to_owned());
                let (item_id, call_id) = (item("id"), item("call_id"));
                self.said.push(Said::CallPending { item_id, call_id, toolkit, tool });
            }
            "response.output_item.added" if Native::called(&item("type")).is_some() => {
                let tool = Native::called(&item("type")).map(Native::tool).unwrap_or_default();
                let (toolkit, tool) = (tool.to_owned(), tool.to_owned());
                let (item_id, call_id) = (item("id"), item("call_id"));
                self.said.push(Said::CallPending { item_id, call_id, toolkit, tool });
            }
            "response.output_item.added" if item("type") == "web_search_call" => {
                self.said.push(search(item("id"), event.pointer("/item/action"), false));
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                let phase = self.phases.get(&item_id).cloned().flatten();
                self.said.push(Said::Text { item_id, phase, delta });
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.said.push(Said::Reasoning { item_id, delta });
            }
            "response.function_call_arguments.delta" => {
                self.said.push(Said::CallArguments { item_id, delta });
            }
            "response.output_item.done" => self.hear_end(event),
            _ => {}
        }
    }

    /// The end of an item; one whose pieces did not come is told whole.
    fn hear_end(&mut self, event: &Value) {
        let Some(item) = event.get("item") else { return };
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        let item_id = text("id").to_owned();
        match text("type") {
            "message" => {
                let phase = item.get("phase").and_then(Value::as_str).map(str::to_owned);
                if self.phases.remove(&item_id).is_none()
                    && let Some(Item::Answer { text, phase }) = self.item(item)
                {
                    self.said.push(Said::Text { item_id: item_id.clone(), phase, delta: text });
                }
                self.said.push(Said::TextEnded { item_id, phase });
            }
            "web_search_call" => self.said.push(search(item_id, item.get("action"), true)),
            "reasoning" => {
                let content = item.get("encrypted_content").filter(|content| content.is_string());
                let metadata = content.map(|content| json!({"openai": {"encrypted_content": content}}));
                let metadata = metadata.and_then(|m| m.as_object().cloned()).unwrap_or_default();
                self.said.push(Said::ReasoningEnded { item_id, metadata });
            }
            _ => {}
        }
    }

    fn response(&mut self, event: &Value, incomplete: bool) -> Response {
        let count = |name: &str| {
            event.pointer(&format!("/response/usage/{name}")).and_then(Value::as_u64).unwrap_or(0)
        };
        // Some endpoints send the items with the last event only.
        let said = !self.items.is_empty();
        if self.items.is_empty() {
            let output = event.pointer("/response/output").and_then(Value::as_array);
            let items: Vec<_> =
                output.into_iter().flatten().take(ITEMS_MAX).filter_map(|i| self.item(i)).collect();
            self.items = items;
        }
        Response {
            items: std::mem::take(&mut self.items),
            usage: Usage { input_tokens: count("input_tokens"), output_tokens: count("output_tokens") },
            incomplete,
            paused: false,
            said,
        }
    }

    fn item(&self, item: &Value) -> Option<Item> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "message" => {
                let content = item.get("content").and_then(Value::as_array);
                let texts = content.into_iter().flatten().filter_map(|part| {
                    part.get("text").or_else(|| part.get("refusal")).and_then(Value::as_str)
                });
                let phase = item.get("phase").and_then(Value::as_str).map(str::to_owned);
                Some(Item::Answer { text: texts.collect(), phase })
            }
            "function_call" => {
                let id = text("call_id").to_owned();
                let item_id = text("id").to_owned();
                Some(Item::Call(self.names.call(id, item_id, text("name"), text("arguments").to_owned())))
            }
            "computer_call" => Some(Item::Call(computer::call(item))),
            kind if Native::called(kind).is_some() => {
                Native::called(kind).map(|native| Item::Call(native.read(item)))
            }
            // Without its encrypted form a reasoning item means nothing to the endpoint, which stores none of it.
            "reasoning" => item.get("encrypted_content").filter(|c| c.is_string()).map(|_| {
                let mut kept = item.clone();
                if let Some(fields) = kept.as_object_mut() {
                    fields.remove("status");
                }
                Item::opaque(self.provider, kept)
            }),
            _ => None,
        }
    }
}

impl Reply for Answer<'_> {
    fn on(&mut self, event: &Value) -> Option<Result<Response, Refusal>> {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        self.hear(kind, event);
        match kind {
            "response.output_item.done" => {
                if self.items.len() == ITEMS_MAX {
                    return Some(Err(Refusal::Final(format!("the answer has more than {ITEMS_MAX} items"))));
                }
                let item = event.get("item").and_then(|item| self.item(item));
                self.items.extend(item);
                None
            }
            "response.completed" => Some(Ok(self.response(event, false))),
            "response.incomplete" => Some(Ok(self.response(event, true))),
            "response.failed" => Some(Err(refusal(event.pointer("/response/error")))),
            "error" => Some(Err(refusal(event.get("error").or(Some(event))))),
            _ => None,
        }
    }

    fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }
}

/// A search that the provider does.
fn search(item_id: String, action: Option<&Value>, ended: bool) -> Said {
    Said::ProviderTool {
        namespace: "openai.responses",
        item_id,
        toolkit: "openai".to_owned(),
        tool: "web_search".to_owned(),
        arguments: action.and_then(Value::as_object).cloned(),
        ended,
    }
}

fn refusal(error: Option<&Value>) -> Refusal {
    let text = |key: &str| error.and_then(|e| e.get(key)).and_then(Value::as_str);
    let code = text("code").unwrap_or_default();
    let message = text("message").unwrap_or("the model failed without a reason");
    let full = if code.is_empty() { message.to_owned() } else { format!("{message} ({code})") };
    if PASSING_CODES.contains(&code) { Refusal::Passing(full) } else { Refusal::Final(full) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reasoning_calls_and_usage_are_gathered() {
        let names = Names::default();
        let mut reply = Answer::new("grok", &names);
        for item in [
            json!({"type": "reasoning", "id": "r", "encrypted_content": "x", "status": "completed"}),
            json!({"type": "reasoning", "id": "r2"}),
            json!({"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]}),
            json!({"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}),
            json!({"type": "web_search_call"}),
        ] {
            assert_eq!(reply.on(&json!({"type": "response.output_item.done", "item": item})), None);
        }
        assert_eq!(reply.on(&json!({"type": "response.output_text.delta", "delta": "a"})), None);
        let usage = json!({"input_tokens": 7, "output_tokens": 3});
        let done =
            reply.on(&json!({"type": "response.completed", "response": {"usage": usage}})).unwrap().unwrap();
        assert_eq!(done.usage, Usage { input_tokens: 7, output_tokens: 3 });
        assert_eq!(done.items.len(), 3);
        assert_eq!(
            done.items[0],
            Item::opaque("grok", json!({"type": "reasoning", "id": "r", "encrypted_content": "x"}))
        );
        assert_eq!(done.items[1], Item::Answer { text: "ab".into(), phase: Some("commentary".into()) });
        assert!(matches!(&done.items[2], Item::Call(call) if call.tool == "n"));
    }

    #[test]
    fn calls_of_native_tools_are_calls_as_all_others() {
        let names = Names::default();
        let mut reply = Answer::new("openai", &names);
        let operation = json!({"type": "create_file", "path": "a", "diff": "+x"});
        let item = json!({"type": "apply_patch_call", "id": "i", "call_id": "c", "operation": operation});
        reply.on(&json!({"type": "response.output_item.added", "item": item}));
        reply.on(&json!({"type": "response.output_item.done", "item": item}));
        let said = reply.take_said();
        assert!(matches!(&said[..], [Said::CallPending { tool, .. }] if tool == "apply_patch"), "{said:?}");
        let done = reply.on(&json!({"type": "response.completed", "response": {}})).unwrap().unwrap();
        let [Item::Call(call)] = &done.items[..] else { panic!("{done:?}") };
        assert_eq!((call.tool.as_str(), call.id.as_str()), ("apply_patch", "c"));
        assert_eq!(call.arguments, operation.to_string());
    }

    #[test]
    fn failures_tell_whether_they_may_pass() {
        let names = Names::default();
        let on = |event: Value| Answer::new("openai", &names).on(&event).unwrap();
        let failed = |code: &str| json!({"type": "response.failed", "response": {"error": {"code": code, "message": "m"}}});
        assert_eq!(on(failed("server_error")), Err(Refusal::Passing("m (server_error)".into())));
        assert_eq!(on(failed("invalid_prompt")), Err(Refusal::Final("m (invalid_prompt)".into())));
        assert_eq!(on(json!({"type": "error", "message": "m"})), Err(Refusal::Final("m".into())));
        assert!(on(json!({"type": "response.incomplete", "response": {}})).unwrap().incomplete);
    }
}

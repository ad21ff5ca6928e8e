//! What a stream of Messages events amounts to. Pure.

use super::PROVIDER;
use crate::agent::history::Item;
use crate::agent::provider::endpoint::{Refusal, Reply};
use crate::agent::provider::names::Names;
use crate::agent::provider::{ITEMS_MAX, Said};
use crate::agent::turn::{Response, Usage};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Kinds of errors that may pass.
const PASSING_KINDS: [&str; 3] = ["overloaded_error", "api_error", "rate_limit_error"];

/// A block that comes in.
enum Block {
    Text(String),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    /// Thoughts go back as they came, with the signature.
    Thought(Map<String, Value>),
    /// A tool that the provider runs, and what it gave; both go back as they came.
    Own {
        block: Map<String, Value>,
        input: String,
    },
    Other,
}

/// An answer that comes in.
pub(super) struct Answer<'a> {
    names: &'a Names,
    said: Vec<Said>,
    id: String,
    open: BTreeMap<u64, Block>,
    items: Vec<Item>,
    usage: Usage,
    stop: String,
}

impl<'a> Answer<'a> {
    pub fn new(names: &'a Names) -> Self {
        Self {
            names,
            said: Vec::new(),
            id: String::new(),
            open: BTreeMap::new(),
            items: Vec::new(),
            usage: Usage::default(),
            stop: String::new(),
        }
    }

    fn item_id(&self, index: u64) -> String {
        format!("{}-{index}", self.id)
    }

    fn begin(&mut self, index: u64, block: &Value) -> Result<(), Refusal> {
        if self.open.len() + self.items.len() >= ITEMS_MAX {
            return Err(Refusal::Final(format!("the answer has more than {ITEMS_MAX} items")));
        }
        let text = |key: &str| block.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let begun = match text("type").as_str() {
            "text" => Block::Text(String::new()),
            "tool_use" => {
                let (toolkit, tool) = self.names.tool(&text("name"));
                let item_id = self.item_id(index);
                self.said.push(Said::CallPending { item_id, call_id: text("id"), toolkit, tool });
                Block::Call { id: text("id"), name: text("name"), arguments: String::new() }
            }
            "thinking" | "redacted_thinking" => {
                Block::Thought(block.as_object().cloned().unwrap_or_default())
            }
            "server_tool_use" | "web_search_tool_result" => {
                if text("type") == "server_tool_use" {
                    self.said.push(own_tool(self.item_id(index), text("name"), None, false));
                }
                Block::Own { block: block.as_object().cloned().unwrap_or_default(), input: String::new() }
            }
            _ => Block::Other,
        };
        self.open.insert(index, begun);
        // A block may begin with a part of its text.
        if text("type") == "text" {
            self.more(index, "text", &text("text"));
        }
        Ok(())
    }

    fn more(&mut self, index: u64, what: &str, delta: &str) {
        if delta.is_empty() {
            return;
        }
        let item_id = self.item_id(index);
        let delta = delta.to_owned();
        match (self.open.get_mut(&index), what) {
            (Some(Block::Text(text)), "text") => {
                text.push_str(&delta);
                self.said.push(Said::Text { item_id, phase: None, delta });
            }
            (Some(Block::Call { arguments, .. }), "partial_json") => {
                arguments.push_str(&delta);
                self.said.push(Said::CallArguments { item_id, delta });
            }
            (Some(Block::Own { input, .. }), "partial_json") => input.push_str(&delta),
            (Some(Block::Thought(kept)), "thinking" | "signature") => {
                let before = kept.get(what).and_then(Value::as_str).unwrap_or_default();
                kept.insert(what.to_owned(), Value::String(format!("{before}{delta}")));
                if what == "thinking" {
                    self.said.push(Said::Reasoning { item_id, delta });
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, index: u64) {
        let item_id = self.item_id(index);
        match self.open.remove(&index) {
            Some(Block::Text(text)) if !text.is_empty() => {
                self.said.push(Said::TextEnded { item_id, phase: None });
                self.items.push(Item::Answer { text, phase: None });
            }
            Some(Block::Call { id, name, arguments }) => {
                let arguments = if arguments.is_empty() { "{}".to_owned() } else { arguments };
                self.items.push(Item::Call(self.names.call(id, item_id, &name, arguments)));
            }
            Some(Block::Own { mut block, input }) => {
                if block.get("type").and_then(Value::as_str) == Some("server_tool_use") {
                    let name = block.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                    let input = serde_json::from_str::<Map<String, Value>>(&input).unwrap_or_default();
                    self.said.push(own_tool(item_id, name, Some(input.clone()), true));
                    block.insert("input".to_owned(), Value::Object(input));
                }
                self.items.push(Item::opaque(PROVIDER, Value::Object(block)));
            }
            Some(Block::Thought(kept)) => {
                self.said.push(Said::ReasoningEnded { item_id, metadata: Map::new() });
                self.items.push(Item::opaque(PROVIDER, Value::Object(kept)));
            }
            _ => {}
        }
    }

    fn count(&mut self, usage: Option<&Value>) {
        let number = |key: &str| usage.and_then(|usage| usage.get(key)).and_then(Value::as_u64);
        let input = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"].map(number);
        if input.iter().any(Option::is_some) {
            self.usage.input_tokens = input.into_iter().flatten().sum();
        }
        self.usage.output_tokens = number("output_tokens").unwrap_or(self.usage.output_tokens);
    }

    fn done(&mut self) -> Result<Response, Refusal> {
        if self.stop == "refusal" {
            return Err(Refusal::Final("the model refused to answer".to_owned()));
        }
        let whole = matches!(self.stop.as_str(), "end_turn" | "tool_use" | "stop_sequence" | "pause_turn");
        Ok(Response {
            items: std::mem::take(&mut self.items),
            usage: self.usage,
            incomplete: !whole,
            paused: self.stop == "pause_turn",
            said: true,
        })
    }
}

/// A tool that the provider runs.
fn own_tool(item_id: String, tool: String, arguments: Option<Map<String, Value>>, ended: bool) -> Said {
    Said::ProviderTool {
        namespace: "anthropic.messages",
        item_id,
        toolkit: "anthropic".to_owned(),
        tool,
        arguments,
        ended,
    }
}

impl Reply for Answer<'_> {
    fn on(&mut self, event: &Value) -> Option<Result<Response, Refusal>> {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let index = event.get("index").and_then(Value::as_u64).unwrap_or_default();
        match text("/type") {
            "message_start" => {
                text("/message/id").clone_into(&mut self.id);
                self.count(event.pointer("/message/usage"));
            }
            "content_block_start" => {
                let block = event.get("content_block").unwrap_or(&Value::Null);
                return self.begin(index, block).err().map(Err);
            }
            "content_block_delta" => {
                for what in ["text", "partial_json", "thinking", "signature"] {
                    self.more(index, what, text(&format!("/delta/{what}")));
                }
            }
            "content_block_stop" => self.finish(index),
            "message_delta" => {
                text("/delta/stop_reason").clone_into(&mut self.stop);
                self.count(event.get("usage"));
            }
            "message_stop" => return Some(self.done()),
            "error" => {
                let kind = text("/error/type");
                let said = format!("{} ({kind})", text("/error/message"));
                let passes = PASSING_KINDS.contains(&kind);
                return Some(Err(if passes { Refusal::Passing(said) } else { Refusal::Final(said) }));
            }
            _ => {}
        }
        None
    }

    fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn block(index: u64, begin: Value, deltas: &[Value]) -> Vec<Value> {
        let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": begin})];
        events.extend(
            deltas.iter().map(|d| json!({"type": "content_block_delta", "index": index, "delta": d})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
        events
    }

    fn told(blocks: Vec<Vec<Value>>, stop: &str) -> (Result<Response, Refusal>, Vec<Said>) {
        let names = Names::default();
        let mut answer = Answer::new(&names);
        let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1});
        let start = json!({"type": "message_start", "message": {"id": "m1", "usage": usage}});
        for event in [vec![start, json!({"type": "ping"})]].into_iter().chain(blocks).flatten() {
            assert_eq!(answer.on(&event), None);
        }
        let end =
            json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 9}});
        assert_eq!(answer.on(&end), None);
        (answer.on(&json!({"type": "message_stop"})).unwrap(), answer.take_said())
    }

    #[test]
    fn blocks_become_items() {
        let thought = block(
            0,
            json!({"type": "thinking", "thinking": ""}),
            &[
                json!({"type": "thinking_delta", "thinking": "h"}),
                json!({"type": "signature_delta", "signature": "s"}),
            ],
        );
        let text = block(
            1,
            json!({"type": "text", "text": ""}),
            &[json!({"type": "text_delta", "text": "a"}), json!({"type": "text_delta", "text": "b"})],
        );
        let call = block(
            2,
            json!({"type": "tool_use", "id": "t1", "name": "s__w", "input": {}}),
            &[
                json!({"type": "input_json_delta", "partial_json": "{\"a\""}),
                json!({"type": "input_json_delta", "partial_json": ":1}"}),
            ],
        );
        let bare = block(3, json!({"type": "tool_use", "id": "t2", "name": "now", "input": {}}), &[]);
        let (response, said) = told(vec![thought, text, call, bare], "tool_use");
        let response = response.unwrap();
        assert_eq!(response.usage, Usage { input_tokens: 7, output_tokens: 9 });
        assert!(!response.incomplete);
        let [
            Item::Opaque { value: kept, provider },
            Item::Answer { text, .. },
            Item::Call(one),
            Item::Call(two),
        ] = &response.items[..]
        else {
            panic!("{:?}", response.items)
        };
        assert_eq!(provider, "anthropic");
        assert_eq!(kept, &json!({"type": "thinking", "thinking": "h", "signature": "s"}));
        assert_eq!((text.as_str(), one.id.as_str(), one.arguments.as_str()), ("ab", "t1", "{\"a\":1}"));
        assert_eq!((two.tool.as_str(), two.arguments.as_str()), ("now", "{}"));
        assert!(matches!(&said[0], Said::Reasoning { .. }));
        assert!(said.iter().any(|said| matches!(said, Said::CallPending { call_id, .. } if call_id == "t1")));
    }

    #[test]
    fn the_providers_own_searches_are_shown_and_go_back_as_they_came() {
        let search = block(
            0,
            json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}),
            &[json!({"type": "input_json_delta", "partial_json": "{\"query\":\"ants\"}"})],
        );
        let found = json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": []});
        let (response, said) = told(vec![search, block(1, found.clone(), &[])], "end_turn");
        let items = response.unwrap().items;
        let call = items[0].own("anthropic").unwrap();
        assert_eq!(call["input"], json!({"query": "ants"}));
        assert_eq!(items[1], Item::opaque("anthropic", found));
        let ends: Vec<_> = said
            .iter()
            .filter_map(|said| match said {
                Said::ProviderTool { ended, .. } => Some(*ended),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [false, true]);
    }

    #[test]
    fn an_answer_cut_short_is_said_to_be_so_and_a_refusal_is_one() {
        let text = || block(0, json!({"type": "text", "text": "x"}), &[]);
        assert!(told(vec![text()], "max_tokens").0.unwrap().incomplete);
        let paused = told(vec![text()], "pause_turn").0.unwrap();
        assert!(paused.paused && !paused.incomplete);
        assert!(matches!(told(vec![text()], "refusal").0, Err(Refusal::Final(_))));
        let names = Names::default();
        let on = |kind: &str| {
            let event = json!({"type": "error", "error": {"type": kind, "message": "m"}});
            Answer::new(&names).on(&event).unwrap()
        };
        assert_eq!(on("overloaded_error"), Err(Refusal::Passing("m (overloaded_error)".into())));
        assert_eq!(on("invalid_request_error"), Err(Refusal::Final("m (invalid_request_error)".into())));
    }
}

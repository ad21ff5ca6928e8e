//! OpenAI Chat Completions, for compatible servers that have no Responses: Ollama, vLLM, llama.cpp and others.

use super::endpoint::{Codec, Refusal, Reply, bearer};
use super::names::{Names, function_name};
use super::parts::{Shown, shown};
use super::{ITEMS_MAX, Request, Said};
use crate::agent::config::EndpointConfig;
use crate::agent::history::{Item, Part, ToolCall};
use crate::agent::turn::{Response, Usage};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The language.
#[derive(Clone, Copy, Debug)]
pub struct Completions;

impl Codec for Completions {
    fn name(&self) -> &'static str {
        "openai-chat"
    }

    fn variables(&self) -> &'static str {
        "OPENAI"
    }

    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn headers(&self, api_key: &str) -> Option<HeaderMap> {
        bearer(api_key)
    }

    fn body(&self, config: &EndpointConfig, request: Request<'_>) -> (Value, Names) {
        let mut names = Names::default();
        let function = |spec: &crate::agent::tools::ToolSpec, names: &mut Names| {
            json!({"type": "function", "function": {"name": names.add(spec),
                "description": spec.description, "parameters": spec.parameters}})
        };
        let tools: Vec<_> = request.tools.iter().map(|spec| function(spec, &mut names)).collect();
        let mut body = json!({
            "model": request.model,
            "messages": messages(request),
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        if !tools.is_empty() {
            body["tools"] = Value::Array(tools);
        }
        // Servers have bounds of their own, and some refuse a larger number.
        if let Some(max) = config.max_output_tokens {
            body["max_tokens"] = json!(max);
        }
        if let Some(effort) = &config.reasoning_effort {
            body["reasoning_effort"] = json!(effort);
        }
        if let Some(schema) = request.answer_schema {
            body["response_format"] = json!({"type": "json_schema",
                "json_schema": {"name": "response", "strict": true, "schema": schema}});
        }
        (body, names)
    }

    fn reply<'a>(&self, names: &'a Names) -> Box<dyn Reply + Send + 'a> {
        Box::new(Answer::of(names))
    }

    fn context_window(&self, _: &str) -> Option<u64> {
        None
    }
}

fn messages(request: Request<'_>) -> Vec<Value> {
    let mut messages = Vec::new();
    if !request.instructions.is_empty() {
        messages.push(json!({"role": "system", "content": request.instructions}));
    }
    // Files of tools: messages of tools hold text, so the files follow as the user's, after the last of the outputs.
    let mut files: Vec<Value> = Vec::new();
    for item in request.items {
        if !matches!(item, Item::Output { .. }) && !files.is_empty() {
            messages.push(json!({"role": "user", "content": std::mem::take(&mut files)}));
        }
        match item {
            Item::User(parts) => messages.push(json!({"role": "user", "content": content(parts)})),
            Item::Answer { text, .. } => match assistant(&mut messages) {
                Some(message) => {
                    let before = message["content"].as_str().map(|t| format!("{t}\n\n")).unwrap_or_default();
                    message["content"] = json!(before + text);
                }
                None => messages.push(json!({"role": "assistant", "content": text})),
            },
            Item::Call(call) => {
                let call = json!({"id": call.id, "type": "function", "function": {
                    "name": function_name(&call.toolkit, &call.tool), "arguments": call.arguments}});
                match assistant(&mut messages) {
                    Some(message) => match message["tool_calls"].as_array_mut() {
                        Some(calls) => calls.push(call),
                        None => message["tool_calls"] = json!([call]),
                    },
                    None => {
                        messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
                    }
                }
            }
            Item::Output { call_id, text, files: parts } => {
                messages.push(json!({"role": "tool", "tool_call_id": call_id, "content": text}));
                files.extend(parts.iter().map(part));
            }
            Item::Opaque { .. } => {}
        }
    }
    if !files.is_empty() {
        messages.push(json!({"role": "user", "content": files}));
    }
    messages
}

/// The message that the assistant is saying.
fn assistant(messages: &mut [Value]) -> Option<&mut Value> {
    messages.last_mut().filter(|message| message["role"] == "assistant")
}

/// Plain text where there is nothing else: many servers take no parts.
fn content(parts: &[Part]) -> Value {
    if let [Part::Text(text)] = parts {
        return json!(text);
    }
    parts.iter().map(part).collect()
}

fn part(part: &Part) -> Value {
    let text = |text: String| json!({"type": "text", "text": text});
    let image = |url: String| json!({"type": "image_url", "image_url": {"url": url}});
    match shown(part) {
        Shown::Text(said) => text(said),
        Shown::Image { mime_type, data } => image(format!("data:{mime_type};base64,{data}")),
        Shown::Pdf { name, .. } => {
            text(format!("File {name} (application/pdf) cannot be shown to this model."))
        }
        Shown::ImageLink(url) => image(url.to_owned()),
        Shown::FileLink(url) => text(format!("File: {url}")),
    }
}

/// An answer that comes in.
struct Answer<'a> {
    names: &'a Names,
    said: Vec<Said>,
    /// What the server calls the answer; begins the names of its items.
    id: String,
    text: String,
    calls: BTreeMap<u64, ToolCall>,
    reasoned: bool,
    usage: Usage,
    finish: Option<String>,
}

impl<'a> Answer<'a> {
    fn of(names: &'a Names) -> Self {
        Self {
            names,
            said: Vec::new(),
            id: String::new(),
            text: String::new(),
            calls: BTreeMap::new(),
            reasoned: false,
            usage: Usage::default(),
            finish: None,
        }
    }

    fn delta(&mut self, delta: &Value) -> Result<(), Refusal> {
        let text = |key: &str| delta.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(thought) = text("reasoning_content").or(text("reasoning")) {
            self.reasoned = true;
            let item_id = format!("{}-reasoning", self.id);
            self.said.push(Said::Reasoning { item_id, delta: thought.to_owned() });
        }
        if let Some(said) = text("content").or(text("refusal")) {
            self.end_reasoning();
            self.text.push_str(said);
            let item_id = format!("{}-text", self.id);
            self.said.push(Said::Text { item_id, phase: None, delta: said.to_owned() });
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for (place, call) in calls.into_iter().flatten().enumerate() {
            self.end_reasoning();
            // Some servers send whole calls without an index.
            let index = call.get("index").and_then(Value::as_u64).unwrap_or(place as u64);
            self.call(index, call)?;
        }
        Ok(())
    }

    fn call(&mut self, index: u64, call: &Value) -> Result<(), Refusal> {
        let text = |path: &str| call.pointer(path).and_then(Value::as_str).unwrap_or_default();
        if !self.calls.contains_key(&index) {
            if self.calls.len() == ITEMS_MAX {
                return Err(Refusal::Final(format!("the answer has more than {ITEMS_MAX} calls")));
            }
            // Some servers give every call of every answer the same name, or none.
            let id = format!("{}-{index}", self.id);
            let made = self.names.call(id.clone(), id.clone(), text("/function/name"), String::new());
            let (toolkit, tool) = (made.toolkit.clone(), made.tool.clone());
            self.said.push(Said::CallPending { item_id: id.clone(), call_id: id, toolkit, tool });
            self.calls.insert(index, made);
        }
        let more = match call.pointer("/function/arguments") {
            Some(Value::String(text)) => text.clone(),
            // As an object, which the format does not have.
            Some(object @ Value::Object(_)) => object.to_string(),
            _ => String::new(),
        };
        if let (Some(made), false) = (self.calls.get_mut(&index), more.is_empty()) {
            made.arguments.push_str(&more);
            self.said.push(Said::CallArguments { item_id: made.item_id.clone(), delta: more });
        }
        Ok(())
    }

    fn end_reasoning(&mut self) {
        if std::mem::take(&mut self.reasoned) {
            let item_id = format!("{}-reasoning", self.id);
            self.said.push(Said::ReasoningEnded { item_id, metadata: serde_json::Map::new() });
        }
    }
}

impl Reply for Answer<'_> {
    fn on(&mut self, event: &Value) -> Option<Result<Response, Refusal>> {
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").or(Some(error)).and_then(Value::as_str);
            let message = message.unwrap_or("the model failed without a reason").to_owned();
            return Some(Err(Refusal::Final(message)));
        }
        if self.id.is_empty() {
            self.id = event.get("id").and_then(Value::as_str).unwrap_or("answer").to_owned();
        }
        let count = |name: &str| event.pointer(&format!("/usage/{name}")).and_then(Value::as_u64);
        if let (Some(input_tokens), Some(output_tokens)) =
            (count("prompt_tokens"), count("completion_tokens"))
        {
            self.usage = Usage { input_tokens, output_tokens };
        }
        let choice = event.pointer("/choices/0")?;
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(reason.to_owned());
        }
        let delta = choice.get("delta").filter(|delta| delta.is_object())?;
        self.delta(delta).err().map(Err)
    }

    fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// The numbers come after the last piece, so the end of the stream is the answer's.
    fn end(&mut self) -> Option<Response> {
        let finish = self.finish.take()?;
        self.end_reasoning();
        let mut items = Vec::new();
        if !self.text.is_empty() {
            let item_id = format!("{}-text", self.id);
            self.said.push(Said::TextEnded { item_id, phase: None });
            items.push(Item::Answer { text: std::mem::take(&mut self.text), phase: None });
        }
        items.extend(std::mem::take(&mut self.calls).into_values().map(|mut call| {
            if call.arguments.is_empty() {
                "{}".clone_into(&mut call.arguments);
            }
            Item::Call(call)
        }));
        let incomplete = matches!(finish.as_str(), "length" | "content_filter");
        Some(Response { items, usage: self.usage, incomplete, paused: false, said: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::provider::names::Names;

    fn answered(events: &[Value]) -> (Option<Response>, Vec<Said>) {
        let names = Names::default();
        let mut answer = Answer::of(&names);
        for event in events {
            assert_eq!(answer.on(event), None, "{event}");
        }
        let response = answer.end();
        (response, answer.take_said())
    }

    fn piece(delta: Value, finish: Option<&str>) -> Value {
        json!({"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    }

    #[test]
    fn pieces_of_text_and_calls_become_items() {
        let call = |delta: Value| piece(json!({"tool_calls": [delta]}), None);
        let (response, said) = answered(&[
            piece(json!({"role": "assistant", "reasoning_content": "hm"}), None),
            piece(json!({"content": "a"}), None),
            piece(json!({"content": "b"}), None),
            call(json!({"index": 0, "id": "x", "function": {"name": "s__w", "arguments": ""}})),
            call(json!({"index": 0, "function": {"arguments": "{\"a\""}})),
            call(json!({"index": 0, "function": {"arguments": ":1}"}})),
            call(json!({"index": 1, "id": "x", "function": {"name": "now", "arguments": {"z": 1}}})),
            piece(json!({}), Some("tool_calls")),
            json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}),
        ]);
        let response = response.unwrap();
        assert_eq!(response.usage, Usage { input_tokens: 4, output_tokens: 2 });
        assert!(!response.incomplete && response.said);
        let [Item::Answer { text, .. }, Item::Call(one), Item::Call(two)] = &response.items[..] else {
            panic!("{:?}", response.items)
        };
        assert_eq!((text.as_str(), one.arguments.as_str()), ("ab", "{\"a\":1}"));
        assert_eq!((one.id.as_str(), two.id.as_str(), two.arguments.as_str()), ("c1-0", "c1-1", "{\"z\":1}"));
        assert!(matches!(&said[1], Said::ReasoningEnded { .. }), "{said:?}");
        assert_eq!(said.iter().filter(|said| matches!(said, Said::Text { .. })).count(), 2);
        assert!(matches!(said.last(), Some(Said::TextEnded { .. })));
    }

    #[test]
    fn a_stream_that_breaks_off_is_no_answer() {
        assert_eq!(answered(&[piece(json!({"content": "a"}), None)]).0, None);
        assert!(answered(&[piece(json!({"content": "a"}), Some("length"))]).0.unwrap().incomplete);
        let names = Names::default();
        let told = Answer::of(&names).on(&json!({"error": {"message": "no model"}}));
        assert_eq!(told, Some(Err(Refusal::Final("no model".into()))));
    }

    #[test]
    fn a_thread_becomes_messages() {
        let call = |id: &str| {
            Item::Call(ToolCall {
                id: id.into(),
                item_id: id.into(),
                toolkit: "s".into(),
                tool: "r".into(),
                arguments: "{}".into(),
            })
        };
        let png = Part::File { name: "p.png".into(), mime_type: "image/png".into(), data: vec![1].into() };
        let items = [
            Item::User(vec![Part::Text("t".into())]),
            Item::Answer { text: "look".into(), phase: None },
            call("1"),
            call("2"),
            Item::Output { call_id: "1".into(), text: "ok".into(), files: vec![png] },
            Item::output("2", "fine"),
            Item::opaque("openai", json!({"type": "reasoning"})),
            Item::Answer { text: "done".into(), phase: None },
        ];
        let items: Vec<_> = items.iter().collect();
        let request = Request {
            model: "m",
            instructions: "i",
            items: &items,
            tools: &[],
            answer_schema: None,
            web_search: true,
        };
        let config = EndpointConfig { max_output_tokens: Some(7), ..EndpointConfig::default() };
        let (body, _) = Completions.body(&config, request);
        let roles: Vec<_> =
            body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "tool", "user", "assistant"]);
        assert_eq!(body["messages"][1]["content"], "t");
        assert_eq!(body["messages"][2]["content"], "look");
        assert_eq!(body["messages"][2]["tool_calls"][1]["function"]["name"], "s__r");
        assert_eq!(body["messages"][5]["content"][0]["image_url"]["url"], "data:image/png;base64,AQ==");
        assert_eq!((&body["max_tokens"], &body["stream"]), (&json!(7), &json!(true)));
    }
}

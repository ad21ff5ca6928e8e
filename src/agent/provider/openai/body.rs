//! The request body. Pure.

use super::computer::Screens;
use super::native::Native;
use crate::agent::config::EndpointConfig;
use crate::agent::history::{Item, Part};
use crate::agent::provider::names::{Names, function_name};
use crate::agent::provider::parts::{Shown, shown};
use crate::agent::provider::{OUTPUT_TOKENS, Request};
use crate::agent::tools::{COMPUTER, COMPUTER_CALL, ToolSpec};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whose models have a computer of their own.
const OWN_COMPUTER: &str = "openai";

/// `provider` is whose endpoint it is sent to.
pub(super) fn body(provider: &str, config: &EndpointConfig, request: Request<'_>) -> (Value, Names) {
    let mut names = Names::default();
    // Models of OpenAI know the computer without a description.
    let computers = provider == OWN_COMPUTER && request.model.starts_with("gpt-");
    let mut natives = Vec::new();
    let mut tools = Vec::with_capacity(request.tools.len());
    for spec in request.tools {
        if computers && is_computer(&spec.toolkit, &spec.tool) {
            tools.push(json!({"type": "computer"}));
            continue;
        }
        match Native::of(provider, request.model, spec) {
            Some(native) => {
                natives.push(native);
                tools.push(native.offer());
            }
            None => tools.push(function(spec, &mut names)),
        }
    }
    if request.web_search {
        let mut search = json!({"type": "web_search"});
        if !config.search_domains.allowed.is_empty() {
            search["filters"] = json!({"allowed_domains": config.search_domains.allowed});
        }
        tools.push(search);
    }
    let mut called = BTreeMap::new();
    let mut screens = computers.then(|| Screens::of(request.items));
    let mut input = Vec::with_capacity(request.items.len());
    for item in request.items {
        match screens.as_mut().and_then(|screens| screens.items(item)) {
            Some(items) => input.extend(items),
            None => {
                input.extend(native_item(item, &natives, &mut called).or_else(|| wire_item(provider, item)));
            }
        }
    }
    let mut body = json!({
        "model": request.model,
        "instructions": request.instructions,
        "input": input,
        "max_output_tokens": config.max_output_tokens.unwrap_or(OUTPUT_TOKENS),
        "store": false,
        "stream": true,
    });
    if !tools.is_empty() {
        body["tools"] = Value::Array(tools);
    }
    if let Some(schema) = request.answer_schema {
        body["text"] =
            json!({"format": {"type": "json_schema", "name": "response", "strict": true, "schema": schema}});
    }
    if let Some(effort) = &config.reasoning_effort {
        body["reasoning"] = json!({"effort": effort, "summary": "detailed"});
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    (body, names)
}

/// Whether this is the tool of a browser.
pub(super) fn is_computer(toolkit: &str, tool: &str) -> bool {
    toolkit == COMPUTER && tool == COMPUTER_CALL
}

fn function(spec: &ToolSpec, names: &mut Names) -> Value {
    json!({
        "type": "function",
        "name": names.add(spec),
        "description": spec.description,
        "parameters": spec.parameters,
        "strict": spec.strict,
    })
}

/// A call of a tool that is offered as native, or its output; `called` has the calls so far.
fn native_item<'a>(
    item: &'a Item,
    natives: &[Native],
    called: &mut BTreeMap<&'a str, Native>,
) -> Option<Value> {
    match item {
        Item::Call(call) => {
            let (native, item) = Native::call(call).filter(|(native, _)| natives.contains(native))?;
            called.insert(&call.id, native);
            Some(item)
        }
        Item::Output { call_id, text, .. } => Some(called.get(call_id.as_str())?.output(call_id, text)),
        _ => None,
    }
}

/// Items that only another provider understands are left out.
fn wire_item(provider: &str, item: &Item) -> Option<Value> {
    Some(match item {
        Item::User(parts) => {
            let content: Vec<_> = parts.iter().map(wire_part).collect();
            json!({"type": "message", "role": "user", "content": content})
        }
        Item::Answer { text, phase } => {
            let mut message = json!({"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": text}]});
            if let Some(phase) = phase {
                message["phase"] = json!(phase);
            }
            message
        }
        Item::Call(call) => json!({"type": "function_call", "call_id": call.id,
            "name": function_name(&call.toolkit, &call.tool), "arguments": call.arguments}),
        Item::Output { call_id, text, files } if files.is_empty() => {
            json!({"type": "function_call_output", "call_id": call_id, "output": text})
        }
        Item::Output { call_id, text, files } => {
            let mut output = vec![json!({"type": "input_text", "text": text})];
            output.extend(files.iter().map(wire_part));
            json!({"type": "function_call_output", "call_id": call_id, "output": output})
        }
        Item::Opaque { .. } => return item.own(provider).cloned(),
    })
}

pub(super) fn wire_part(part: &Part) -> Value {
    match shown(part) {
        Shown::Text(text) => json!({"type": "input_text", "text": text}),
        Shown::Image { mime_type, data } => {
            json!({"type": "input_image", "image_url": format!("data:{mime_type};base64,{data}")})
        }
        Shown::Pdf { name, data } => json!({"type": "input_file", "filename": name,
            "file_data": format!("data:application/pdf;base64,{data}")}),
        Shown::ImageLink(url) => json!({"type": "input_image", "image_url": url}),
        Shown::FileLink(url) => json!({"type": "input_file", "file_url": url}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::SearchDomains;
    use crate::agent::history::ToolCall;

    #[test]
    fn a_thread_becomes_input_items() {
        let png = Part::File { name: "p.png".into(), mime_type: "image/png".into(), data: vec![1].into() };
        let md = Part::File { name: "m.md".into(), mime_type: "text/markdown".into(), data: "hi".into() };
        let items = [
            Item::User(vec![Part::Text("t".into()), png, md]),
            Item::Answer { text: "a".into(), phase: Some("commentary".into()) },
            Item::Call(ToolCall {
                id: "1".into(),
                item_id: "1".into(),
                toolkit: "s".into(),
                tool: "w".into(),
                arguments: "{}".into(),
            }),
            Item::output("1", "ok"),
            Item::opaque("anthropic", json!({"type": "thinking"})),
            Item::opaque("grok", json!({"type": "reasoning", "encrypted_content": "of grok"})),
            Item::opaque("openai", json!({"type": "reasoning"})),
        ];
        let config = EndpointConfig {
            base_url: String::new(),
            api_key: String::new(),
            max_output_tokens: Some(5),
            reasoning_effort: Some("low".into()),
            search_domains: SearchDomains { allowed: vec!["docs.rs".into()], ..SearchDomains::default() },
        };
        let items: Vec<_> = items.iter().collect();
        let request = Request {
            model: "m",
            instructions: "i",
            items: &items,
            tools: &[],
            answer_schema: None,
            web_search: true,
        };
        let (grok, _) = body("grok", &config, request);
        let (body, _) = body("openai", &config, request);
        assert_eq!(body["input"][0]["content"][1]["image_url"], "data:image/png;base64,AQ==");
        assert_eq!(body["input"][0]["content"][2]["text"], "File m.md:\nhi");
        assert_eq!(body["input"][1]["phase"], "commentary");
        assert_eq!(body["input"][2]["name"], "s__w");
        assert_eq!(body["input"].as_array().unwrap()[4..], [json!({"type": "reasoning"})], "its own only");
        assert_eq!(grok["input"].as_array().unwrap()[4..].len(), 1);
        assert_eq!(grok["input"][4]["encrypted_content"], "of grok");
        assert_eq!((&body["store"], &body["stream"]), (&json!(false), &json!(true)));
        assert_eq!(body["reasoning"]["effort"], "low");
        assert_eq!(
            body["tools"],
            json!([{"type": "web_search", "filters": {"allowed_domains": ["docs.rs"]}}])
        );
    }

    #[test]
    fn native_tools_are_offered_and_their_calls_written_as_the_model_knows_them() {
        let spec = |tool: &str| ToolSpec {
            toolkit: tool.into(),
            tool: tool.into(),
            description: String::new(),
            parameters: json!({"type": "object"}),
            strict: true,
            approval: false,
        };
        let call = ToolCall {
            id: "1".into(),
            item_id: "1".into(),
            toolkit: "shell".into(),
            tool: "shell".into(),
            arguments: r#"{"commands":["ls"]}"#.into(),
        };
        let items = [Item::Call(call), Item::output("1", "broken")];
        let items: Vec<_> = items.iter().collect();
        let tools = [spec("shell"), spec("uuid")];
        let config = EndpointConfig::default();
        let of = |model, tools| {
            let request = Request {
                model,
                instructions: "i",
                items: &items,
                tools,
                answer_schema: None,
                web_search: false,
            };
            body("openai", &config, request).0
        };
        let native = of("gpt-6.1-sol", &tools[..]);
        assert_eq!(native["tools"][0], json!({"type": "shell"}));
        assert_eq!(native["tools"][1]["type"], "function");
        assert_eq!(native["input"][0]["type"], "shell_call");
        assert_eq!(native["input"][1]["type"], "shell_call_output");
        for plain in [of("gpt-4o", &tools[..]), of("gpt-6.1-sol", &tools[1..])] {
            assert_eq!(plain["input"][0]["type"], "function_call");
            assert_eq!(plain["input"][1]["type"], "function_call_output");
        }
    }
}

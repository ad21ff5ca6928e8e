//! The request body. Pure.

use super::PROVIDER;
use crate::agent::config::EndpointConfig;
use crate::agent::history::{Item, Part, ToolCall};
use crate::agent::provider::Request;
use crate::agent::provider::names::{Names, function_name};
use crate::agent::provider::parts::{Shown, shown};
use serde_json::{Value, json};

/// Most tokens of one answer by the beginning of the model's name; the first that fits counts.
const OUTPUT_TOKENS: [(&str, u64); 6] = [
    ("claude-opus-4-6", 128_000),
    ("claude-opus-4-7", 128_000),
    ("claude-opus-4-8", 128_000),
    ("claude-sonnet-4", 64_000),
    ("claude-3-7-sonnet", 64_000),
    ("claude-opus-4", 32_000),
];
const OUTPUT_TOKENS_ELSE: u64 = 8_192;
/// Kinds of opaque items that this provider gave.
const OWN_KINDS: [&str; 4] = ["thinking", "redacted_thinking", TOOL_USE, TOOL_RESULT];
/// A tool that the provider runs, and what it gave; one without the other is refused.
const TOOL_USE: &str = "server_tool_use";
const TOOL_RESULT: &str = "web_search_tool_result";

pub(super) fn body(config: &EndpointConfig, request: Request<'_>) -> (Value, Names) {
    let mut names = Names::default();
    let mut tools: Vec<_> = request
        .tools
        .iter()
        .map(|spec| {
            json!({"name": names.add(spec), "description": spec.description, "input_schema": spec.parameters})
        })
        .collect();
    if request.web_search {
        let mut search = json!({"type": "web_search_20250305", "name": "web_search"});
        let domains = &config.search_domains;
        for (field, hosts) in [("allowed_domains", &domains.allowed), ("blocked_domains", &domains.blocked)] {
            if !hosts.is_empty() {
                search[field] = json!(hosts);
            }
        }
        tools.push(search);
    }
    let of_model = || {
        let of = |(prefix, max): &(&str, u64)| request.model.starts_with(prefix).then_some(*max);
        OUTPUT_TOKENS.iter().find_map(of).unwrap_or(OUTPUT_TOKENS_ELSE)
    };
    let mut body = json!({
        "model": request.model,
        "max_tokens": config.max_output_tokens.unwrap_or_else(of_model),
        "messages": messages(request.items),
        "stream": true,
    });
    if !request.instructions.is_empty() {
        body["system"] = json!(request.instructions);
    }
    if !tools.is_empty() {
        body["tools"] = Value::Array(tools);
    }
    if let Some(schema) = request.answer_schema {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    (body, names)
}

/// The two speak in turns: what one says in a row is one message.
fn messages(items: &[&Item]) -> Vec<Value> {
    let mut messages: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        if item.own(PROVIDER).is_some_and(|block| !is_paired(block, items, at)) {
            continue;
        }
        let (role, blocks) = blocks(item);
        if blocks.is_empty() {
            continue;
        }
        match messages.last_mut() {
            Some((last, before)) if *last == role => before.extend(blocks),
            _ => messages.push((role, blocks)),
        }
    }
    messages.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

/// Whether a block may go back: a use of the provider's own tool needs its result in the same answer, and a result its use. A use
/// after which nothing else was said is what the provider paused at.
fn is_paired(block: &Value, items: &[&Item], at: usize) -> bool {
    let text = |key: &str| block.get(key).and_then(Value::as_str).unwrap_or_default();
    let (before, after) = (items.get(..at).unwrap_or_default(), items.get(at + 1..).unwrap_or_default());
    match text("type") {
        TOOL_USE => {
            after.iter().all(|item| is_answer(item))
                || has(after.iter(), TOOL_RESULT, "tool_use_id", text("id"))
        }
        TOOL_RESULT => has(before.iter().rev(), TOOL_USE, "id", text("tool_use_id")),
        _ => true,
    }
}

fn is_answer(item: &Item) -> bool {
    matches!(item, Item::Opaque { .. } | Item::Answer { .. } | Item::Call(_))
}

/// Whether the rest of an answer has this block.
fn has<'a>(rest: impl Iterator<Item = &'a &'a Item>, kind: &str, key: &str, id: &str) -> bool {
    let is = |block: &Value, key: &str, text: &str| block.get(key).and_then(Value::as_str) == Some(text);
    rest.take_while(|item| is_answer(item))
        .filter_map(|item| item.own(PROVIDER))
        .any(|block| is(block, "type", kind) && is(block, key, id))
}

fn blocks(item: &Item) -> (&'static str, Vec<Value>) {
    match item {
        Item::User(parts) => ("user", parts.iter().filter_map(block).collect()),
        Item::Answer { text, .. } => ("assistant", text_block(text).into_iter().collect()),
        Item::Call(call) => ("assistant", vec![tool_use(call)]),
        Item::Output { call_id, text, files } => {
            let content: Vec<_> =
                text_block(text).into_iter().chain(files.iter().filter_map(block)).collect();
            let result = json!({"type": "tool_result", "tool_use_id": plain(call_id), "content": content});
            ("user", vec![result])
        }
        Item::Opaque { .. } => {
            let kind = |value: &Value| value.get("type").and_then(Value::as_str).map(str::to_owned);
            let own = item
                .own(PROVIDER)
                .filter(|value| kind(value).is_some_and(|k| OWN_KINDS.contains(&k.as_str())));
            ("assistant", own.cloned().into_iter().collect())
        }
    }
}

fn tool_use(call: &ToolCall) -> Value {
    // What is no JSON object was refused when it was called; the model is shown that it said nothing.
    let input = serde_json::from_str::<Value>(&call.arguments).ok().filter(Value::is_object);
    json!({"type": "tool_use", "id": plain(&call.id), "name": function_name(&call.toolkit, &call.tool),
        "input": input.unwrap_or_else(|| json!({}))})
}

/// Calls of other providers may have other characters in their names.
fn plain(id: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    id.chars().map(allowed).collect()
}

/// Blocks of no text are refused.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

fn block(part: &Part) -> Option<Value> {
    Some(match shown(part) {
        Shown::Text(text) => return text_block(&text),
        Shown::Image { mime_type, data } => {
            json!({"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": data}})
        }
        Shown::Pdf { name, data } => json!({"type": "document", "title": name,
            "source": {"type": "base64", "media_type": "application/pdf", "data": data}}),
        Shown::ImageLink(url) => json!({"type": "image", "source": {"type": "url", "url": url}}),
        Shown::FileLink(url) => json!({"type": "document", "source": {"type": "url", "url": url}}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_own_tools_go_back_in_pairs_but_for_the_last_one() {
        let user = || Item::User(vec![Part::Text("t".into())]);
        let call =
            |id: &str| Item::opaque(PROVIDER, json!({"type": TOOL_USE, "id": id, "name": "web_search"}));
        let result = |id: &str| Item::opaque(PROVIDER, json!({"type": TOOL_RESULT, "tool_use_id": id}));
        let said = || Item::Answer { text: "so".into(), phase: None };
        let kinds = |items: &[Item]| -> Vec<String> {
            let messages = messages(&items.iter().collect::<Vec<_>>());
            let all = messages.iter().flat_map(|m| m["content"].as_array().unwrap());
            all.map(|b| b["type"].as_str().unwrap().to_owned()).collect()
        };
        let whole = [user(), call("a"), result("a"), said(), user()];
        assert_eq!(kinds(&whole), ["text", TOOL_USE, TOOL_RESULT, "text", "text"]);
        let cut = [user(), call("a"), said(), user(), result("b")];
        assert_eq!(kinds(&cut), ["text", "text", "text"], "one without the other is refused");
        assert_eq!(kinds(&[user(), said(), call("a")]), ["text", "text", TOOL_USE], "it goes on from there");
        let later = [user(), call("a"), user(), result("a")];
        assert_eq!(kinds(&later), ["text", "text"], "a result belongs into the same answer");
    }

    #[test]
    fn a_thread_becomes_messages_in_turns() {
        let call = |id: &str, arguments: &str| {
            Item::Call(ToolCall {
                id: id.into(),
                item_id: id.into(),
                toolkit: "s".into(),
                tool: "r".into(),
                arguments: arguments.into(),
            })
        };
        let png = Part::File { name: "p.png".into(), mime_type: "image/png".into(), data: vec![1].into() };
        let items = [
            Item::User(vec![Part::Text("t".into()), png.clone(), Part::Text(" ".into())]),
            Item::opaque("openai", json!({"type": "reasoning"})),
            Item::opaque("openai", json!({"type": "thinking", "signature": "of another"})),
            Item::opaque(PROVIDER, json!({"type": "thinking", "signature": "s"})),
            Item::Answer { text: "look".into(), phase: None },
            call("a.1", "{\"x\":1}"),
            call("2", "no json"),
            Item::Output { call_id: "a.1".into(), text: "ok".into(), files: vec![png] },
            Item::output("2", ""),
            Item::User(vec![Part::Text("and".into())]),
        ];
        let items: Vec<_> = items.iter().collect();
        let request = Request {
            model: "claude-sonnet-4-5",
            instructions: "i",
            items: &items,
            tools: &[],
            answer_schema: None,
            web_search: true,
        };
        let (body, _) = body(&EndpointConfig::default(), request);
        assert_eq!(body["tools"][0]["type"], "web_search_20250305");
        assert_eq!((&body["max_tokens"], &body["system"]), (&json!(64_000), &json!("i")));
        let messages = body["messages"].as_array().unwrap();
        let roles: Vec<_> = messages.iter().map(|m| m["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        assert_eq!(messages[0]["content"].as_array().unwrap().len(), 2);
        assert_eq!(messages[0]["content"][1]["source"]["data"], "AQ==");
        let kinds: Vec<_> = messages[1]["content"].as_array().unwrap().iter().map(|b| &b["type"]).collect();
        assert_eq!(kinds, ["thinking", "text", "tool_use", "tool_use"]);
        assert_eq!(messages[1]["content"][2]["id"], messages[2]["content"][0]["tool_use_id"]);
        assert_eq!(messages[1]["content"][3]["input"], json!({}));
        assert_eq!(messages[2]["content"][0]["content"][1]["type"], "image");
        assert_eq!(messages[2]["content"][2]["text"], "and");
    }
}

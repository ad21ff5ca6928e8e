//! Tools of a request: found wherever an interface has them, taken out, put in.

use crate::llm::Provider;
use crate::spec::router::{Ensure, Interface, Selector, WebSearch};
use serde_json::{Map, Value, json};

/// The search, without its versions.
const WEB_SEARCH: &str = "web_search";
/// Anthropic's word for its search.
const ANTHROPIC_WEB_SEARCH: &str = "web_search_20250305";

/// The first tool of a request that one of these selects.
pub(super) fn denied(api: Interface, body: &Map<String, Value>, selectors: &[Selector]) -> Option<String> {
    if selectors.is_empty() {
        return None;
    }
    let own = |(name, kind): &(&str, &str)| find(api, list(body.get(*name))?, kind, selectors);
    let found = LISTS.iter().find_map(own);
    let searched = || asks_for_search(api, body, selectors).then(|| WEB_SEARCH.to_owned());
    let named = || {
        let items = list(body.get("input"))?.iter();
        items
            .filter_map(|item| list(item.get("tools")))
            .find_map(|list| find(api, list, "function", selectors))
    };
    found.or_else(searched).or_else(named)
}

fn list(value: Option<&Value>) -> Option<&Vec<Value>> {
    value?.as_array()
}

/// Takes tools out, and what would have the model use them.
pub(super) fn ignore(api: Interface, body: &mut Map<String, Value>, selectors: &[Selector]) {
    if selectors.is_empty() || !remove(api, body, selectors) {
        return;
    }
    let none = |body: &Map<String, Value>, name: &str| {
        body.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty)
    };
    if none(body, "tools") && none(body, "mcp_servers") {
        for name in ["tools", "tool_choice", "parallel_tool_calls"] {
            body.remove(name);
        }
    } else if let Some(choice @ Value::Object(_)) = body.get("tool_choice") {
        if find(api, std::slice::from_ref(choice), "function", selectors).is_some() {
            body.remove("tool_choice");
        }
    }
    if none(body, "functions") {
        for name in ["functions", "function_call"] {
            body.remove(name);
        }
    }
}

/// Puts a tool in, in place of what is there of its type.
pub(super) fn ensure(provider: Provider, api: Interface, body: &mut Map<String, Value>, ensured: &Ensure) {
    let Ensure::WebSearch(search) = ensured;
    let size = search.search_context_size.map(|size| json!(size.name()));
    match api {
        // Refused before.
        Interface::Completions | Interface::Realtime => {}
        Interface::ChatCompletions => {
            let options: Map<_, _> =
                size.into_iter().map(|size| ("search_context_size".to_owned(), size)).collect();
            body.insert("web_search_options".to_owned(), Value::Object(options));
        }
        Interface::Responses => {
            let mut tool = json!({"type": WEB_SEARCH});
            if let Some(size) = size {
                tool["search_context_size"] = size;
            }
            let blocked = if provider == Provider::Grok { "excluded_domains" } else { "blocked_domains" };
            if let Some((name, domains)) = domains(search, blocked) {
                tool["filters"] = json!({name: domains});
            }
            put(api, body, tool);
        }
        Interface::Messages => {
            let mut tool = json!({"type": ANTHROPIC_WEB_SEARCH, "name": WEB_SEARCH});
            if let Some((name, domains)) = domains(search, "blocked_domains") {
                tool[name] = json!(domains);
            }
            put(api, body, tool);
        }
    }
}

fn domains<'a>(search: &'a WebSearch, blocked: &'static str) -> Option<(&'static str, &'a [String])> {
    match (search.allowed_domains.as_slice(), search.blocked_domains.as_slice()) {
        ([], []) => None,
        ([], domains) => Some((blocked, domains)),
        (domains, _) => Some(("allowed_domains", domains)),
    }
}

fn put(api: Interface, body: &mut Map<String, Value>, tool: Value) {
    let tools = body.entry("tools").or_insert_with(|| json!([]));
    if !tools.is_array() {
        *tools = json!([]);
    }
    if let Some(tools) = tools.as_array_mut() {
        let same = Selector { kind: WEB_SEARCH.to_owned(), name: None };
        take(api, tools, "function", std::slice::from_ref(&same));
        tools.push(tool);
    }
}

/// Where tools are, and what one is that does not say so.
const LISTS: [(&str, &str); 3] = [("tools", "function"), ("functions", "function"), ("mcp_servers", "mcp")];

/// Whether a search is selected that is asked for by its options alone.
fn asks_for_search(api: Interface, body: &Map<String, Value>, selectors: &[Selector]) -> bool {
    let search = json!({"type": WEB_SEARCH});
    body.get("web_search_options").is_some_and(|options| !options.is_null())
        && selectors.iter().any(|selector| selects(selector, api, &search, "function"))
}

/// Takes out what is selected; whether there was anything.
fn remove(api: Interface, body: &mut Map<String, Value>, selectors: &[Selector]) -> bool {
    let mut found = false;
    for (name, kind) in LISTS {
        if let Some(Value::Array(list)) = body.get_mut(name) {
            found |= take(api, list, kind, selectors);
        }
    }
    if asks_for_search(api, body, selectors) {
        body.remove("web_search_options");
        found = true;
    }
    // Tools that a search for tools has found are named in the conversation.
    if let Some(Value::Array(items)) = body.get_mut("input") {
        for list in items.iter_mut().filter_map(|item| item.get_mut("tools")?.as_array_mut()) {
            found |= take(api, list, "function", selectors);
        }
    }
    found
}

/// The first that is selected of a list, and of the lists within. JSON that was read has a depth that is bounded.
fn find(api: Interface, list: &[Value], kind: &str, selectors: &[Selector]) -> Option<String> {
    list.iter().find_map(|tool| {
        if selectors.iter().any(|selector| selects(selector, api, tool, kind)) {
            return Some(title(tool, kind));
        }
        find(api, tool.get("tools")?.as_array()?, kind, selectors)
    })
}

/// Takes what is selected out of a list, and out of the lists within; whether there was anything.
fn take(api: Interface, list: &mut Vec<Value>, kind: &str, selectors: &[Selector]) -> bool {
    let mut found = false;
    list.retain_mut(|tool| {
        if selectors.iter().any(|selector| selects(selector, api, tool, kind)) {
            found = true;
            return false;
        }
        if let Some(Value::Array(inner)) = tool.get_mut("tools") {
            found |= take(api, inner, kind, selectors);
        }
        true
    });
    found
}

fn selects(selector: &Selector, api: Interface, tool: &Value, fallback: &str) -> bool {
    // Servers of tools have a type of their own: how they are reached.
    let written = tool.get("type").and_then(Value::as_str).filter(|_| fallback != "mcp").unwrap_or(fallback);
    let plain = plain(api, written);
    let kind = selector.kind.trim();
    let named = |want: &String| names(tool).any(|name| super::pattern::exact(want.trim(), name));
    (kind == written || plain_kind(kind) == plain) && selector.name.as_ref().is_none_or(named)
}

/// All texts by which providers name a tool.
fn names(tool: &Value) -> impl Iterator<Item = &str> {
    let places = ["/name", "/function/name", "/custom/name", "/server_label", "/mcp_server_name"];
    places.into_iter().filter_map(|at| tool.pointer(at)?.as_str())
}

fn title(tool: &Value, fallback: &str) -> String {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or(fallback);
    names(tool).next().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
}

/// A type as selectors have it. The program's own tools are `function` in all interfaces.
fn plain(api: Interface, written: &str) -> &str {
    if api == Interface::Messages && matches!(written, "custom" | "tool") {
        return "function";
    }
    plain_kind(written)
}

/// Without version and `preview`: `web_search_preview_2025_03_11` and `web_search_20250305` are `web_search`.
fn plain_kind(written: &str) -> &str {
    let dated = |text: &str, at: usize| {
        text.get(at..)
            .is_some_and(|end| end.starts_with('_') && end.bytes().all(|b| b == b'_' || b.is_ascii_digit()))
    };
    // `_20250305`, `_2025_03_11`
    let mut text = written;
    for length in [9, 11] {
        if let Some(at) = text.len().checked_sub(length)
            && dated(text, at)
        {
            text = &text[..at];
            break;
        }
    }
    match text.strip_suffix("_preview").unwrap_or(text) {
        "computer_use" => "computer",
        "mcp_toolset" => "mcp",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_without_their_versions() {
        for (written, want) in [
            ("web_search", "web_search"),
            ("web_search_preview", "web_search"),
            ("web_search_preview_2025_03_11", "web_search"),
            ("web_search_2025_08_26", "web_search"),
            ("web_search_20250305", "web_search"),
            ("computer_use_preview", "computer"),
            ("computer_20250124", "computer"),
            ("text_editor_20250728", "text_editor"),
            ("mcp_toolset", "mcp"),
            ("ü", "ü"),
            ("_20250305", ""),
        ] {
            assert_eq!(plain_kind(written), want, "{written}");
        }
        assert_eq!(plain(Interface::Messages, "custom"), "function");
        assert_eq!(plain(Interface::Responses, "custom"), "custom");
    }
}

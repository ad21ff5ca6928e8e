//! What models are told, in each interface's own place.

use crate::llm::body::Malformed;
use crate::spec::router::{Instructions, Interface};
use serde_json::{Map, Value, json};

/// Between what was there and what is appended.
const GAP: &str = "\n\n";

pub(super) fn change(
    api: Interface,
    body: &mut Map<String, Value>,
    told: &Instructions,
) -> Result<(), Malformed> {
    if let Some(text) = &told.replace {
        replace(api, body, text);
    }
    match (&told.append, api) {
        (None, _) | (Some(_), Interface::Completions) => Ok(()),
        // A session keeps what it was told where it is told nothing new.
        (Some(_), Interface::Realtime) if !body.contains_key("instructions") => Ok(()),
        (Some(text), Interface::Responses | Interface::Realtime) => append(body, "instructions", text),
        (Some(text), Interface::Messages) => append(body, "system", text),
        (Some(text), Interface::ChatCompletions) => {
            append_message(body, text);
            Ok(())
        }
    }
}

/// What the request says to the model goes, in messages too.
fn replace(api: Interface, body: &mut Map<String, Value>, text: &str) {
    match api {
        Interface::Completions => {}
        Interface::Messages => {
            body.insert("system".to_owned(), json!(text));
        }
        Interface::Responses | Interface::Realtime => {
            if let Some(Value::Array(items)) = body.get_mut("input") {
                items.retain(|item| !tells(item));
            }
            body.insert("instructions".to_owned(), json!(text));
        }
        Interface::ChatCompletions => {
            if let Some(Value::Array(messages)) = body.get_mut("messages") {
                messages.retain(|message| !tells(message));
                messages.insert(0, json!({"role": "system", "content": text}));
            }
        }
    }
}

/// Whether a message is the program's word to the model.
pub(super) fn tells(message: &Value) -> bool {
    matches!(message.get("role").and_then(Value::as_str), Some("system" | "developer"))
}

fn append(body: &mut Map<String, Value>, name: &'static str, text: &str) -> Result<(), Malformed> {
    let longer = match body.get_mut(name) {
        None | Some(Value::Null) => json!(text),
        Some(Value::String(old)) if old.is_empty() => json!(text),
        Some(Value::String(old)) => json!(format!("{old}{GAP}{text}")),
        Some(Value::Array(blocks)) if name == "system" => {
            blocks.push(json!({"type": "text", "text": text}));
            return Ok(());
        }
        Some(_) => return Err(Malformed::NotText(name)),
    };
    body.insert(name.to_owned(), longer);
    Ok(())
}

/// Behind the messages that tell the model at the beginning.
fn append_message(body: &mut Map<String, Value>, text: &str) {
    if let Some(Value::Array(messages)) = body.get_mut("messages") {
        let at = messages.iter().position(|message| !tells(message)).unwrap_or(messages.len());
        messages.insert(at, json!({"role": "system", "content": text}));
    }
}

//! How what an agent says looks on the terminal. Pure but for the two streams.

use crate::cli::error::CliError;
use crate::cli::output;
use serde_json::{Map, Value};

/// Characters of a call's arguments or error that are shown.
const CALL_CHARS_MAX: usize = 200;

pub fn text<'a>(message: &'a Map<String, Value>, key: &str) -> &'a str {
    message.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The type of a message, without what all begin with.
pub fn kind(message: &Map<String, Value>) -> &str {
    text(message, "type").strip_prefix(crate::agent::message::PREFIX).unwrap_or_default()
}

/// Whether it tells what a person said aloud.
pub fn by_user(message: &Map<String, Value>) -> bool {
    text(message, "role") == "user"
}

/// The error that a message tells of.
pub fn failed(message: &Map<String, Value>) -> CliError {
    let field = |name: &str| {
        message.get("error").and_then(|e| e.get(name)).and_then(Value::as_str).unwrap_or("unknown")
    };
    CliError::server(format!("{} ({})", field("message"), field("code")))
}

/// The input that a `turn.started` carries, as the message it was.
pub fn as_input(started: &Map<String, Value>) -> Map<String, Value> {
    let mut input = started.clone();
    input.insert("type".into(), Value::String("meshagent.agent.turn.start".into()));
    input
}

fn short(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(CALL_CHARS_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A call, in one line.
pub fn call(message: &Map<String, Value>) -> String {
    let arguments = message.get("arguments").filter(|a| !a.is_null()).map(Value::to_string);
    let (toolkit, tool) = (text(message, "toolkit"), text(message, "tool"));
    short(&format!("{toolkit}.{tool} {}", arguments.unwrap_or_default()))
}

/// What went wrong with a call, in one line; `None` where nothing did.
pub fn call_error(message: &Map<String, Value>) -> Option<String> {
    let error = message.get("error")?.get("message")?.as_str()?;
    Some(short(&format!("{}.{}: {error}", text(message, "toolkit"), text(message, "tool"))))
}

/// Prints threads with numbers; their paths.
pub fn threads(message: &Map<String, Value>) -> Result<Vec<String>, CliError> {
    let threads = message.get("threads").and_then(Value::as_array);
    let mut paths = Vec::new();
    for thread in threads.into_iter().flatten().filter_map(Value::as_object) {
        paths.push(text(thread, "path").to_owned());
        output::line(format!(
            "{:>3}  {}  {}\n     {}",
            paths.len(),
            text(thread, "modified_at"),
            text(thread, "name"),
            text(thread, "path")
        ))?;
    }
    output::note(if paths.is_empty() { "There are no threads yet." } else { "/open NUMBER opens one." });
    Ok(paths)
}

/// Prints the models that can be chosen.
pub fn models(message: &Map<String, Value>) -> Result<(), CliError> {
    let providers = message.get("providers").and_then(Value::as_array);
    for provider in providers.into_iter().flatten().filter_map(Value::as_object) {
        let models = provider.get("models").and_then(Value::as_array);
        for model in models.into_iter().flatten().filter_map(Value::as_object) {
            output::line(format!("{}/{}", text(provider, "name"), text(model, "name")))?;
        }
    }
    output::note("/model NAME chooses one for the next turn.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_one_short_line() {
        let fields =
            json!({"toolkit": "storage", "tool": "write_file", "arguments": {"text": "a\nb".repeat(200)}});
        let line = call(fields.as_object().unwrap());
        assert!(
            line.starts_with("storage.write_file {") && line.ends_with('…') && !line.contains('\n'),
            "{line}"
        );
        assert_eq!(line.chars().count(), CALL_CHARS_MAX + 1);
        let ended = json!({"toolkit": "storage", "tool": "read_file", "error": {"message": "no such file"}});
        assert_eq!(call_error(ended.as_object().unwrap()).unwrap(), "storage.read_file: no such file");
        assert_eq!(call_error(json!({"error": null}).as_object().unwrap()), None);
    }
}

//! What loggers tell of a request to a model: a record without headers and keys, and filters over it.

mod filter;

pub use filter::{Filter, Looked};

use serde_json::{Map, Value, json};

/// Most bytes of an answer that are kept for its record.
pub const ANSWER_KEPT_BYTES_MAX: usize = 256 * 1024;
/// Longest body of a request that stands in its record, bytes as JSON.
pub const REQUEST_KEPT_BYTES_MAX: usize = 256 * 1024;
/// Longest text within them, characters; pictures and sound are longer.
const TEXT_CHARS_MAX: usize = 16 * 1024;
/// Members that carry credentials, in requests and in answers.
const SECRET: [&str; 10] = [
    "authorization",
    "authorization_token",
    "headers",
    "api_key",
    "apikey",
    "x-api-key",
    "access_token",
    "client_secret",
    "password",
    "token",
];
/// What stands for them.
const HIDDEN: &str = "********";

/// A body as a record has it: credentials hidden, long texts cut.
#[must_use]
pub fn body(bytes: &[u8], whole: bool) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if whole => {
            let value = cleaned(value);
            if value.to_string().len() <= REQUEST_KEPT_BYTES_MAX { value } else { Value::Null }
        }
        _ => events(&String::from_utf8_lossy(bytes)),
    }
}

/// An event stream as the list of its events; another text as nothing: nobody can say what is in it.
fn events(text: &str) -> Value {
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let read = data.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let all: Vec<Value> = read.map(cleaned).collect();
    if all.is_empty() { Value::Null } else { Value::Array(all) }
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > TEXT_CHARS_MAX => {
            let kept: String = text.chars().take(TEXT_CHARS_MAX).collect();
            json!(format!("{kept}…"))
        }
        Value::Array(items) => items.into_iter().map(cleaned).collect(),
        Value::Object(members) => Value::Object(members.into_iter().map(member).collect::<Map<_, _>>()),
        other => other,
    }
}

fn member((name, value): (String, Value)) -> (String, Value) {
    let is_secret = SECRET.contains(&name.to_ascii_lowercase().as_str());
    // Counts of tokens stay.
    let value = match value {
        Value::String(_) | Value::Object(_) | Value::Array(_) if is_secret => json!(HIDDEN),
        other => cleaned(other),
    };
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_in_records() {
        let request = json!({"model": "m", "tools": [{"type": "mcp", "authorization": "needle", "headers": {"X": "needle"}}],
            "mcp_servers": [{"authorization_token": "needle"}], "max_tokens": 5});
        let told = body(request.to_string().as_bytes(), true);
        assert!(!told.to_string().contains("needle") && told["max_tokens"] == 5, "{told}");
        let stream = "event: a\ndata: {\"type\":\"a\",\"api_key\":\"needle\"}\n\ndata: [DONE]\n\n";
        let told = body(stream.as_bytes(), true);
        assert_eq!(told, json!([{"type": "a", "api_key": HIDDEN}]));
        assert_eq!(body(b"{\"a\": \"needle", false), Value::Null, "what cannot be read is not told");
        assert_eq!(body(b"", true), Value::Null);
        let long = json!({"input": "x".repeat(100_000)});
        assert!(body(long.to_string().as_bytes(), true)["input"].as_str().unwrap().len() < 20_000);
    }
}

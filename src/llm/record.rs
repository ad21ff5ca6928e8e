//! What loggers tell of a request to a model: a record without headers and keys, and filters over it.

mod filter;

pub use filter::{Filter, Looked};

use super::body::values;
use serde_json::{Map, Value, json};

/// Most bytes of a request's body and of an answer that stand in a record.
pub const KEPT_BYTES_MAX: usize = 256 * 1024;
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

/// What is a text of its own in the chances of what a model might have said instead.
const CHANCES: &str = "logprobs";

/// A body as a record has it: credentials hidden, long texts cut. `to_end`: nothing of it was cut off before.
#[must_use]
pub fn body(bytes: &[u8], to_end: bool) -> Value {
    // What has more values is longer than what is told, and would take far more in memory to find that out.
    if bytes.is_empty() || values(bytes) > KEPT_BYTES_MAX {
        return Value::Null;
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if to_end => {
            let value = cleaned(value);
            if value.to_string().len() <= KEPT_BYTES_MAX { value } else { Value::Null }
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
        Value::String(text) => match text.char_indices().nth(TEXT_CHARS_MAX) {
            Some((end, _)) => json!(format!("{}…", text.split_at(end).0)),
            None => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(cleaned).collect(),
        Value::Object(members) => Value::Object(members.into_iter().map(member).collect::<Map<_, _>>()),
        other => other,
    }
}

/// As [`cleaned`], where `token` is a piece of a text.
fn chances(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(chances).collect(),
        Value::Object(members) => {
            let each = members.into_iter().map(|(name, value)| match value {
                piece @ Value::String(_) if name == "token" => (name, cleaned(piece)),
                inner @ (Value::Array(_) | Value::Object(_)) if !is_secret(&name) => (name, chances(inner)),
                other => member((name, other)),
            });
            Value::Object(each.collect::<Map<_, _>>())
        }
        other => cleaned(other),
    }
}

fn is_secret(name: &str) -> bool {
    SECRET.contains(&name.to_ascii_lowercase().as_str())
}

fn member((name, value): (String, Value)) -> (String, Value) {
    if name == CHANCES {
        return (name, chances(value));
    }
    let is_secret = is_secret(&name);
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
        assert_eq!(body(json!(vec![0; KEPT_BYTES_MAX]).to_string().as_bytes(), true), Value::Null);
        assert!(body(json!({"a": vec![0; 1_000]}).to_string().as_bytes(), true).is_object());
        let long = json!({"input": "x".repeat(100_000)});
        assert!(body(long.to_string().as_bytes(), true)["input"].as_str().unwrap().len() < 20_000);
        let fits = json!({"input": "ж".repeat(TEXT_CHARS_MAX)});
        assert_eq!(body(fits.to_string().as_bytes(), true), fits, "characters are counted, not bytes");
        let cut = body(json!({"input": "ж".repeat(TEXT_CHARS_MAX + 1)}).to_string().as_bytes(), true);
        assert_eq!(cut["input"].as_str().unwrap().chars().count(), TEXT_CHARS_MAX + 1);
    }

    #[test]
    fn pieces_of_an_answer_are_no_credentials() {
        let piece =
            json!({"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Ho"}]});
        for fine in [
            json!({"choices": [{"logprobs": {"content": [piece], "refusal": null}}]}),
            json!({"output": [{"content": [{"logprobs": [piece]}]}]}),
        ] {
            assert_eq!(body(fine.to_string().as_bytes(), true), fine);
        }
        let hidden = body(
            br#"{"logprobs": {"password": "needle", "x": {"headers": ["needle"]}}, "token": "needle"}"#,
            true,
        );
        assert!(!hidden.to_string().contains("needle"), "{hidden}");
    }
}

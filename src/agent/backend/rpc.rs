//! JSON-RPC messages. Pure.

use serde_json::{Value, json};

/// A method that is not there.
pub const NO_METHOD: i64 = -32601;
/// Parameters that do not fit.
pub const BAD_PARAMS: i64 = -32602;
/// Something that is not there.
pub const NOT_FOUND: i64 = -32002;
/// The program wants its user to sign in first.
pub const SIGN_IN: i64 = -32000;

/// A message that was heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Request { id: Value, method: String, params: Value },
    Note { method: String, params: Value },
    Answer { id: u64, result: Result<Value, RpcError> },
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
}

impl Heard {
    /// Reads a message; `None` for what is none.
    #[must_use]
    pub fn read(message: Value) -> Option<Self> {
        let Value::Object(mut message) = message else { return None };
        let params = message.remove("params").unwrap_or(Value::Null);
        let id = message.remove("id").filter(|id| !id.is_null());
        if let Some(Value::String(method)) = message.remove("method") {
            return Some(match id {
                Some(id) => Self::Request { id, method, params },
                None => Self::Note { method, params },
            });
        }
        let id = id?.as_u64()?;
        if let Some(error) = message.remove("error") {
            let text = error.get("message").and_then(Value::as_str).unwrap_or("it did not say why");
            let detail = error.pointer("/data/details").or(error.get("data")).and_then(Value::as_str);
            let message = match detail {
                Some(detail) if detail != text => format!("{text}: {detail}"),
                _ => text.to_owned(),
            };
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            return Some(Self::Answer { id, result: Err(RpcError { code, message }) });
        }
        Some(Self::Answer { id, result: Ok(message.remove("result").unwrap_or(Value::Null)) })
    }
}

/// A request.
#[must_use]
pub fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// A notification.
#[must_use]
pub fn note(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// The answer to a request of theirs.
#[must_use]
pub fn answer(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// The refusal of a request of theirs.
#[must_use]
pub fn refusal(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let request = json!({"jsonrpc": "2.0", "id": "a", "method": "m", "params": {"x": 1}});
        let is = Heard::Request { id: json!("a"), method: "m".into(), params: json!({"x": 1}) };
        assert_eq!(Heard::read(request), Some(is));
        let note = Heard::Note { method: "n".into(), params: Value::Null };
        assert_eq!(Heard::read(json!({"method": "n"})), Some(note));
        let answer = |message: Value| match Heard::read(message) {
            Some(Heard::Answer { id, result }) => (id, result.map_err(|error| error.message)),
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(json!({"id": 3, "result": null})), (3, Ok(Value::Null)));
        let failed = json!({"id": 3, "error": {"code": 1, "message": "no", "data": {"details": "really"}}});
        assert_eq!(answer(failed), (3, Err("no: really".into())));
        for none in [
            json!([]),
            json!("x"),
            json!({}),
            json!({"id": null, "result": 1}),
            json!({"id": "x", "result": 1}),
        ] {
            assert_eq!(Heard::read(none.clone()), None, "{none}");
        }
    }
}

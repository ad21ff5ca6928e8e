//! Names and values as SQL.

use crate::columnar::typed::Typed;
use rusqlite::types::Value;

/// A name in quotes.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as SQL that yields just it.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Integer(n) if *n == i64::MIN => "(-9223372036854775807 - 1)".into(),
        Value::Integer(n) => n.to_string(),
        Value::Real(n) if n.is_nan() => "NULL".into(),
        Value::Real(n) if n.is_infinite() => if *n > 0.0 { "9e999" } else { "-9e999" }.into(),
        Value::Real(n) => format!("{n:?}"),
        // A literal ends at a zero byte.
        Value::Text(text) if text.contains('\0') => format!("CAST({} AS TEXT)", blob(text.as_bytes())),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(bytes) => blob(bytes),
    }
}

fn blob(bytes: &[u8]) -> String {
    format!("X'{}'", hex::encode(bytes))
}

/// A typed value as SQL.
pub(super) fn typed(typed: &Typed) -> String {
    value(&super::values::store(typed))
}

//! The texts `records_json` and `annotations_json`.

use crate::columnar::typed::{Form, Row, Typed};
use crate::room::toolkit::ToolError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A list of records of a known form; the error names the field that is wrong.
pub(super) fn list<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, ToolError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read: Vec<T> = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        ToolError::invalid(format!("records_json, at `{}`: {}", error.path(), error.inner()))
    })?;
    reader.end().map_err(|error| ToolError::invalid(format!("records_json: {error}")))?;
    Ok(read)
}

/// Rows of a table. Values are typed JSON (room protocol §3.8), or plain as the npm client writes them: lists and
/// objects bare, bytes as `{"encoding": "base64", "data": …}`.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, ToolError> {
    let records: Vec<serde_json::Map<String, Value>> = list(text)?;
    let row = |(n, record): (usize, &serde_json::Map<String, Value>)| {
        let column = |(name, value): (&String, &Value)| {
            let value = read(value).map_err(|reason| {
                ToolError::invalid(format!("records_json, record {n}, column `{name}`: {reason}"))
            })?;
            Ok((name.clone(), value))
        };
        record.iter().map(column).collect::<Result<Row, ToolError>>()
    };
    records.iter().enumerate().map(row).collect()
}

fn read(value: &Value) -> Result<Typed, String> {
    match value {
        Value::Array(items) => Ok(Typed::List(items.iter().map(read).collect::<Result<_, _>>()?)),
        Value::Object(fields) => {
            let payload = |name: &str| fields.get(name).and_then(Value::as_str);
            if fields.len() == 2
                && payload("encoding") == Some("base64")
                && let Some(data) = payload("data")
            {
                return BASE64
                    .decode(data)
                    .map(Typed::Binary)
                    .map_err(|error| format!("not base64: {error}"));
            }
            // One key that names a type is a wrapper; what is wrong in it is an error.
            let wrapper = fields.keys().next().filter(|_| fields.len() == 1);
            match wrapper.map(String::as_str) {
                Some(
                    "binary" | "uuid" | "date" | "timestamp" | "list" | "struct" | "json" | "expression",
                ) => Typed::read(value, Form::Wrapped),
                _ => Ok(Typed::Json(value.clone())),
            }
        }
        plain => Typed::read(plain, Form::Wrapped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::EntityRecord;
    use serde_json::json;

    #[test]
    fn values_of_both_clients() {
        let read = rows(
            r#"[{"a": {"binary": "aGk="}, "b": {"encoding": "base64", "data": "aGk="}, "c": [1], "d": {"x": 1},
                 "e": {"list": ["y"]}, "f": null}]"#,
        )
        .unwrap();
        let hi = Typed::Binary(b"hi".to_vec());
        let wanted = [
            ("a", hi.clone()),
            ("b", hi),
            ("c", Typed::List(vec![Typed::Int(1)])),
            ("d", Typed::Json(json!({"x": 1}))),
            ("e", Typed::List(vec![Typed::Text("y".into())])),
            ("f", Typed::Null),
        ];
        assert_eq!(read[0], wanted.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| rows(text).unwrap_err().text;
        assert!(error("{").contains("records_json"), "{}", error("{"));
        assert!(error("[1]").contains("[0]"), "{}", error("[1]"));
        assert!(error(r#"[{"a": {"date": "x"}}]"#).contains("record 0, column `a`"));
        assert!(error("[] x").contains("trailing"), "{}", error("[] x"));
        let error = list::<EntityRecord>(r#"[{"name": "a"}, {"nam": "b"}]"#).unwrap_err().text;
        assert!(error.contains("[1]") && error.contains("unknown field `nam`"), "{error}");
    }
}

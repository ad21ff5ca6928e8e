//! How columns are described to a model. Pure.

use crate::columnar::typed;
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value, json};

/// JSON Schema of a row: every column, null where a column may be.
pub(super) fn row(schema: &Schema) -> Value {
    let properties: Map<String, Value> =
        schema.fields().iter().map(|field| (field.name().clone(), value(field))).collect();
    let required: Vec<_> = properties.keys().cloned().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn value(field: &Field) -> Value {
    let (kind, about) = match field.data_type() {
        _ if typed::is_json(field) => (json!(["object", "array", "string", "number", "boolean"]), "JSON"),
        _ if typed::is_uuid(field) => (json!("string"), "a UUID"),
        DataType::Boolean => (json!("boolean"), ""),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (json!("string"), ""),
        DataType::Date32 | DataType::Date64 => (json!("string"), "a date, YYYY-MM-DD"),
        DataType::Timestamp(..) => (json!("string"), "a time, ISO 8601"),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            (json!("string"), "bytes, Base64")
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => (json!("array"), ""),
        DataType::Struct(_) => (json!("object"), ""),
        kind if kind.is_integer() => (json!("integer"), ""),
        kind if kind.is_numeric() => (json!("number"), ""),
        _ => (json!(["string", "number", "boolean"]), ""),
    };
    let mut kinds = match kind {
        Value::Array(kinds) => kinds,
        kind => vec![kind],
    };
    if field.is_nullable() {
        kinds.push(json!("null"));
    }
    let kind = match kinds.as_slice() {
        [one] => one.clone(),
        _ => Value::Array(kinds),
    };
    if about.is_empty() { json!({"type": kind}) } else { json!({"type": kind, "description": about}) }
}

/// The columns in words.
pub(super) fn words(schema: &Schema) -> String {
    let one = |field: &std::sync::Arc<Field>| format!("{} {}", field.name(), field.data_type());
    schema.fields().iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_column_and_null_where_it_may_be() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("born", DataType::Date32, true),
        ]);
        let row = row(&schema);
        assert_eq!(row["properties"]["id"], json!({"type": "integer"}));
        assert_eq!(row["properties"]["name"], json!({"type": ["string", "null"]}));
        assert_eq!(row["properties"]["born"]["description"], "a date, YYYY-MM-DD");
        assert_eq!(row["required"].as_array().unwrap().len(), 3);
        assert_eq!(words(&schema), "id Int64, name Utf8, born Date32");
    }
}

//! Tools for one table.

use super::{KIT, gathered, schema};
use crate::agent::tools::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::client::room::RoomClient;
use crate::columnar::typed::{self, Form};
use arrow_schema::SchemaRef;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Rows of one insert.
const INSERT_MAX: usize = 10_000;

#[derive(Clone, Copy)]
pub(super) enum Op {
    Count,
    Search,
    Insert,
    Update,
    Delete,
}

pub(super) struct TableTool {
    op: Op,
    spec: ToolSpec,
    /// `{table, namespace}`.
    place: Value,
    columns: SchemaRef,
    client: RoomClient,
}

impl TableTool {
    pub fn new(op: Op, table: &str, place: &Value, columns: &SchemaRef, client: &RoomClient) -> Self {
        let row = schema::row(columns);
        let about = format!("condition in SQL; the columns are {}", schema::words(columns));
        let condition = json!({"type": "string", "description": about});
        let (name, about, properties) = match op {
            Op::Count => (
                format!("count_{table}"),
                format!("Counts the rows of {table} that have these values; null stands for any."),
                json!({"query": anything(row)}),
            ),
            Op::Search => (
                format!("advanced_search_{table}"),
                format!("Gives the rows of {table} that a condition selects."),
                json!({"where": condition}),
            ),
            Op::Insert => (
                format!("insert_{table}_rows"),
                format!("Adds rows to {table}."),
                json!({"rows": {"type": "array", "items": row}}),
            ),
            Op::Update => (
                format!("update_{table}_rows"),
                format!("Changes columns of the rows of {table} that a condition selects."),
                json!({"where": condition, "values": {"type": "array", "items": {"type": "object"},
                    "description": "columns with their new values; {\"expression\": SQL} is worked out for each row"}}),
            ),
            Op::Delete => (
                format!("advanced_delete_{table}"),
                format!("Deletes the rows of {table} that a condition selects."),
                json!({"where": condition}),
            ),
        };
        let spec = ToolSpec { strict: false, ..spec(KIT, &name, &about, properties) };
        Self { op, spec, place: place.clone(), columns: columns.clone(), client: client.clone() }
    }

    fn with(&self, more: Value) -> Value {
        let mut all = self.place.clone();
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }
}

/// The same row with every value nullable.
fn anything(mut row: Value) -> Value {
    for column in row["properties"].as_object_mut().into_iter().flat_map(|columns| columns.values_mut()) {
        let mut kinds = match column["type"].take() {
            Value::Array(kinds) => kinds,
            kind => vec![kind],
        };
        if !kinds.contains(&json!("null")) {
            kinds.push(json!("null"));
        }
        column["type"] = Value::Array(kinds);
    }
    row
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(rename = "where")]
    condition: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    query: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Insert {
    rows: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    #[serde(rename = "where")]
    condition: String,
    values: Vec<Map<String, Value>>,
}

#[async_trait::async_trait]
impl Tool for TableTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let datasets = self.client.datasets();
        let answer = match self.op {
            Op::Count => {
                let condition = equal(&arguments::<Count>(given)?.query)?;
                let counted = datasets.call("count", self.with(json!({"where": condition}))).await?;
                json!({"rows": counted["count"]})
            }
            Op::Search => {
                let Which { condition } = arguments(given)?;
                let start = self.with(json!({"kind": "start", "where": condition}));
                gathered(datasets.read("search", start).await?).await?
            }
            Op::Insert => {
                let Insert { rows } = arguments(given)?;
                if rows.len() > INSERT_MAX {
                    return Err(format!("more than {INSERT_MAX} rows at once").into());
                }
                let read = typed::rows(&rows, Form::Plain).and_then(|rows| typed::batch(&self.columns, rows));
                let batch = read.map_err(|error| format!("the rows are wrong: {error}"))?;
                let start = self.with(json!({"kind": "start"}));
                let count = datasets.write("insert", start, None, std::iter::once(Ok(batch))).await?;
                json!({"ok": true, "rows": count})
            }
            Op::Update => {
                let Update { condition, values } = arguments(given)?;
                let values: Vec<_> = values
                    .into_iter()
                    .flatten()
                    .map(
                        |(column, value)| json!({"column": column, "value_json": wrapped(value).to_string()}),
                    )
                    .collect();
                datasets.call("update", self.with(json!({"where": condition, "values": values}))).await?;
                json!({"ok": true})
            }
            Op::Delete => {
                let Which { condition } = arguments(given)?;
                if condition.trim().is_empty() {
                    return Err("the condition is empty; `true` selects every row".into());
                }
                datasets.call("delete", self.with(json!({"where": condition}))).await?;
                json!({"ok": true})
            }
        };
        Ok(answer.to_string().into())
    }
}

/// A plain value in the form of the wire; an expression stays as it is.
fn wrapped(value: Value) -> Value {
    match value {
        Value::Array(items) => json!({"list": items.into_iter().map(wrapped).collect::<Vec<_>>()}),
        Value::Object(members) if !(members.len() == 1 && members.contains_key("expression")) => {
            json!({"json": members})
        }
        other => other,
    }
}

/// The condition that every given column equals its value.
fn equal(columns: &Map<String, Value>) -> Result<Option<String>, String> {
    let mut all = Vec::new();
    for (column, value) in columns {
        let name = format!("\"{}\"", column.replace('"', "\"\""));
        all.push(match value {
            Value::Null => continue,
            Value::Bool(flag) => format!("{name} = {}", if *flag { "TRUE" } else { "FALSE" }),
            Value::Number(number) => format!("{name} = {number}"),
            Value::String(text) => format!("{name} = '{}'", text.replace('\'', "''")),
            _ => return Err(format!("column `{column}` cannot be compared with a list or an object")),
        });
    }
    Ok((!all.is_empty()).then(|| all.join(" AND ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_a_condition() {
        let columns = |value: Value| equal(value.as_object().unwrap());
        assert_eq!(columns(json!({"a": null})).unwrap(), None);
        let both = columns(json!({"a": 1, "b": "it's", "c": true, "d": null})).unwrap();
        assert_eq!(both.as_deref(), Some("\"a\" = 1 AND \"b\" = 'it''s' AND \"c\" = TRUE"));
        assert!(columns(json!({"a": [1]})).is_err());
    }

    #[test]
    fn new_values_are_wrapped_and_expressions_are_not() {
        assert_eq!(wrapped(json!({"expression": "a + 1"})), json!({"expression": "a + 1"}));
        assert_eq!(wrapped(json!([1, [2]])), json!({"list": [1, {"list": [2]}]}));
        assert_eq!(wrapped(json!({"k": 1})), json!({"json": {"k": 1}}));
        assert_eq!(wrapped(json!("x")), json!("x"));
    }
}

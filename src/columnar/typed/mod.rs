//! Typed JSON rows (room protocol §3.8) and Arrow, both ways.
//!
//! Null, bool, number and text stand for themselves; other values are an object with one key that names their type,
//! as `{"uuid": "…"}` or `{"list": […]}`. Beside this form there is the plain one of JSON files and of print-outs,
//! in which arrays are lists and objects are structs.
//!
//! Knows Arrow and JSON; no stores, no wire.

mod build;
mod infer;
mod show;
#[cfg(test)]
mod tests;
mod value;

pub use infer::infer;
pub use value::Typed;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, SchemaRef};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Deepest nesting of lists and structs read.
const DEPTH_MAX: usize = 32;
/// Name of the extension type of JSON text, in a field's metadata.
pub const JSON_EXTENSION: &str = "arrow.json";
/// Name of the extension type of UUIDs, in a field's metadata.
pub const UUID_EXTENSION: &str = "arrow.uuid";

/// Why a value is not what its column holds. Names the column and the row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypedError(pub String);

/// One row: names and values, in the order they were given.
pub type Row = Vec<(String, Typed)>;

/// How JSON stands for values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With wrappers; bare arrays and objects are refused.
    Wrapped,
    /// Arrays are lists, objects are structs.
    Plain,
}

/// Reads rows that are JSON objects.
pub fn rows(values: &[Value], form: Form) -> Result<Vec<Row>, TypedError> {
    let read = |(n, value): (usize, &Value)| {
        let fields = value.as_object().ok_or_else(|| TypedError(format!("row {n} is no object")))?;
        fields.iter().map(|(name, value)| column(n, name, value, form)).collect()
    };
    values.iter().enumerate().map(read).collect()
}

/// Reads a chunk `{"kind": "rows", "rows": [{"columns": [{"name", "value"}]}]}`.
pub fn rows_chunk(chunk: &Map<String, Value>) -> Result<Vec<Row>, TypedError> {
    let wrong = |n: usize| TypedError(format!("row {n} is not {{\"columns\": [{{\"name\", \"value\"}}]}}"));
    let all = chunk.get("rows").and_then(Value::as_array);
    let all = all.ok_or_else(|| TypedError("the chunk has no array `rows`".into()))?;
    let read = |(n, row): (usize, &Value)| {
        let columns = row.get("columns").and_then(Value::as_array).ok_or_else(|| wrong(n))?;
        let pair = |entry: &Value| {
            let name = entry.get("name").and_then(Value::as_str).ok_or_else(|| wrong(n))?;
            column(n, name, entry.get("value").unwrap_or(&Value::Null), Form::Wrapped)
        };
        columns.iter().map(pair).collect()
    };
    all.iter().enumerate().map(read).collect()
}

fn column(row: usize, name: &str, value: &Value, form: Form) -> Result<(String, Typed), TypedError> {
    let value = Typed::read(value, form)
        .map_err(|reason| TypedError(format!("column `{name}`, row {row}: {reason}")))?;
    Ok((name.to_owned(), value))
}

/// Puts rows into a batch of `schema`. A column that a row does not name is null there; one that the schema does not
/// have is an error.
pub fn batch(schema: &SchemaRef, rows: Vec<Row>) -> Result<RecordBatch, TypedError> {
    let count = rows.len();
    let places: HashMap<&str, usize> =
        schema.fields().iter().enumerate().map(|(n, field)| (field.name().as_str(), n)).collect();
    let mut columns = vec![vec![Typed::Null; count]; schema.fields().len()];
    for (n, row) in rows.into_iter().enumerate() {
        for (name, value) in row {
            let place = places.get(name.as_str()).ok_or_else(|| {
                let known: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                TypedError(format!("row {n}: there is no column `{name}`; there are: {}", known.join(", ")))
            })?;
            columns[*place][n] = value;
        }
    }
    let arrays = schema.fields().iter().zip(columns).map(|(field, values)| array(field, &values));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| TypedError(error.to_string()))
}

/// Puts values into an array of the field's type.
pub fn array(field: &Field, values: &[Typed]) -> Result<ArrayRef, TypedError> {
    if let Some(row) = values.iter().position(|v| *v == Typed::Null).filter(|_| !field.is_nullable()) {
        return Err(TypedError(format!(
            "column `{}`, row {row}: null, where a value is needed",
            field.name()
        )));
    }
    build::array(field, values).map_err(|reason| TypedError(format!("column `{}`, {reason}", field.name())))
}

/// The rows of a batch.
pub fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, TypedError> {
    let mut rows = vec![Row::with_capacity(batch.num_columns()); batch.num_rows()];
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        for (value, row) in values(field, array)?.into_iter().zip(&mut rows) {
            row.push((field.name().clone(), value));
        }
    }
    Ok(rows)
}

/// The rows of a batch as JSON objects.
pub fn objects(batch: &RecordBatch, form: Form) -> Result<Vec<Value>, TypedError> {
    let object = |row: Row| Value::Object(row.into_iter().map(|(name, v)| (name, v.json(form))).collect());
    Ok(rows_of(batch)?.into_iter().map(object).collect())
}

/// The values of an array whose field is `field`.
pub fn values(field: &Field, array: &dyn Array) -> Result<Vec<Typed>, TypedError> {
    show::values(field, array)
        .map_err(|reason| TypedError(format!("column `{}` cannot be shown: {reason}", field.name())))
}

/// True for text that is JSON.
#[must_use]
pub fn is_json(field: &Field) -> bool {
    extension(field).is_some_and(|name| name == JSON_EXTENSION || name == "lance.json")
}

/// True for 16 bytes that are a UUID.
#[must_use]
pub fn is_uuid(field: &Field) -> bool {
    extension(field) == Some(UUID_EXTENSION)
}

fn extension(field: &Field) -> Option<&str> {
    field.extension_type_name()
}

//! Reading and writing rows of one table.

use super::MemoryError;
use crate::columnar::typed::{self, Row, Typed};
use crate::dataset::{AddColumns, CreateMode, DatasetStore, Search, TableAt, WriteKind};
use crate::error_code::RoomCode;
use arrow_schema::{Field, Schema, SchemaRef};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

/// Most values in one SQL condition.
const IN_MAX: usize = 500;
/// Rows that go into one batch.
const BATCH_ROWS: usize = 4096;

/// A text column of a row, if it has text.
pub(super) fn text<'r>(row: &'r Row, column: &str) -> Option<&'r str> {
    match value(row, column) {
        Some(Typed::Text(text)) => Some(text),
        _ => None,
    }
}

/// A column of a row, unless it is null.
pub(super) fn value<'r>(row: &'r Row, column: &str) -> Option<&'r Typed> {
    row.iter().find(|(name, _)| name == column).map(|(_, value)| value).filter(|value| **value != Typed::Null)
}

/// Gives a column its value.
pub(super) fn set(row: &mut Row, column: &str, value: Typed) {
    match row.iter_mut().find(|(name, _)| name == column) {
        Some((_, old)) => *old = value,
        None => row.push((column.to_owned(), value)),
    }
}

/// Whether the table is there, and its columns.
pub(super) async fn schema(store: &dyn DatasetStore, at: &TableAt) -> Result<Option<SchemaRef>, MemoryError> {
    match store.schema(at).await {
        Ok(schema) => Ok(Some(schema)),
        Err(error) if error.code == RoomCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The rows that a condition selects, all without one; none where there is no table. More than `max` are an error.
pub(super) async fn all(
    store: &dyn DatasetStore,
    at: &TableAt,
    filter: Option<String>,
    max: usize,
) -> Result<Vec<Row>, MemoryError> {
    let search = Search { filter, ..Search::default() };
    let mut reader = match store.search(at, search).await {
        Ok(reader) => reader,
        Err(error) if error.code == RoomCode::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    while let Some(batch) = reader.next().await? {
        if rows.len() + batch.num_rows() > max {
            return Err(MemoryError::failed(format!(
                "the table `{}` has more than {max} rows, which is more than a memory reads at once",
                at.table
            )));
        }
        rows.extend(typed::rows_of(&batch)?);
    }
    Ok(rows)
}

/// The rows whose `column` is one of `values`, by that value.
pub(super) async fn by_key(
    store: &dyn DatasetStore,
    at: &TableAt,
    column: &str,
    values: &[Typed],
    max: usize,
) -> Result<HashMap<String, Row>, MemoryError> {
    let mut found = HashMap::new();
    for some in values.chunks(IN_MAX) {
        for row in all(store, at, Some(among(column, some)?), max).await? {
            if let Some(value) = value(&row, column) {
                found.insert(key_text(value)?, row);
            }
        }
    }
    Ok(found)
}

/// `"column" IN (…)`
pub(super) fn among(column: &str, values: &[Typed]) -> Result<String, MemoryError> {
    let mut condition = format!("{} IN (", quoted(column));
    for (n, value) in values.iter().enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        _ = write!(condition, "{separator}{}", literal(value)?);
    }
    condition.push(')');
    Ok(condition)
}

pub(super) fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

/// A value in SQL. Only what may be a key.
pub(super) fn literal(value: &Typed) -> Result<String, MemoryError> {
    match value {
        Typed::Text(text) => Ok(format!("'{}'", text.replace('\'', "''"))),
        other => key_text(other),
    }
}

/// A key as text.
pub(super) fn key_text(value: &Typed) -> Result<String, MemoryError> {
    match value {
        Typed::Text(text) => Ok(text.clone()),
        Typed::Int(n) => Ok(n.to_string()),
        Typed::UInt(n) => Ok(n.to_string()),
        other => Err(MemoryError::invalid(format!("a key is text or an integer, not {}", other.kind()))),
    }
}

/// Writes rows as one version of the table, which is made if it is missing and gets the columns it lacks. With `key`,
/// rows with a key that is there replace that row. `base`: the columns of a new table, before those that the rows add.
pub(super) async fn write(
    store: &dyn DatasetStore,
    at: &TableAt,
    base: &SchemaRef,
    key: Option<&str>,
    mut rows: Vec<Row>,
) -> Result<(), MemoryError> {
    let there = schema(store, at).await?;
    let known = there.as_ref().unwrap_or(base);
    let inferred = typed::infer(&rows)?;
    // A column of nulls only says nothing of its type.
    let empty = |name: &str| rows.iter().all(|row| value(row, name).is_none());
    let added: Vec<Arc<Field>> = inferred
        .fields()
        .iter()
        .filter(|field| known.field_with_name(field.name()).is_err() && !empty(field.name()))
        .cloned()
        .collect();
    let fields: Vec<Arc<Field>> = known.fields().iter().chain(&added).cloned().collect();
    let full: SchemaRef = Arc::new(Schema::new_with_metadata(fields, known.metadata().clone()));
    rows.iter_mut().for_each(|row| row.retain(|(name, _)| full.field_with_name(name).is_ok()));
    let mut batches = Vec::new();
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(BATCH_ROWS));
        batches.push(typed::batch(&full, std::mem::replace(&mut rows, rest))?);
    }
    let kind = match (&there, key) {
        (None, _) => {
            let mode = CreateMode::Create;
            WriteKind::Create { mode, schema: Some(Arc::clone(&full)), metadata: BTreeMap::new() }
        }
        (Some(_), Some(key)) => WriteKind::Merge { on: key.to_owned() },
        (Some(_), None) => WriteKind::Insert,
    };
    if there.is_some() && !added.is_empty() {
        store.add_columns(at, AddColumns::Schema(Arc::new(Schema::new(added)))).await?;
    }
    let mut writer = store.write(at, kind).await?;
    for batch in batches {
        writer.push(batch).await?;
    }
    writer.commit().await?;
    Ok(())
}

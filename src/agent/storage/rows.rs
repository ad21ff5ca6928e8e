//! Rows of a thread as Arrow, both ways. Pure.

use crate::agent::thread::record::Row;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// A stored message with its number in the thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub sequence: i64,
    pub turn_id: Option<String>,
    pub item_id: String,
    /// The message, `created_at` included.
    pub message: Map<String, Value>,
}

fn compressed(field: Field, extension: Option<&str>) -> Field {
    let mut metadata = HashMap::from([("lance-encoding:compression".to_owned(), "zstd".to_owned())]);
    if let Some(extension) = extension {
        metadata.insert("ARROW:extension:name".to_owned(), extension.to_owned());
        metadata.insert("ARROW:extension:metadata".to_owned(), String::new());
    }
    field.with_metadata(metadata)
}

/// The columns of a thread's table.
pub(super) fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Schema::new(vec![
        Field::new("turn_id", DataType::Utf8, true),
        Field::new("item_id", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, true),
        Field::new("sequence", DataType::Int64, false),
        Field::new("timestamp", time, false),
        compressed(Field::new("data", DataType::LargeUtf8, false), Some("arrow.json")),
        compressed(Field::new("attachment", DataType::LargeBinary, true), None),
    ])
}

/// Microseconds since 1970 of an ISO 8601 time.
fn micros(text: &str) -> i64 {
    text.parse::<DateTime<Utc>>().map_or(0, |time| time.timestamp_micros())
}

/// The rows with numbers from `first` on.
pub(super) fn batch(rows: &[Row], first: i64) -> Result<RecordBatch, ArrowError> {
    let texts = |get: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let data: LargeStringArray =
        rows.iter().map(|row| Some(Value::Object(row.data.clone()).to_string())).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(micros(&row.timestamp))).collect();
    let numbers: Int64Array = (first..).take(rows.len()).map(Some).collect();
    let none = LargeBinaryArray::from_iter(rows.iter().map(|_| None::<&[u8]>));
    RecordBatch::try_new(
        Arc::new(schema()),
        vec![
            texts(|row| row.turn_id.as_deref()),
            texts(|row| Some(&row.item_id)),
            texts(|row| Some(&row.kind)),
            Arc::new(numbers),
            Arc::new(times.with_timezone("UTC")),
            Arc::new(data),
            Arc::new(none),
        ],
    )
}

/// Reads rows; those that are no messages are left out.
pub(super) fn read(batch: &RecordBatch) -> Result<Vec<Stored>, ArrowError> {
    let column = |name: &str, as_type: &DataType| -> Result<Option<ArrayRef>, ArrowError> {
        batch.column_by_name(name).map(|array| arrow_cast::cast(array, as_type)).transpose()
    };
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let (turns, items) = (column("turn_id", &DataType::Utf8)?, column("item_id", &DataType::Utf8)?);
    let (kinds, numbers) = (column("type", &DataType::Utf8)?, column("sequence", &DataType::Int64)?);
    let (times, data) = (column("timestamp", &time)?, column("data", &DataType::LargeUtf8)?);
    let text = |array: &Option<ArrayRef>, at: usize| {
        let array = array.as_ref()?.as_string_opt::<i32>()?;
        array.is_valid(at).then(|| array.value(at).to_owned())
    };
    let mut rows = Vec::with_capacity(batch.num_rows());
    for at in 0..batch.num_rows() {
        let number =
            numbers.as_ref().and_then(|a| a.as_primitive_opt::<Int64Type>()).filter(|a| a.is_valid(at));
        let data = data.as_ref().and_then(|a| a.as_string_opt::<i64>()).filter(|a| a.is_valid(at));
        let (Some(number), Some(data), Some(item_id)) = (number, data, text(&items, at)) else { continue };
        let Some(mut message) = object(data.value(at)) else { continue };
        if let (false, Some(kind)) = (message.contains_key("type"), text(&kinds, at)) {
            message.insert("type".into(), json!(kind));
        }
        let time = times
            .as_ref()
            .and_then(|a| a.as_primitive_opt::<TimestampMicrosecondType>())
            .filter(|a| a.is_valid(at));
        if let Some(time) = time.and_then(|a| DateTime::from_timestamp_micros(a.value(at))) {
            message.insert("created_at".into(), json!(crate::agent::message::timestamp(time)));
        }
        rows.push(Stored { sequence: number.value(at), turn_id: text(&turns, at), item_id, message });
    }
    Ok(rows)
}

/// A JSON object, or the JSON text of one, as old rows have it.
fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text).ok()? {
        Value::Object(fields) => Some(fields),
        Value::String(text) => serde_json::from_str(&text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_written() {
        let data =
            json!({"type": "meshagent.agent.turn.ended", "message_id": "m", "turn_id": "t", "metadata": {}});
        let row = Row {
            turn_id: Some("t".into()),
            item_id: "m".into(),
            kind: "meshagent.agent.turn.ended".into(),
            timestamp: "2026-01-02T03:04:05.000006Z".into(),
            data: data.as_object().unwrap().clone(),
        };
        let written = batch(&[row.clone(), Row { turn_id: None, ..row }], 7).unwrap();
        let read = read(&written).unwrap();
        assert_eq!(read.iter().map(|r| r.sequence).collect::<Vec<_>>(), [7, 8]);
        assert_eq!((read[0].turn_id.as_deref(), read[1].turn_id.as_deref()), (Some("t"), None));
        assert_eq!(read[0].message["created_at"], "2026-01-02T03:04:05.000006Z");
        assert_eq!(object("\"{\\\"a\\\":1}\"").unwrap()["a"], 1);
        assert_eq!(object("7"), None);
    }
}

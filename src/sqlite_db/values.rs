//! Values of databases and typed values.
//!
//! | type | as SQLite keeps it |
//! |---|---|
//! | bool | 0 or 1 |
//! | date | text `YYYY-MM-DD` |
//! | timestamp | text `YYYY-MM-DDThh:mm:ss.ffffff`, with `Z` where it has a zone (UTC then) |
//! | uuid | 16 bytes |
//! | list, struct | text, JSON with typed values |
//! | json | text |

use crate::columnar::typed::{Form, Typed, is_json, is_uuid};
use arrow_schema::{DataType, Field};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use rusqlite::types::{Value, ValueRef};
use uuid::Uuid;

/// What a cell holds for a value.
pub(super) fn store(typed: &Typed) -> Value {
    match typed {
        Typed::Null => Value::Null,
        Typed::Bool(b) => Value::Integer(i64::from(*b)),
        Typed::Int(n) => Value::Integer(*n),
        Typed::UInt(n) => i64::try_from(*n).map_or_else(|_| Value::Text(n.to_string()), Value::Integer),
        Typed::Float(n) => Value::Real(*n),
        Typed::Text(text) => Value::Text(text.clone()),
        Typed::Binary(bytes) => Value::Blob(bytes.clone()),
        Typed::Uuid(id) => Value::Blob(id.as_bytes().to_vec()),
        Typed::Date(date) => Value::Text(date.format("%Y-%m-%d").to_string()),
        Typed::Timestamp { at, utc } => {
            let zone = if *utc { "Z" } else { "" };
            Value::Text(format!("{}{zone}", at.format("%Y-%m-%dT%H:%M:%S%.6f")))
        }
        Typed::Json(json) => Value::Text(json.to_string()),
        Typed::List(_) | Typed::Struct(_) => match typed.json(Form::Wrapped) {
            // Without the wrapper that the column's type stands for.
            serde_json::Value::Object(wrapped) => Value::Text(
                wrapped.into_iter().next().map_or_else(String::new, |(_, inner)| inner.to_string()),
            ),
            other => Value::Text(other.to_string()),
        },
    }
}

/// The value of a cell for a column of this type; `None` where it is no value of it.
pub(super) fn load(field: &Field, cell: ValueRef<'_>) -> Option<Typed> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some(match (field.data_type(), cell) {
        (_, ValueRef::Null) => Typed::Null,
        (DataType::Boolean, ValueRef::Integer(n)) => Typed::Bool(n != 0),
        (DataType::Date32, ValueRef::Text(bytes)) => Typed::Date(text(bytes)?.parse().ok()?),
        (DataType::Date32, ValueRef::Integer(days)) => {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
            Typed::Date(epoch.checked_add_signed(chrono::TimeDelta::try_days(days)?)?)
        }
        (DataType::Timestamp(..), ValueRef::Text(bytes)) => timestamp(text(bytes)?)?,
        (DataType::FixedSizeBinary(16), ValueRef::Text(bytes)) if is_uuid(field) => {
            Typed::Uuid(Uuid::parse_str(text(bytes)?).ok()?)
        }
        (DataType::Utf8 | DataType::LargeUtf8, ValueRef::Text(bytes)) if is_json(field) => {
            let text = text(bytes)?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
            Typed::Text(text.to_owned())
        }
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..), ValueRef::Text(bytes)) => {
            let json =
                serde_json::json!({"list": serde_json::from_str::<serde_json::Value>(text(bytes)?).ok()?});
            Typed::read(&json, Form::Wrapped).ok()?
        }
        (DataType::Struct(_), ValueRef::Text(bytes)) => {
            let json =
                serde_json::json!({"struct": serde_json::from_str::<serde_json::Value>(text(bytes)?).ok()?});
            Typed::read(&json, Form::Wrapped).ok()?
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, ValueRef::Integer(n)) => {
            Typed::Text(n.to_string())
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, ValueRef::Real(n)) => {
            Typed::Text(n.to_string())
        }
        (data_type, ValueRef::Integer(n)) if takes_numbers(data_type) => Typed::Int(n),
        (data_type, ValueRef::Real(n)) if takes_numbers(data_type) => Typed::Float(n),
        (DataType::UInt64, ValueRef::Text(bytes)) => Typed::UInt(text(bytes)?.parse().ok()?),
        (data_type, ValueRef::Text(bytes)) if !data_type.is_numeric() && *data_type != DataType::Boolean => {
            Typed::Text(text(bytes)?.to_owned())
        }
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
            ValueRef::Blob(bytes),
        ) => Typed::Binary(bytes.to_vec()),
        _ => return None,
    })
}

/// Also decimals and times, which are read from digits.
fn takes_numbers(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

fn timestamp(text: &str) -> Option<Typed> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(Typed::Timestamp { at: at.naive_utc(), utc: true });
    }
    let at = text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok();
    let at = at.or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0))?;
    Some(Typed::Timestamp { at, utc: false })
}

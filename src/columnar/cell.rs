//! Arrow values as SQLite values and back, without loss.
//!
//! | Arrow type | SQLite value | declared type |
//! |---|---|---|
//! | null | NULL | `BLOB` |
//! | bool | INTEGER 0 or 1 | `INTEGER` |
//! | int8 … int64, uint8 … uint32 | INTEGER | `INTEGER` |
//! | uint64 | INTEGER up to 2⁶³−1, above that a BLOB of 8 bytes, big-endian (sorts after all integers) | `INTEGER` |
//! | float16, float32, float64 | REAL; NaN and −0.0 are a BLOB of the value's bytes, big-endian | `BLOB` |
//! | decimal 32, 64, 128, 256 | TEXT, digits with the scale's number of decimals | `TEXT` |
//! | utf8, large utf8, utf8 view | TEXT | `TEXT` |
//! | binary, large, view, fixed size (uuid is 16 bytes) | BLOB | `BLOB` |
//! | date32: days; date64: milliseconds | INTEGER | `INTEGER` |
//! | time32, time64, timestamp, duration | INTEGER in the type's unit; the zone is in the schema | `INTEGER` |
//! | interval of months | INTEGER | `INTEGER` |
//! | interval of days and time, of months, days and nanoseconds | BLOB of the fields, big-endian | `BLOB` |
//! | fixed size list of float32 without null | BLOB, little-endian float32 each | `BLOB` |
//! | list, large list, fixed size list, list views | TEXT, JSON array | `TEXT` |
//! | struct | TEXT, JSON object in the order of the fields | `TEXT` |
//! | map | TEXT, JSON array of `[key, value]` | `TEXT` |
//! | dictionary, run-end encoded | as their values | of their values |
//!
//! Inside JSON: numbers as they are; floats that JSON has no number for as a string `#` and the bits in hexadecimal;
//! decimals as strings; bytes and long intervals in base64; times as their integer. The schema says how to read it.
//! Unions, structs with two fields of one name, and dictionaries with keys under 32 bits inside other types are
//! refused.

mod decode;
mod encode;
mod json;
#[cfg(test)]
mod tests;

pub use decode::CellBuilder;
pub use encode::CellSource;

use arrow_schema::{DataType, Field, Schema};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::borrow::Cow;

/// Most levels of lists, structs and maps inside each other.
const DEPTH_MAX: usize = 32;

/// A value as SQLite keeps it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.value()))
    }
}

impl Cell<'_> {
    #[must_use]
    pub fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Blob(value) => ValueRef::Blob(value),
        }
    }
}

/// A column, or a value of it, that has no place in SQLite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{field}` {reason}")]
pub struct CellError {
    pub field: String,
    /// Continues a sentence that begins with the column.
    pub reason: String,
}

impl CellError {
    pub(crate) fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.into() }
    }
}

/// Whether every column can be kept. Names the first that cannot.
pub fn check(schema: &Schema) -> Result<(), CellError> {
    schema.fields().iter().try_for_each(|field| {
        check_type(field.data_type(), 0).map_err(|reason| CellError::new(field.name(), reason))
    })
}

fn check_type(data_type: &DataType, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("has types inside each other more than {DEPTH_MAX} deep"));
    }
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => check_type(item.data_type(), depth + 1),
        DataType::Map(entries, _) => check_type(entries.data_type(), depth + 1),
        DataType::Struct(fields) => {
            for (index, field) in fields.iter().enumerate() {
                if fields[..index].iter().any(|other| other.name() == field.name()) {
                    return Err(format!("is a struct with two fields named `{}`; rename one", field.name()));
                }
                check_type(field.data_type(), depth + 1)?;
            }
            Ok(())
        }
        DataType::Dictionary(key, value) => {
            let narrow =
                matches!(**key, DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16);
            if narrow && depth > 0 {
                return Err(format!(
                    "has a dictionary with {key} keys inside another type; use 32-bit keys or the values themselves"
                ));
            }
            check_type(value, depth + 1)
        }
        DataType::RunEndEncoded(_, values) => check_type(values.data_type(), depth + 1),
        DataType::Union(..) => {
            Err("is a union, which cannot be kept; use a struct with a nullable field for each case"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// The type to declare the column with in `CREATE TABLE`: one whose affinity changes no value.
#[must_use]
pub fn declared_type(data_type: &DataType) -> &'static str {
    use DataType as T;
    match data_type {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::UInt8
        | T::UInt16
        | T::UInt32
        | T::UInt64
        | T::Date32
        | T::Date64
        | T::Time32(_)
        | T::Time64(_)
        | T::Timestamp(..)
        | T::Duration(_)
        | T::Interval(arrow_schema::IntervalUnit::YearMonth) => "INTEGER",
        T::Utf8
        | T::LargeUtf8
        | T::Utf8View
        | T::Decimal32(..)
        | T::Decimal64(..)
        | T::Decimal128(..)
        | T::Decimal256(..)
        | T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::Struct(_)
        | T::Map(..) => "TEXT",
        T::Dictionary(_, value) => declared_type(value),
        T::RunEndEncoded(_, values) => declared_type(values.data_type()),
        T::FixedSizeList(item, _) if *item.data_type() != T::Float32 => "TEXT",
        _ => "BLOB",
    }
}

/// Most rows one batch of this schema can hold whatever they are: a dictionary with narrow keys has few places.
#[must_use]
pub fn batch_rows_max(schema: &Schema) -> usize {
    let of = |field: &Field| match field.data_type() {
        DataType::Dictionary(key, _) => match **key {
            DataType::Int8 => 127,
            DataType::UInt8 => 255,
            DataType::Int16 => 32_767,
            DataType::UInt16 => 65_535,
            _ => usize::MAX,
        },
        _ => usize::MAX,
    };
    schema.fields().iter().map(|field| of(field)).min().unwrap_or(usize::MAX)
}

/// What a column's values are kept as: itself, or the type behind a dictionary, a run-end encoding or a list view.
#[must_use]
pub fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::ListView(item) => DataType::List(item.clone()),
        DataType::LargeListView(item) => DataType::LargeList(item.clone()),
        other => other.clone(),
    }
}

//! Values that the text or a parameter says, and their form as a column of some type stores them.

use super::cells;
use super::typed::{bytes, element, is_uuid, list_of, plain, string};
use arrow_array::builder::BooleanBuilder;
use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float64Array, Int64Array,
    IntervalMonthDayNanoArray, LargeListArray, ListArray, StringArray, StructArray, new_null_array,
};
use arrow_buffer::{IntervalMonthDayNano, OffsetBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::Metadata;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, IntervalUnit};
use arrow_select::concat::concat;
use rusqlite::types::Value;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Constant>),
    Struct(Vec<(String, Constant)>),
    Interval { months: i32, days: i32, nanos: i64 },
}

impl Constant {
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Text(_) => DataType::Utf8,
            Self::Bytes(_) => DataType::Binary,
            Self::List(items) => {
                list_of(items.iter().map(Self::data_type).fold(DataType::Null, |all, one| {
                    match (&all, &one) {
                        (_, DataType::Null) => all,
                        (DataType::Int64, DataType::Float64) | (DataType::Null, _) => one,
                        _ => all,
                    }
                }))
            }
            Self::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(name, value)| Field::new(name, value.data_type(), true))
                    .collect::<Fields>(),
            ),
        }
    }

    /// As SQLite SQL of its own type.
    pub fn print(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Boolean(true) => "TRUE".to_owned(),
            Self::Boolean(false) => "FALSE".to_owned(),
            Self::Integer(i64::MIN) => "(-9223372036854775807 - 1)".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => float(*number),
            Self::Text(text) => string(text),
            Self::Bytes(raw) => bytes(raw),
            Self::List(_) | Self::Struct(_) | Self::Interval { .. } => {
                self.stored(&self.data_type(), &Metadata::new()).unwrap_or_else(|_| "NULL".to_owned())
            }
        }
    }

    /// As SQLite SQL of the form that a column of `data_type` stores.
    pub fn stored(&self, data_type: &DataType, metadata: &Metadata) -> Result<String, ArrowError> {
        let array = self.array(data_type, metadata)?;
        let field = Field::new("constant", data_type.clone(), true).with_metadata(metadata.clone());
        let value = cells::stored(&field, &array)?;
        Ok(print_value(&value))
    }

    /// One row of `data_type`.
    pub fn array(&self, data_type: &DataType, metadata: &Metadata) -> Result<ArrayRef, ArrowError> {
        if let (Self::Text(text), true) = (self, is_uuid(data_type, metadata)) {
            let id = uuid::Uuid::parse_str(text).map_err(|_| not_a(text, "UUID"))?;
            return Ok(Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(id.into_bytes()))?));
        }
        let base: ArrayRef = match self {
            Self::Null => return Ok(new_null_array(data_type, 1)),
            Self::Boolean(value) => {
                let mut builder = BooleanBuilder::with_capacity(1);
                builder.append_value(*value);
                Arc::new(builder.finish())
            }
            Self::Integer(value) => Arc::new(Int64Array::from(vec![*value])),
            Self::Float(value) => Arc::new(Float64Array::from(vec![*value])),
            Self::Text(value) => Arc::new(StringArray::from(vec![value.as_str()])),
            Self::Bytes(value) => {
                if let DataType::FixedSizeBinary(width) = plain(data_type) {
                    return fixed(value, *width);
                }
                Arc::new(BinaryArray::from_vec(vec![value]))
            }
            Self::Interval { months, days, nanos } => {
                Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(
                    *months, *days, *nanos,
                )]))
            }
            Self::List(items) => return list(items, data_type),
            Self::Struct(fields) => return structure(fields, data_type),
        };
        cast_exact(&base, data_type)
    }
}

/// Casts as `DataFusion` does: what cannot be is an error, not null.
pub(super) fn cast_exact(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    cast_with_options(array, data_type, &CastOptions { safe: false, ..CastOptions::default() })
}

fn not_a(text: &str, what: &str) -> ArrowError {
    let shown: String = text.chars().take(60).collect();
    ArrowError::CastError(format!("'{shown}' is not a {what}"))
}

fn fixed(value: &[u8], width: i32) -> Result<ArrayRef, ArrowError> {
    if usize::try_from(width).ok() != Some(value.len()) {
        return Err(ArrowError::CastError(format!("{} bytes are not {width}", value.len())));
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(value))?))
}

fn list(items: &[Constant], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let Some(field) = element(plain(data_type)) else {
        return Err(ArrowError::CastError(format!("a list is not a {data_type}")));
    };
    let values = rows(items, field)?;
    let built: ArrayRef = match plain(data_type) {
        DataType::FixedSizeList(_, size) => {
            Arc::new(FixedSizeListArray::try_new(Arc::clone(field), *size, values, None)?)
        }
        DataType::LargeList(_) => Arc::new(LargeListArray::try_new(
            Arc::clone(field),
            OffsetBuffer::from_lengths([items.len()]),
            values,
            None,
        )?),
        _ => Arc::new(ListArray::try_new(
            Arc::clone(field),
            OffsetBuffer::from_lengths([items.len()]),
            values,
            None,
        )?),
    };
    cast_exact(&built, data_type)
}

fn rows(items: &[Constant], field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    if items.is_empty() {
        return Ok(new_null_array(field.data_type(), 0));
    }
    let arrays = items
        .iter()
        .map(|item| item.array(field.data_type(), field.metadata()))
        .collect::<Result<Vec<_>, _>>()?;
    concat(&arrays.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())
}

fn structure(values: &[(String, Constant)], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = plain(data_type) else {
        return Err(ArrowError::CastError(format!("a struct is not a {data_type}")));
    };
    if let Some((name, _)) = values.iter().find(|(name, _)| fields.find(name).is_none()) {
        return Err(ArrowError::CastError(format!("the struct has no field `{name}`")));
    }
    let columns = fields
        .iter()
        .map(|field| match values.iter().find(|(name, _)| name == field.name()) {
            Some((_, value)) => value.array(field.data_type(), field.metadata()),
            None => Ok(new_null_array(field.data_type(), 1)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

pub(super) fn print_value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => Constant::Integer(*number).print(),
        Value::Real(number) => float(*number),
        Value::Text(text) => string(text),
        Value::Blob(raw) => bytes(raw),
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        "NULL".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "9e999" } else { "-9e999" }.to_owned()
    } else {
        format!("{number:?}")
    }
}

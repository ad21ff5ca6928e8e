//! Values into arrays.

use super::value::{read_date, read_timestamp};
use super::{Form, Typed, is_json, is_uuid};
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, FixedSizeListArray, Float64Array,
    Int64Array, LargeListArray, ListArray, NullArray, PrimitiveArray, StringArray, StructArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, TimeUnit};
use chrono::{NaiveDate, NaiveDateTime};
use std::borrow::Cow;
use std::sync::Arc;
use uuid::Uuid;

/// Days before 1970 in the common era.
const EPOCH_DAYS: i32 = 719_163;

/// An array of the field's type; the error begins with the row.
pub(super) fn array(field: &Field, values: &[Typed]) -> Result<ArrayRef, String> {
    let data_type = field.data_type();
    Ok(match data_type {
        DataType::Null => {
            each(values, |_| None::<()>)?;
            Arc::new(NullArray::new(values.len()))
        }
        DataType::Boolean => {
            let bools = each(values, |v| if let Typed::Bool(b) = v { Some(*b) } else { None })?;
            Arc::new(BooleanArray::from(bools))
        }
        DataType::UInt64 => Arc::new(UInt64Array::from(each(values, unsigned)?)),
        _ if data_type.is_integer() => cast(Arc::new(Int64Array::from(each(values, integer)?)), data_type)?,
        _ if data_type.is_floating() => cast(Arc::new(Float64Array::from(each(values, number)?)), data_type)?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let json = is_json(field);
            let texts = each(values, |v| text(v, json))?;
            cast(Arc::new(StringArray::from_iter(texts)), data_type)?
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = each(values, bytes)?;
            let bytes: Vec<Option<&[u8]>> = bytes.iter().map(Option::as_deref).collect();
            cast(Arc::new(BinaryArray::from(bytes)), data_type)?
        }
        DataType::FixedSizeBinary(size) => fixed_binary(field, *size, values)?,
        DataType::Date32 | DataType::Date64 => {
            cast(Arc::new(Date32Array::from(each_try(values, days)?)), data_type)?
        }
        DataType::Timestamp(unit, zone) => timestamps(*unit, zone.as_ref(), values)?,
        DataType::List(item) | DataType::LargeList(item) => list(item, data_type, values)?,
        DataType::FixedSizeList(item, size) => fixed_list(item, *size, values)?,
        DataType::Struct(fields) => structs(fields, values)?,
        DataType::Dictionary(_, inner) => {
            let plain = array(&Field::new(field.name(), (**inner).clone(), true), values)?;
            cast(plain, data_type)?
        }
        // Decimals, times and the like, as text that Arrow reads.
        _ => cast(Arc::new(StringArray::from(each(values, digits)?)), data_type)?,
    })
}

/// Converts every value but null; `None` is a value of the wrong type.
fn each<'a, T>(
    values: &'a [Typed],
    convert: impl Fn(&'a Typed) -> Option<T>,
) -> Result<Vec<Option<T>>, String> {
    each_try(values, |value| {
        convert(value).map_or_else(|| Err(format!("{} does not fit its type", value.kind())), Ok)
    })
}

fn each_try<'a, T>(
    values: &'a [Typed],
    convert: impl Fn(&'a Typed) -> Result<T, String>,
) -> Result<Vec<Option<T>>, String> {
    let one = |(row, value)| match value {
        &Typed::Null => Ok(None),
        value => convert(value).map(Some).map_err(|reason| format!("row {row}: {reason}")),
    };
    values.iter().enumerate().map(one).collect()
}

fn cast(array: ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    if array.data_type() == to {
        return Ok(array);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&array, to, &options).map_err(reason)
}

fn reason(error: ArrowError) -> String {
    format!("a value does not fit its type: {error}")
}

fn integer(value: &Typed) -> Option<i64> {
    match value {
        Typed::Int(n) => Some(*n),
        // A number such as 1.0, as some clients write integers.
        #[allow(clippy::cast_possible_truncation, reason = "only whole numbers in the exact range pass")]
        Typed::Float(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => Some(*n as i64),
        _ => None,
    }
}

fn unsigned(value: &Typed) -> Option<u64> {
    match value {
        Typed::UInt(n) => Some(*n),
        other => u64::try_from(integer(other)?).ok(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "what a float column does to integers")]
fn number(value: &Typed) -> Option<f64> {
    match value {
        Typed::Int(n) => Some(*n as f64),
        Typed::UInt(n) => Some(*n as f64),
        Typed::Float(n) => Some(*n),
        _ => None,
    }
}

fn digits(value: &Typed) -> Option<String> {
    match value {
        Typed::Int(n) => Some(n.to_string()),
        Typed::UInt(n) => Some(n.to_string()),
        Typed::Float(n) => Some(n.to_string()),
        Typed::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// In a column of JSON every value is one; text there is JSON already, or becomes a JSON string.
fn text(value: &Typed, json: bool) -> Option<Cow<'_, str>> {
    match value {
        Typed::Text(text) if !json || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            Some(Cow::Borrowed(text))
        }
        Typed::Json(value) => Some(Cow::Owned(value.to_string())),
        other if json => Some(Cow::Owned(other.json(Form::Plain).to_string())),
        _ => None,
    }
}

fn bytes(value: &Typed) -> Option<Cow<'_, [u8]>> {
    match value {
        Typed::Binary(bytes) => Some(Cow::Borrowed(bytes)),
        Typed::Uuid(id) => Some(Cow::Owned(id.as_bytes().to_vec())),
        Typed::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
        _ => None,
    }
}

fn fixed_binary(field: &Field, size: i32, values: &[Typed]) -> Result<ArrayRef, String> {
    let all = each_try(values, |value| {
        let bytes = match value {
            Typed::Text(text) if is_uuid(field) => {
                let id = Uuid::parse_str(text).map_err(|error| format!("`{text}` is no UUID: {error}"))?;
                Cow::Owned(id.as_bytes().to_vec())
            }
            value => bytes(value).ok_or_else(|| format!("{} does not fit its type", value.kind()))?,
        };
        if usize::try_from(size).is_ok_and(|size| size == bytes.len()) {
            Ok(bytes)
        } else {
            Err(format!("{} bytes, where {size} are needed", bytes.len()))
        }
    })?;
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(all.iter().map(Option::as_deref), size)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(reason)
}

fn days(value: &Typed) -> Result<i32, String> {
    use chrono::Datelike;
    let date: NaiveDate = match value {
        Typed::Date(date) => *date,
        Typed::Text(text) => read_date(text)?,
        other => return Err(format!("{} does not fit its type", other.kind())),
    };
    Ok(date.num_days_from_ce() - EPOCH_DAYS)
}

fn wall_time(value: &Typed) -> Result<NaiveDateTime, String> {
    match value {
        Typed::Timestamp { at, .. } => Ok(*at),
        Typed::Date(date) => Ok(date.and_time(chrono::NaiveTime::MIN)),
        Typed::Text(text) => Ok(read_timestamp(text)?.0),
        other => Err(format!("{} does not fit its type", other.kind())),
    }
}

fn timestamps(unit: TimeUnit, zone: Option<&Arc<str>>, values: &[Typed]) -> Result<ArrayRef, String> {
    let count = |value| {
        let at = wall_time(value)?.and_utc();
        let count = match unit {
            TimeUnit::Second => Some(at.timestamp()),
            TimeUnit::Millisecond => Some(at.timestamp_millis()),
            TimeUnit::Microsecond => Some(at.timestamp_micros()),
            TimeUnit::Nanosecond => at.timestamp_nanos_opt(),
        };
        count.ok_or_else(|| format!("{at} is out of the range of nanoseconds"))
    };
    let counts = each_try(values, count)?;
    let zone = zone.cloned();
    Ok(match unit {
        TimeUnit::Second => {
            Arc::new(PrimitiveArray::<TimestampSecondType>::from(counts).with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            Arc::new(PrimitiveArray::<TimestampMillisecondType>::from(counts).with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(counts).with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            Arc::new(PrimitiveArray::<TimestampNanosecondType>::from(counts).with_timezone_opt(zone))
        }
    })
}

fn nulls(values: &[Typed]) -> NullBuffer {
    values.iter().map(|value| *value != Typed::Null).collect::<Vec<bool>>().into()
}

/// A JSON array counts as a list.
fn items(value: &Typed) -> Option<Cow<'_, [Typed]>> {
    match value {
        Typed::List(items) => Some(Cow::Borrowed(items)),
        Typed::Json(json) => match Typed::read(json, Form::Plain) {
            Ok(Typed::List(items)) => Some(Cow::Owned(items)),
            _ => None,
        },
        _ => None,
    }
}

fn list(item: &FieldRef, data_type: &DataType, values: &[Typed]) -> Result<ArrayRef, String> {
    let lists = each(values, items)?;
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, |list| list.len()));
    let flat: Vec<Typed> = lists.iter().flatten().flat_map(|list| list.iter().cloned()).collect();
    let (item, inner) = (Arc::clone(item), array(item, &flat)?);
    let nulls = Some(nulls(values));
    let made: Result<ArrayRef, ArrowError> = if matches!(data_type, DataType::List(_)) {
        ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), inner, nulls).map(|a| Arc::new(a) as _)
    } else {
        LargeListArray::try_new(item, OffsetBuffer::from_lengths(lengths), inner, nulls)
            .map(|a| Arc::new(a) as _)
    };
    made.map_err(reason)
}

fn fixed_list(item: &FieldRef, size: i32, values: &[Typed]) -> Result<ArrayRef, String> {
    let length = usize::try_from(size).map_err(|_| "a list type has a negative size".to_owned())?;
    let lists = each_try(values, |value| {
        let items = items(value).ok_or_else(|| format!("{} does not fit its type", value.kind()))?;
        if items.len() == length {
            Ok(items)
        } else {
            Err(format!("a list of {}, where {length} values are needed", items.len()))
        }
    })?;
    let mut flat = Vec::with_capacity(length * values.len());
    for list in &lists {
        match list {
            Some(items) => flat.extend(items.iter().cloned()),
            None => flat.resize(flat.len() + length, filler(item)),
        }
    }
    FixedSizeListArray::try_new(Arc::clone(item), size, array(item, &flat)?, Some(nulls(values)))
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(reason)
}

/// What stands below a null list of fixed size whose items may not be null.
fn filler(item: &Field) -> Typed {
    if !item.is_nullable() && item.data_type().is_numeric() { Typed::Int(0) } else { Typed::Null }
}

fn structs(fields: &Fields, values: &[Typed]) -> Result<ArrayRef, String> {
    let mut columns = vec![vec![Typed::Null; values.len()]; fields.len()];
    for (row, value) in values.iter().enumerate() {
        let members = match value {
            Typed::Null => continue,
            Typed::Struct(members) => Cow::Borrowed(members),
            Typed::Json(json) => match Typed::read(json, Form::Plain) {
                Ok(Typed::Struct(members)) => Cow::Owned(members),
                _ => return Err(format!("row {row}: json that is no object does not fit its type")),
            },
            other => return Err(format!("row {row}: {} does not fit its type", other.kind())),
        };
        for (name, value) in members.iter() {
            let place = fields.iter().position(|field| field.name() == name);
            let place = place.ok_or_else(|| format!("row {row}: there is no field `{name}`"))?;
            columns[place][row] = value.clone();
        }
    }
    let arrays = fields.iter().zip(&columns).map(|(field, values)| array(field, values));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(fields.clone(), arrays, Some(nulls(values)), values.len())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(reason)
}

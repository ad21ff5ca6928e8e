//! Arrays into values.

use super::{Typed, is_json, is_uuid};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use uuid::Uuid;

/// All values of an array.
pub(super) fn values(field: &Field, array: &dyn Array) -> Result<Vec<Typed>, String> {
    Ok(match field.data_type() {
        DataType::Null => vec![Typed::Null; array.len()],
        DataType::Boolean => each(array, |n| Typed::Bool(array.as_boolean().value(n))),
        DataType::UInt64 => {
            let all = array.as_primitive::<UInt64Type>();
            each(array, |n| i64::try_from(all.value(n)).map_or(Typed::UInt(all.value(n)), Typed::Int))
        }
        data_type if data_type.is_integer() => {
            let all = to(array, &DataType::Int64)?;
            each(array, |n| Typed::Int(all.as_primitive::<Int64Type>().value(n)))
        }
        data_type if data_type.is_floating() => {
            let all = to(array, &DataType::Float64)?;
            each(array, |n| Typed::Float(all.as_primitive::<Float64Type>().value(n)))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let all = to(array, &DataType::LargeBinary)?;
            each(array, |n| Typed::Binary(all.as_binary::<i64>().value(n).to_vec()))
        }
        DataType::FixedSizeBinary(_) => fixed(field, array),
        DataType::Date32 | DataType::Date64 => {
            let all = to(array, &DataType::Date32)?;
            each(array, |n| date(all.as_primitive::<Date32Type>().value(n)))
        }
        DataType::Timestamp(unit, zone) => timestamps(*unit, zone.is_some(), array)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => lists(item, array)?,
        DataType::Struct(fields) => {
            let all = array.as_struct();
            let columns = fields
                .iter()
                .zip(all.columns())
                .map(|(field, column)| Ok::<_, String>((field.name(), values(field, column)?)));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let members =
                |n: usize| columns.iter().map(|(name, all)| ((*name).clone(), all[n].clone())).collect();
            each(array, |n| Typed::Struct(members(n)))
        }
        DataType::Dictionary(_, inner) => {
            let plain = to(array, inner)?;
            values(&Field::new(field.name(), (**inner).clone(), true), &plain)?
        }
        // Text, and what reads best as text.
        _ => texts(field, array)?,
    })
}

fn each(array: &dyn Array, value: impl Fn(usize) -> Typed) -> Vec<Typed> {
    (0..array.len()).map(|n| if array.is_null(n) { Typed::Null } else { value(n) }).collect()
}

fn to(array: &dyn Array, data_type: &DataType) -> Result<ArrayRef, String> {
    cast(array, data_type).map_err(|error| error.to_string())
}

fn fixed(field: &Field, array: &dyn Array) -> Vec<Typed> {
    let all = array.as_fixed_size_binary();
    each(array, |n| match Uuid::from_slice(all.value(n)) {
        Ok(id) if is_uuid(field) => Typed::Uuid(id),
        _ => Typed::Binary(all.value(n).to_vec()),
    })
}

fn date(days: i32) -> Typed {
    let date = NaiveDate::from_ymd_opt(1970, 1, 1)
        .and_then(|epoch| epoch.checked_add_signed(chrono::TimeDelta::days(i64::from(days))));
    date.map_or(Typed::Null, Typed::Date)
}

fn timestamps(unit: TimeUnit, utc: bool, array: &dyn Array) -> Result<Vec<Typed>, String> {
    let all = to(array, &DataType::Int64)?;
    let all = all.as_primitive::<Int64Type>();
    Ok(each(array, |n| wall_time(unit, all.value(n)).map_or(Typed::Null, |at| Typed::Timestamp { at, utc })))
}

fn wall_time(unit: TimeUnit, count: i64) -> Option<NaiveDateTime> {
    let at = match unit {
        TimeUnit::Second => DateTime::from_timestamp(count, 0)?,
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(count)?,
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(count)?,
        TimeUnit::Nanosecond => DateTime::from_timestamp_nanos(count),
    };
    Some(at.naive_utc())
}

fn lists(item: &Field, array: &dyn Array) -> Result<Vec<Typed>, String> {
    let list = |n: usize| {
        let inner: ArrayRef = match array.data_type() {
            DataType::List(_) => array.as_list::<i32>().value(n),
            DataType::LargeList(_) => array.as_list::<i64>().value(n),
            DataType::FixedSizeList(..) => array.as_fixed_size_list().value(n),
            DataType::ListView(_) => array.as_list_view::<i32>().value(n),
            _ => array.as_list_view::<i64>().value(n),
        };
        values(item, &inner).map(Typed::List)
    };
    (0..array.len()).map(|n| if array.is_null(n) { Ok(Typed::Null) } else { list(n) }).collect()
}

fn texts(field: &Field, array: &dyn Array) -> Result<Vec<Typed>, String> {
    let all = to(array, &DataType::LargeUtf8)?;
    let all = all.as_string::<i64>();
    Ok(each(array, |n| {
        let text = all.value(n);
        match serde_json::from_str(text) {
            Ok(value) if is_json(field) => Typed::Json(value),
            _ => Typed::Text(text.to_owned()),
        }
    }))
}

//! Casts and nested values, through Arrow: exact, and slower than what SQLite does itself.

use super::{PURE, refuse, text, whole};
use crate::dataset::sql::cells;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field};
use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::{Value, ValueRef};
use std::sync::Arc;

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("ma_cast", 4, PURE, cast)?;
    connection.create_scalar_function("ma_field", 3, PURE, field)?;
    connection.create_scalar_function("ma_element", 3, PURE, element)?;
    connection.create_scalar_function("ma_json", 2, PURE, |c| {
        let data_type = type_of(c, 1)?;
        json(c.get_raw(0), &data_type).map(Some)
    })?;
    connection.create_scalar_function("ma_uuid", 2, PURE, |c| {
        let Some(text) = text(c, 0)? else { return Ok(None) };
        match uuid::Uuid::parse_str(text) {
            Ok(id) => Ok(Some(id.into_bytes().to_vec())),
            Err(_) if whole(c, 1)? == Some(1) => Ok(None),
            Err(_) => Err(refuse(format!("'{}' is not a UUID", shown(text)))),
        }
    })?;
    connection.create_scalar_function("ma_uuid_text", 1, PURE, |c| match c.get_raw(0) {
        ValueRef::Blob(bytes) => Ok(uuid::Uuid::from_slice(bytes).ok().map(|id| id.to_string())),
        _ => Ok(None),
    })
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The type in an argument, read once a statement.
pub(super) fn type_of(c: &Context<'_>, index: i32) -> rusqlite::Result<Arc<DataType>> {
    c.get_or_create_aux(index, |value| -> Result<DataType, rusqlite::Error> {
        let name = value.as_str().map_err(|_| refuse("a type is wanted"))?;
        name.parse().map_err(|_| refuse(format!("`{}` is not a type", shown(name))))
    })
}

/// `ma_cast(value, from, to, null on failure)`.
fn cast(c: &Context<'_>) -> rusqlite::Result<Value> {
    let value = c.get_raw(0);
    if value == ValueRef::Null {
        return Ok(Value::Null);
    }
    let (from, to) = (type_of(c, 1)?, type_of(c, 2)?);
    let safe = whole(c, 3)? == Some(1);
    let cast = || -> Result<Value, String> {
        let array = cells::array(&from, value)?;
        let options = CastOptions { safe, ..CastOptions::default() };
        let array = cast_with_options(&array, &to, &options).map_err(|e| e.to_string())?;
        cells::stored(&Field::new("value", (*to).clone(), true), &array).map_err(|e| e.to_string())
    };
    match cast() {
        Ok(value) => Ok(value),
        Err(_) if safe => Ok(Value::Null),
        Err(error) => Err(refuse(error)),
    }
}

/// `ma_field(struct, type, name)`.
fn field(c: &Context<'_>) -> rusqlite::Result<Value> {
    let data_type = type_of(c, 1)?;
    let Some(name) = text(c, 2)? else { return Ok(Value::Null) };
    let array = cells::array(&data_type, c.get_raw(0)).map_err(refuse)?;
    let Some(structs) = array.as_struct_opt() else { return Ok(Value::Null) };
    if structs.is_null(0) {
        return Ok(Value::Null);
    }
    let (Some(column), Some((_, field))) = (structs.column_by_name(name), structs.fields().find(name)) else {
        return Err(refuse(format!("the struct has no field `{name}`")));
    };
    cells::stored(field, column).map_err(|e| refuse(e.to_string()))
}

/// `ma_element(list, type, index)`: from 1, from the end where negative.
fn element(c: &Context<'_>) -> rusqlite::Result<Value> {
    let data_type = type_of(c, 1)?;
    let Some(index) = whole(c, 2)? else { return Ok(Value::Null) };
    let array = cells::array(&data_type, c.get_raw(0)).map_err(refuse)?;
    let Some((field, items)) = items(&array) else { return Ok(Value::Null) };
    let length = i64::try_from(items.len()).unwrap_or(0);
    let at = if index > 0 { index - 1 } else { length.saturating_add(index) };
    match usize::try_from(at) {
        Ok(at) if index != 0 && at < items.len() => {
            cells::stored(&field, &items.slice(at, 1)).map_err(|e| refuse(e.to_string()))
        }
        _ => Ok(Value::Null),
    }
}

fn items(array: &ArrayRef) -> Option<(Field, ArrayRef)> {
    if array.is_null(0) {
        return None;
    }
    let field = crate::dataset::sql::typed::element(array.data_type())?.as_ref().clone();
    let items = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(0),
        DataType::LargeList(_) => array.as_list::<i64>().value(0),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(0),
        _ => return None,
    };
    Some((field, items))
}

/// A value as it stands inside JSON.
pub(super) fn json(value: ValueRef<'_>, data_type: &DataType) -> rusqlite::Result<String> {
    if value == ValueRef::Null {
        return Ok("null".to_owned());
    }
    let quick = matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt8
    );
    if let (ValueRef::Integer(number), true) = (value, quick) {
        return Ok(number.to_string());
    }
    if matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_))
        && let ValueRef::Text(bytes) = value
    {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    let array = cells::array(data_type, value).map_err(refuse)?;
    let list = cells::in_list(array).map_err(refuse)?;
    Ok(list.get(1..list.len().saturating_sub(1)).unwrap_or("null").to_owned())
}

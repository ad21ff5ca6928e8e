//! One value between Arrow and its stored form.

use crate::columnar::cell::{Cell, CellBuilder, CellSource};
use arrow_array::{Array as _, ArrayRef, ListArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field};
use rusqlite::types::{Value, ValueRef};
use std::sync::Arc;

/// The first row of `array` as a column of `field` stores it.
pub(super) fn stored(field: &Field, array: &ArrayRef) -> Result<Value, ArrowError> {
    if array.is_empty() || array.is_null(0) {
        return Ok(Value::Null);
    }
    let source = CellSource::new(field, array).map_err(|e| ArrowError::CastError(e.reason))?;
    Ok(match source.cell(0) {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::Integer(number),
        Cell::Real(number) => Value::Real(number),
        Cell::Text(text) => Value::Text(text.into_owned()),
        Cell::Blob(bytes) => Value::Blob(bytes.into_owned()),
    })
}

/// One row of `data_type` out of its stored form.
pub(super) fn array(data_type: &DataType, value: ValueRef<'_>) -> Result<ArrayRef, String> {
    let mut builder =
        CellBuilder::new(&Field::new("value", data_type.clone(), true)).map_err(|e| e.reason)?;
    builder.push(value).map_err(|e| e.reason)?;
    builder.finish().map_err(|e| e.reason)
}

/// The stored form of a list that holds what `items` holds.
pub(super) fn in_list(items: ArrayRef) -> Result<String, String> {
    let field = Field::new("item", items.data_type().clone(), true);
    let lengths = OffsetBuffer::from_lengths([items.len()]);
    let list = ListArray::try_new(Arc::new(field), lengths, items, None).map_err(|e| e.to_string())?;
    let list: ArrayRef = Arc::new(list);
    match stored(&Field::new("list", list.data_type().clone(), true), &list) {
        Ok(Value::Text(text)) => Ok(text),
        Ok(_) => Err("a list cannot be kept".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

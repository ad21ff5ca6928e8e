//! Makes a batch fit a table's schema, or says which column does not.

use super::error::broken;
use crate::dataset::DatasetError;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{Field, SchemaRef};

/// Columns by name, cast where nothing is lost; a missing nullable column is null.
pub(super) fn fit(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, DatasetError> {
    let given = batch.schema();
    for field in given.fields() {
        if schema.field_with_name(field.name()).is_err() {
            let known: Vec<&str> = schema.fields().iter().take(20).map(|f| f.name().as_str()).collect();
            return Err(DatasetError::invalid(format!(
                "the table has no column `{}`; it has {}",
                field.name(),
                known.join(", ")
            )));
        }
    }
    let rows = batch.num_rows();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => fit_column(field, column),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
        None => Err(DatasetError::invalid(format!(
            "column `{}` is missing and cannot be null; give a value for it in every row",
            field.name()
        ))),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options).map_err(broken)
}

fn fit_column(field: &Field, column: &ArrayRef) -> Result<ArrayRef, DatasetError> {
    let (have, want) = (column.data_type(), field.data_type());
    let name = field.name();
    let fitting = if have == want {
        ArrayRef::clone(column)
    } else {
        let unlike =
            || DatasetError::invalid(format!("column `{name}` has type {want} and was given {have}"));
        if !can_cast_types(have, want) || !can_cast_types(want, have) {
            return Err(unlike());
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |array: &ArrayRef, to| {
            cast_with_options(array, to, &options)
                .map_err(|e| DatasetError::invalid(format!("column `{name}` has type {want}: {e}")))
        };
        let there = cast(column, want)?;
        let back = cast(&there, have)?;
        if back.as_ref() != column.as_ref() {
            return Err(DatasetError::invalid(format!(
                "column `{name}` has type {want} and cannot hold every value given as {have} exactly"
            )));
        }
        there
    };
    if !field.is_nullable() && fitting.logical_null_count() > 0 {
        let nulls = fitting.logical_nulls();
        let row = nulls.and_then(|nulls| nulls.iter().position(|valid| !valid)).unwrap_or_default();
        return Err(DatasetError::invalid(format!("column `{name}` cannot be null, and is in row {row}")));
    }
    Ok(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int32Array, Int64Array, StringArray};
    use arrow_schema::{DataType, Schema};
    use std::sync::Arc;

    fn schema(fields: Vec<Field>) -> SchemaRef {
        Arc::new(Schema::new(fields))
    }

    fn one(name: &str, array: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([(name, array)]).unwrap()
    }

    #[test]
    fn lossless_values_are_cast_and_others_refused_by_column() {
        let wants =
            schema(vec![Field::new("n", DataType::Int32, false), Field::new("s", DataType::Utf8, true)]);
        let done = fit(&wants, &one("n", Arc::new(Int64Array::from(vec![1, 2])))).unwrap();
        assert_eq!(done.column(0).as_ref(), &Int32Array::from(vec![1, 2]) as &dyn Array);
        assert_eq!(done.column(1).null_count(), 2);
        for (batch, says) in [
            (one("n", Arc::new(Int64Array::from(vec![1 << 40]))), "column `n` has type Int32"),
            (one("n", Arc::new(Float64Array::from(vec![1.5]))), "column `n` has type Int32"),
            (one("n", Arc::new(StringArray::from(vec!["x"]))), "column `n` has type Int32"),
            (
                one("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
                "column `n` cannot be null, and is in row 1",
            ),
            (one("m", Arc::new(Int64Array::from(vec![1]))), "the table has no column `m`; it has n, s"),
            (one("s", Arc::new(StringArray::from(vec!["x"]))), "column `n` is missing and cannot be null"),
        ] {
            let error = fit(&wants, &batch).unwrap_err().text;
            assert!(error.starts_with(says), "{error}");
        }
    }
}

//! Rows changed and removed by a condition, and versions made current again.

use super::catalog::{Change, newest_only};
use super::database::Tx;
use super::diff::{self, pick_rows};
use super::fit::fit;
use super::merge::remove;
use super::rows::{Appender, BATCH_ROWS, Reading, Wanted, read};
use super::scan::{batch, no_column, scope};
use super::segment::wanted;
use super::translate;
use super::view::{Part, View, quote};
use crate::columnar::cell::{Cell, CellSource};
use crate::columnar::typed::{self, Form, Typed};
use crate::dataset::{Assignment, DatasetError, NewValue, TableAt, Written};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use std::borrow::Cow;
use std::sync::Arc;

/// What an update reads: the new rows, ready to be added.
struct Outputs {
    columns: Vec<(FieldRef, String)>,
    parameters: Vec<Cell<'static>>,
    /// Names that the SQL reads.
    reads: Vec<String>,
}

pub(super) fn update(
    tx: &Tx<'_>,
    at: &TableAt,
    filter: &str,
    values: &[Assignment],
) -> Result<(i64, Written), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let all = wanted(&head.schema);
    let outputs = outputs(&head.schema.arrow, &all, values)?;
    let condition = where_clause(&head.schema.arrow, filter)?;
    let reads: Vec<String> = condition.iter().flat_map(|c| c.columns.clone()).chain(outputs.reads).collect();
    let scope = scope(&all, &all, &reads);
    let loose = loose(&head.schema.arrow);
    let view = View::of_head(tx, &head)?;
    tx.own_rows(head.line, &head.schema)?;
    let mut appender = Appender::new(tx, head.line, &head.schema, head.last_row);
    let mut changed = 0;
    for part in &view.parts {
        let mut after = part.after;
        loop {
            let block = tx.bounded(|| {
                read(
                    tx,
                    &Reading {
                        part,
                        columns: &outputs.columns,
                        parameters: &outputs.parameters,
                        condition: condition.as_ref().map(|condition| condition.sql.as_str()),
                        scope: &scope,
                        after,
                        until: part.until,
                        skip: 0,
                        rows_max: BATCH_ROWS,
                    },
                )
            })?;
            if let Some(&last) = block.numbers.last() {
                let rows = batch(&loose, block.columns, block.numbers.len())?;
                appender.append(&fit(&head.schema.arrow, &rows)?)?;
                remove(tx, head.line, head.version + 1, &block.numbers)?;
                changed += block.numbers.len() as u64;
                after = last;
            }
            if block.done {
                break;
            }
        }
    }
    let last_row = appender.finish()?;
    if changed == 0 {
        return Ok((head.line, Written { version: head.version, rows: 0 }));
    }
    let change =
        Change { operation: "update", rows: changed, last_row, live: head.live, schema: head.schema.id };
    Ok((head.line, tx.record(head.line, head.version, &change)?))
}

pub(super) fn delete(tx: &Tx<'_>, at: &TableAt, filter: &str) -> Result<(i64, Written), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let all = wanted(&head.schema);
    let condition = where_clause(&head.schema.arrow, filter)?;
    let reads = condition.as_ref().map(|condition| condition.columns.clone()).unwrap_or_default();
    let scope = scope(&all, &[], &reads);
    let view = View::of_head(tx, &head)?;
    tx.own_rows(head.line, &head.schema)?;
    let mut removed = 0;
    for part in &view.parts {
        let condition = condition.as_ref().map(|condition| condition.sql.as_str());
        removed += remove_where(tx, (head.line, head.version + 1), part, &scope, condition)?;
    }
    if removed == 0 {
        return Ok((head.line, Written { version: head.version, rows: 0 }));
    }
    let change = Change {
        operation: "delete",
        rows: removed,
        last_row: head.last_row,
        live: head.live.saturating_sub(removed),
        schema: head.schema.id,
    };
    Ok((head.line, tx.record(head.line, head.version, &change)?))
}

/// Removes the rows of a part that a condition selects, as a version of a line.
pub(super) fn remove_where(
    tx: &Tx<'_>,
    (line, version): (i64, u64),
    part: &Part,
    scope: &[Wanted],
    condition: Option<&str>,
) -> Result<u64, DatasetError> {
    let (mut after, mut removed) = (part.after, 0);
    loop {
        let reading = Reading {
            part,
            columns: &[],
            parameters: &[],
            condition,
            scope,
            after,
            until: part.until,
            skip: 0,
            rows_max: BATCH_ROWS,
        };
        let block = tx.bounded(|| read(tx, &reading))?;
        remove(tx, line, version, &block.numbers)?;
        removed += block.numbers.len() as u64;
        after = block.numbers.last().copied().unwrap_or(after);
        if block.done {
            return Ok(removed);
        }
    }
}

/// Makes an earlier version's rows and columns a new version.
pub(super) fn restore(tx: &Tx<'_>, at: &TableAt, version: u64) -> Result<(i64, Written), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let now = View::of_head(tx, &head)?;
    let then = View::resolve(tx, &TableAt { version: Some(version), ..at.clone() })?;
    tx.own_rows(head.line, &head.schema)?;
    tx.add_missing_columns(head.line, &then.schema)?;
    tx.keep_indexes_of(head.line, &then.schema)?;
    let mut removed = 0;
    for part in now.parts.iter().filter(|part| part.until > then.last_row) {
        let newer = Part { after: part.after.max(then.last_row), ..part.clone() };
        removed += remove_where(tx, (head.line, head.version + 1), &newer, &[], None)?;
    }
    let back = diff::removed_between(tx, &then, &now)?;
    let mut appender = Appender::new(tx, head.line, &then.schema, head.last_row);
    let all = wanted(&then.schema);
    pick_rows(tx, &then, &all, &back, |columns, numbers| {
        appender.append(&batch(&then.schema.arrow, columns, numbers.len())?)
    })?;
    let last_row = appender.finish()?;
    let rows = removed + back.len() as u64;
    let change = Change { operation: "restore", rows, last_row, live: then.live, schema: then.schema.id };
    Ok((head.line, tx.record(head.line, head.version, &change)?))
}

fn where_clause(schema: &Schema, filter: &str) -> Result<Option<translate::Translated>, DatasetError> {
    if filter.trim().is_empty() {
        return Err(DatasetError::invalid("`where` is empty; write `true` for all rows"));
    }
    translate::condition(schema, filter).map(Some)
}

/// All fields nullable, so that a null where none may be is found by its column.
pub(super) fn loose(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}

fn outputs(schema: &Schema, all: &[Wanted], values: &[Assignment]) -> Result<Outputs, DatasetError> {
    let mut out = Outputs { columns: Vec::new(), parameters: Vec::new(), reads: Vec::new() };
    if values.is_empty() {
        return Err(DatasetError::invalid("an update sets at least one column"));
    }
    for (index, assignment) in values.iter().enumerate() {
        if !all.iter().any(|(field, _)| *field.name() == assignment.column) {
            return Err(no_column(all, &assignment.column));
        }
        if values[..index].iter().any(|other| other.column == assignment.column) {
            return Err(DatasetError::invalid(format!("column `{}` is set twice", assignment.column)));
        }
    }
    for (field, _) in all {
        let sql = match values.iter().find(|assignment| assignment.column == *field.name()) {
            None => quote(field.name()),
            Some(Assignment { value: NewValue::Typed(value), .. }) => {
                let value = Typed::read(value, Form::Wrapped).map_err(|reason| {
                    DatasetError::invalid(format!("column `{}`: {reason}", field.name()))
                })?;
                out.parameters.push(constant(field, value)?);
                format!("?{}", out.parameters.len() + 2)
            }
            Some(Assignment { value: NewValue::Expression(text), .. }) => {
                let value = translate::value(schema, text, field)?;
                out.reads.extend(value.columns);
                value.sql
            }
        };
        out.columns.push((Arc::clone(field), sql));
    }
    Ok(out)
}

fn constant(field: &FieldRef, value: Typed) -> Result<Cell<'static>, DatasetError> {
    let array: ArrayRef = typed::array(field, &[value])?;
    // Names the column if it may not be null.
    let schema: SchemaRef = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let given = RecordBatch::try_new(loose(&schema), vec![array]).map_err(super::error::broken)?;
    let fitting = fit(&schema, &given)?;
    let source = CellSource::new(field, fitting.column(0))?;
    Ok(match source.cell(0) {
        Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        Cell::Blob(bytes) => Cell::Blob(Cow::Owned(bytes.into_owned())),
        Cell::Null => Cell::Null,
        Cell::Integer(value) => Cell::Integer(value),
        Cell::Real(value) => Cell::Real(value),
    })
}

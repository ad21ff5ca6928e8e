//! Columns and names of tables.

use super::catalog::{Change, Head, TableSchema, check_name, newest_only};
use super::change::{loose, remove_where};
use super::database::Tx;
use super::fit::fit;
use super::rows::{Appender, BATCH_ROWS, Reading, Wanted, columns_of, read};
use super::scan::{batch, no_column, scope};
use super::segment::wanted;
use super::translate::{self, Translated};
use super::view::{Part, View};
use crate::columnar::cell::{self, CellSource};
use crate::dataset::{AddColumns, DatasetError, TableAt, Written};
use crate::error_code::RoomCode;
use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema, SchemaRef};
use rusqlite::{params, params_from_iter};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Tx<'_> {
    /// Gives a line's row table the columns of a schema that it lacks.
    pub fn add_missing_columns(&self, line: i64, schema: &TableSchema) -> Result<(), DatasetError> {
        let mut have = self.line(line)?.columns.unwrap_or_default();
        let before = have.len();
        for (field, number) in schema.arrow.fields().iter().zip(&schema.columns) {
            if !have.contains(number) {
                let declared = cell::declared_type(field.data_type());
                self.c.execute_batch(&format!("ALTER TABLE r{line} ADD COLUMN c{number} {declared}"))?;
                have.push(*number);
            }
        }
        if have.len() > before { self.set_line_columns(line, &have) } else { Ok(()) }
    }

    /// Records a version with other columns.
    fn record_schema(
        &self,
        head: &Head,
        operation: &str,
        schema: &TableSchema,
        (last_row, live): (i64, u64),
    ) -> Result<(i64, Written), DatasetError> {
        let change = Change { operation, rows: 0, last_row, live, schema: schema.id };
        Ok((head.line, self.record(head.line, head.version, &change)?))
    }
}

pub(super) fn add_columns(
    tx: &Tx<'_>,
    at: &TableAt,
    columns: &AddColumns,
) -> Result<(i64, Written), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let old = &head.schema.arrow;
    let mut fills: Vec<Translated> = Vec::new();
    let fields: Vec<FieldRef> = match columns {
        AddColumns::Schema(schema) => {
            if let Some(field) = schema.fields().iter().find(|field| !field.is_nullable()) {
                return Err(DatasetError::invalid(format!(
                    "column `{}` cannot be null, but the rows that are there have no value for it; make it nullable",
                    field.name()
                )));
            }
            schema.fields().iter().cloned().collect()
        }
        AddColumns::Sql(columns) => {
            let mut fields = Vec::with_capacity(columns.len());
            for (name, text) in columns {
                let (value, field) = translate::new_column(old, name, text)?;
                fills.push(value);
                fields.push(field);
            }
            fields
        }
    };
    if fields.is_empty() {
        return Err(DatasetError::invalid("there is no column to add"));
    }
    let all: Vec<FieldRef> = old.fields().iter().cloned().chain(fields.iter().cloned()).collect();
    let arrow: SchemaRef = Arc::new(Schema::new_with_metadata(all, old.metadata().clone()));
    let new_numbers = tx.new_columns(fields.len())?;
    let numbers = head.schema.columns.iter().chain(&new_numbers).copied().collect();
    let schema = tx.save_schema(arrow, numbers)?;
    tx.own_rows(head.line, &head.schema)?;
    tx.add_missing_columns(head.line, &schema)?;
    if fills.is_empty() {
        return tx.record_schema(&head, "add_columns", &schema, (head.last_row, head.live));
    }
    let added: Vec<Wanted> = fields.into_iter().zip(new_numbers).collect();
    let last_row = fill(tx, &head, &schema, &added, &fills)?;
    tx.record_schema(&head, "add_columns", &schema, (last_row, head.live))
}

/// Gives the new columns their values. The line's own rows get them in place, for no earlier version shows these
/// columns; rows of the branch it came from are replaced.
fn fill(
    tx: &Tx<'_>,
    head: &Head,
    schema: &Arc<TableSchema>,
    added: &[Wanted],
    fills: &[Translated],
) -> Result<i64, DatasetError> {
    let old = wanted(&head.schema);
    let values: Vec<(FieldRef, String)> =
        added.iter().zip(fills).map(|((field, _), value)| (Arc::clone(field), value.sql.clone())).collect();
    let reads: Vec<String> = fills.iter().flat_map(|value| value.columns.iter().cloned()).collect();
    let view = View::of_head(tx, head)?;
    let mut appender = Appender::new(tx, head.line, schema, head.last_row);
    for part in &view.parts {
        if part.line == head.line {
            each_page(tx, part, &values, &scope(&old, &[], &reads), |rows, numbers| {
                set_values(tx, head.line, added, &rows, numbers)
            })?;
        } else {
            let columns: Vec<(FieldRef, String)> =
                columns_of(&old).into_iter().chain(values.clone()).collect();
            each_page(tx, part, &columns, &old, |rows, _| appender.append(&fit(&schema.arrow, &rows)?))?;
            remove_where(tx, (head.line, head.version + 1), part, &[], None)?;
        }
    }
    appender.finish()
}

fn each_page(
    tx: &Tx<'_>,
    part: &Part,
    columns: &[(FieldRef, String)],
    scope: &[Wanted],
    mut take: impl FnMut(RecordBatch, &[i64]) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let schema = loose(&Schema::new(columns.iter().map(|(field, _)| Arc::clone(field)).collect::<Vec<_>>()));
    let mut after = part.after;
    loop {
        let reading = Reading {
            part,
            columns,
            parameters: &[],
            condition: None,
            scope,
            after,
            until: part.until,
            skip: 0,
            rows_max: BATCH_ROWS,
        };
        let block = tx.bounded(|| read(tx, &reading))?;
        if let Some(&last) = block.numbers.last() {
            after = last;
            take(batch(&schema, block.columns, block.numbers.len())?, &block.numbers)?;
        }
        if block.done {
            return Ok(());
        }
    }
}

fn set_values(
    tx: &Tx<'_>,
    line: i64,
    added: &[Wanted],
    rows: &RecordBatch,
    numbers: &[i64],
) -> Result<(), DatasetError> {
    let sources = rows.columns().iter().zip(added).map(|(array, (field, _))| CellSource::new(field, array));
    let sources: Vec<CellSource> = sources.collect::<Result<_, _>>()?;
    let sets: Vec<String> = added.iter().map(|(_, number)| format!("c{number} = ?")).collect();
    let sql = format!("UPDATE r{line} SET {} WHERE row = ?", sets.join(", "));
    let mut update = tx.c.prepare_cached(&sql)?;
    for (row, number) in numbers.iter().enumerate() {
        let cells = sources.iter().map(|source| source.cell(row));
        update.execute(params_from_iter(cells.chain(std::iter::once(cell::Cell::Integer(*number)))))?;
    }
    Ok(())
}

pub(super) fn drop_columns(
    tx: &Tx<'_>,
    at: &TableAt,
    names: &[String],
) -> Result<(i64, Written), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let all = wanted(&head.schema);
    if let Some(name) = names.iter().find(|name| !all.iter().any(|(field, _)| field.name() == *name)) {
        return Err(no_column(&all, name));
    }
    let (fields, numbers): (Vec<FieldRef>, Vec<i64>) =
        all.into_iter().filter(|(field, _)| !names.contains(field.name())).unzip();
    if fields.is_empty() {
        return Err(DatasetError::invalid("a table keeps at least one column; drop the table instead"));
    }
    for index in tx.indexes(head.line)? {
        if index.columns.iter().any(|column| names.contains(column)) {
            tx.drop_index(head.line, &index.name)?;
        }
    }
    let metadata = head.schema.arrow.metadata().clone();
    let schema = tx.save_schema(Arc::new(Schema::new_with_metadata(fields, metadata)), numbers)?;
    tx.record_schema(&head, "drop_columns", &schema, (head.last_row, head.live))
}

pub(super) fn set_column_metadata(
    tx: &Tx<'_>,
    at: &TableAt,
    column: &str,
    metadata: &BTreeMap<String, String>,
) -> Result<(i64, Written), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let arrow = &head.schema.arrow;
    if arrow.field_with_name(column).is_err() {
        return Err(no_column(&wanted(&head.schema), column));
    }
    let fields = arrow.fields().iter().map(|field| {
        if field.name() != column {
            return Arc::clone(field);
        }
        let mut all = field.metadata().clone();
        all.extend(metadata.iter().map(|(key, value)| (key.clone(), value.clone())));
        Arc::new(field.as_ref().clone().with_metadata(all))
    });
    let fields: Vec<FieldRef> = fields.collect();
    let arrow = Arc::new(Schema::new_with_metadata(fields, arrow.metadata().clone()));
    let schema = tx.save_schema(arrow, head.schema.columns.clone())?;
    tx.record_schema(&head, "update_column_metadata", &schema, (head.last_row, head.live))
}

pub(super) fn rename_table(tx: &Tx<'_>, at: &TableAt, new_name: &str) -> Result<(), DatasetError> {
    newest_only(at)?;
    check_name("table", new_name)?;
    let head = tx.head(at)?;
    if tx.find_head(&TableAt { table: new_name.to_owned(), ..at.clone() })?.is_some() {
        return Err(DatasetError::new(
            RoomCode::AlreadyExists,
            format!("table `{new_name}` exists already; choose another name, or drop it first"),
        ));
    }
    tx.c.prepare_cached("UPDATE head SET name = ?2 WHERE line = ?1")?
        .execute(params![head.line, new_name])?;
    Ok(())
}

/// Gives the line that was dropped.
pub(super) fn drop_table(
    tx: &Tx<'_>,
    at: &TableAt,
    ignore_missing: bool,
) -> Result<Option<i64>, DatasetError> {
    newest_only(at)?;
    match tx.find_head(at)? {
        Some(head) => {
            tx.remove_table(&head)?;
            Ok(Some(head.line))
        }
        None if ignore_missing => Ok(None),
        None => Err(DatasetError::no_table(&at.table)),
    }
}

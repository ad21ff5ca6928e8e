//! Merging: incoming rows replace those with the same key.

use super::catalog::{Change, Head, TableSchema, signed};
use super::database::Tx;
use super::rows::{BATCH_ROWS, Reading, Wanted, read};
use super::scan::no_column;
use super::segment::wanted;
use super::stage::Stage;
use super::view::{Part, View, quote};
use super::write::append;
use crate::columnar::cell::{Cell, CellSource};
use crate::dataset::{DatasetError, Written};
use rusqlite::params_from_iter;
use std::borrow::Cow;
use std::collections::HashSet;

/// Up to this many keys are looked up one by one; for more, the table is read once.
const KEYS_LOOKED_UP_MAX: usize = 256;
/// A table with more rows than this is given an index for the keys that it is merged on.
const INDEX_ROWS_MIN: u64 = 2_048;

pub(super) fn check_column(schema: &TableSchema, on: &str) -> Result<(), DatasetError> {
    let all = wanted(schema);
    let (field, _) = all.iter().find(|(field, _)| field.name() == on).ok_or_else(|| no_column(&all, on))?;
    if field.data_type().is_nested() {
        return Err(DatasetError::invalid(format!(
            "column `{on}` of type {} cannot be merged on; choose one of a single value",
            field.data_type()
        )));
    }
    Ok(())
}

pub(super) fn merge(tx: &Tx<'_>, head: &Head, on: &str, stage: &mut Stage) -> Result<Written, DatasetError> {
    check_column(&head.schema, on)?;
    if stage.rows == 0 {
        return Ok(Written { version: head.version, rows: 0 });
    }
    let all = wanted(&head.schema);
    let Some(key) = all.iter().find(|(field, _)| field.name() == on) else { return Err(no_column(&all, on)) };
    let keys = keys(key, stage)?;
    tx.own_rows(head.line, &head.schema)?;
    index_key(tx, head, key)?;
    let view = View::of_head(tx, head)?;
    let replaced = find(tx, &view, key, &keys)?;
    remove(tx, head.line, head.version + 1, &replaced)?;
    let (last_row, rows) = append(tx, head.line, &head.schema, head.last_row, stage)?;
    let change = Change {
        operation: "merge",
        rows,
        last_row,
        live: head.live + rows - replaced.len() as u64,
        schema: head.schema.id,
    };
    tx.record(head.line, head.version, &change)
}

/// Records rows as removed by a version.
pub(super) fn remove(tx: &Tx<'_>, line: i64, version: u64, rows: &[i64]) -> Result<(), DatasetError> {
    let mut insert = tx.c.prepare_cached(&format!("INSERT INTO g{line} (row, version) VALUES (?1, ?2)"))?;
    for row in rows {
        insert.execute((row, signed(version)))?;
    }
    Ok(())
}

/// The incoming keys, but null, which is like no other.
fn keys((field, _): &Wanted, stage: &mut Stage) -> Result<Vec<Cell<'static>>, DatasetError> {
    let mut keys = Vec::new();
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    stage.each(|batch| {
        let Some(column) = batch.column_by_name(field.name()) else { return Ok(()) };
        let source = CellSource::new(field, column)?;
        for row in 0..batch.num_rows() {
            let cell = owned(source.cell(row));
            if cell != Cell::Null {
                if !seen.insert(identity(&cell)) {
                    return Err(DatasetError::invalid(format!(
                        "two of the rows have the same `{}`; send one row for each key",
                        field.name()
                    )));
                }
                keys.push(cell);
            }
        }
        Ok(())
    })?;
    Ok(keys)
}

fn owned(cell: Cell<'_>) -> Cell<'static> {
    match cell {
        Cell::Null => Cell::Null,
        Cell::Integer(value) => Cell::Integer(value),
        Cell::Real(value) => Cell::Real(value),
        Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
        Cell::Blob(bytes) => Cell::Blob(Cow::Owned(bytes.into_owned())),
    }
}

fn identity(cell: &Cell<'_>) -> Vec<u8> {
    match cell {
        Cell::Null => Vec::new(),
        Cell::Integer(value) => [&[1], &value.to_le_bytes()[..]].concat(),
        Cell::Real(value) => [&[2], &value.to_bits().to_le_bytes()[..]].concat(),
        Cell::Text(text) => [&[3], text.as_bytes()].concat(),
        Cell::Blob(bytes) => [&[4], &bytes[..]].concat(),
    }
}

/// A table that is merged on a column again and again is not read whole each time.
fn index_key(tx: &Tx<'_>, head: &Head, (_, number): &Wanted) -> Result<(), DatasetError> {
    if head.live < INDEX_ROWS_MIN {
        return Ok(());
    }
    let line = head.line;
    Ok(tx.c.execute_batch(&format!("CREATE INDEX IF NOT EXISTS m{line}_{number} ON r{line} (c{number})"))?)
}

/// The rows that are there with one of the keys.
fn find(tx: &Tx<'_>, view: &View, key: &Wanted, keys: &[Cell<'_>]) -> Result<Vec<i64>, DatasetError> {
    let mut found = Vec::new();
    if keys.len() <= KEYS_LOOKED_UP_MAX {
        for part in &view.parts {
            let sql = lookup(part, key, &["?"].repeat(keys.len()).join(","));
            let mut select = tx.c.prepare(&sql)?;
            let rows = select.query_map(params_from_iter(keys), |row| row.get(0))?;
            for row in rows {
                found.push(row?);
            }
        }
        return Ok(found);
    }
    tx.c.execute_batch("CREATE TEMP TABLE merge_key (key UNIQUE)")?;
    let mut insert = tx.c.prepare("INSERT INTO temp.merge_key VALUES (?1)")?;
    for key in keys {
        insert.execute([key])?;
    }
    drop(insert);
    for part in &view.parts {
        collect(tx, part, key, &mut found)?;
    }
    tx.c.execute_batch("DROP TABLE temp.merge_key")?;
    Ok(found)
}

fn lookup(part: &Part, (field, number): &Wanted, keys: &str) -> String {
    let name = field.name();
    format!(
        "SELECT {} FROM ({}) WHERE {} IN ({keys})",
        super::view::ROW,
        part.select(&[(name, *number)]),
        quote(name)
    )
}

fn collect(tx: &Tx<'_>, part: &Part, key: &Wanted, found: &mut Vec<i64>) -> Result<(), DatasetError> {
    let condition = format!("{} IN (SELECT key FROM temp.merge_key)", quote(key.0.name()));
    let mut after = part.after;
    loop {
        let reading = Reading {
            part,
            columns: &[],
            parameters: &[],
            condition: Some(&condition),
            scope: std::slice::from_ref(key),
            after,
            until: part.until,
            skip: 0,
            rows_max: BATCH_ROWS,
        };
        let block = read(tx, &reading)?;
        after = block.numbers.last().copied().unwrap_or(after);
        found.extend(block.numbers);
        if block.done {
            return Ok(());
        }
    }
}

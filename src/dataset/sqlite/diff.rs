//! What differs between two versions of a table.

use super::catalog::signed;
use super::database::Tx;
use super::rows::{BATCH_BYTES, BATCH_ROWS, Reading, Wanted, columns_of, read};
use super::scan::{Scan, batch};
use super::segment::wanted;
use super::view::{ROW, View};
use crate::dataset::{DatasetError, Search, TableAt};
use arrow_array::{ArrayRef, RecordBatch};
use rusqlite::params;
use std::collections::HashSet;

/// Most rows that a difference lists.
const CHANGED_ROWS_MAX: usize = 1_000_000;
/// Most bytes that it has.
const CHANGED_BYTES_MAX: usize = 16 * BATCH_BYTES;
/// Row numbers named in one statement.
const NUMBERS_AT_ONCE: usize = 500;

/// Rows that are in the older version and not in the newer one of the same table, by number.
pub(super) fn removed_between(tx: &Tx<'_>, older: &View, newer: &View) -> Result<Vec<i64>, DatasetError> {
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for part in &newer.parts {
        for (line, version) in &part.gone {
            if !seen.insert(*line) {
                continue;
            }
            // What the older version does not see of this line's removals.
            let from =
                older.parts.iter().flat_map(|part| &part.gone).find(|(other, _)| other == line).map_or_else(
                    || if older.line == *line { older.version } else { 0 },
                    |(_, version)| *version,
                );
            let sql = format!(
                "SELECT row FROM g{line} WHERE row <= ?1 AND version > ?2 AND version <= ?3 ORDER BY row"
            );
            let mut select = tx.c.prepare_cached(&sql)?;
            let found = select
                .query_map(params![older.last_row, signed(from), signed(*version)], |row| row.get(0))?;
            for row in found {
                rows.push(row?);
                if rows.len() > CHANGED_ROWS_MAX {
                    return Err(too_many());
                }
            }
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

fn too_many() -> DatasetError {
    DatasetError::invalid(format!(
        "the versions differ by more than {CHANGED_ROWS_MAX} rows or {CHANGED_BYTES_MAX} bytes; \
         take versions nearer to each other, or read the whole table"
    ))
}

/// Reads rows of a view by their numbers, in order. Columns have plain types.
pub(super) fn pick_rows(
    tx: &Tx<'_>,
    view: &View,
    wanted: &[Wanted],
    numbers: &[i64],
    mut take: impl FnMut(Vec<ArrayRef>, &[i64]) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let columns = columns_of(wanted);
    for part in &view.parts {
        let start = numbers.partition_point(|number| *number <= part.after);
        let end = numbers.partition_point(|number| *number <= part.until);
        for chunk in numbers.get(start..end).unwrap_or_default().chunks(NUMBERS_AT_ONCE) {
            let list: Vec<String> = chunk.iter().map(ToString::to_string).collect();
            let condition = format!("{ROW} IN ({})", list.join(","));
            let mut after = part.after;
            loop {
                let reading = Reading {
                    part,
                    columns: &columns,
                    parameters: &[],
                    condition: Some(&condition),
                    scope: wanted,
                    after,
                    until: part.until,
                    skip: 0,
                    rows_max: BATCH_ROWS,
                };
                let block = read(tx, &reading)?;
                if let Some(&last) = block.numbers.last() {
                    after = last;
                    take(block.columns, &block.numbers)?;
                }
                if block.done {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Rows that are only in version `to`, and those that are only in version `from`.
pub(super) fn changes(
    tx: &Tx<'_>,
    at: &TableAt,
    from: u64,
    to: u64,
) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), DatasetError> {
    if from > to {
        return Err(DatasetError::invalid(format!("version {from} is newer than {to}; turn them round")));
    }
    let version = |version| View::resolve(tx, &TableAt { version: Some(version), ..at.clone() });
    let newer = version(to)?;
    let older = if from == 0 { None } else { Some(version(from)?) };
    let mut size = Size::default();
    let mut added = Vec::new();
    let mut scan = Scan::new(newer.clone(), &Search::default())?;
    scan.start_after(older.as_ref().map_or(0, |older| older.last_row));
    while let Some(rows) = scan.page(tx)? {
        size.add(&rows)?;
        added.push(rows);
    }
    let mut removed = Vec::new();
    if let Some(older) = older {
        let numbers = removed_between(tx, &older, &newer)?;
        let all = wanted(&older.schema);
        pick_rows(tx, &older, &all, &numbers, |columns, numbers| {
            let rows = batch(&older.schema.arrow, columns, numbers.len())?;
            size.add(&rows)?;
            removed.push(rows);
            Ok(())
        })?;
    }
    Ok((added, removed))
}

#[derive(Default)]
struct Size {
    rows: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), DatasetError> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        if self.rows > CHANGED_ROWS_MAX || self.bytes > CHANGED_BYTES_MAX { Err(too_many()) } else { Ok(()) }
    }
}

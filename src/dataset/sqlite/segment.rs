//! Copies of rows by column, from which scans read whole arrays instead of stepping through rows.
//!
//! A segment is made of the rows of a line between two row numbers: per column an Arrow IPC stream of one array of the
//! plain type. It holds removed rows too; a reader leaves them out. Rows outside any segment are in the row table only,
//! and so are all others: a segment can be deleted at any time.

use super::catalog::TableSchema;
use super::database::Tx;
use super::error::broken;
use super::rows::{BATCH_BYTES, BATCH_ROWS, Reading, Wanted, columns_of, plain_field, read};
use super::view::Part;
use crate::columnar::cell::plain_type;
use crate::columnar::ipc;
use crate::dataset::DatasetError;
use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_buffer::Buffer;
use arrow_cast::cast;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{FieldRef, Schema};
use arrow_select::concat::concat;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;

/// Fewest rows worth a segment.
pub(super) const ROWS_MIN: usize = 4_096;
/// How many rows apart single writes look whether there is a segment to make.
const LOOK_EVERY_ROWS: i64 = 1_024;
/// Rows behind the last segment that become one.
const TAIL_ROWS: i64 = 32_768;

/// Gathers rows as they are added, and writes segments.
pub(super) struct Collector {
    line: i64,
    wanted: Vec<Wanted>,
    first: i64,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Collector {
    pub fn new(line: i64, schema: &TableSchema) -> Self {
        Self { line, wanted: wanted(schema), first: 0, batches: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Rows numbered from `first`.
    pub fn add(&mut self, tx: &Tx<'_>, first: i64, batch: &RecordBatch) -> Result<(), DatasetError> {
        let (total, mut at) = (batch.num_rows(), 0);
        // What the rows take, evenly shared: a slice does not know its part.
        let row_bytes = batch.get_array_memory_size() / total.max(1) + 1;
        while at < total {
            if self.batches.is_empty() {
                self.first = first + i64::try_from(at).map_err(broken)?;
            }
            let room = (BATCH_BYTES.saturating_sub(self.bytes) / row_bytes).max(1);
            let count = room.min(BATCH_ROWS - self.rows).min(total - at);
            self.batches.push(batch.slice(at, count));
            (at, self.rows, self.bytes) = (at + count, self.rows + count, self.bytes + count * row_bytes);
            if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.finish(tx)?;
            }
        }
        Ok(())
    }

    /// Writes what is gathered, if it is worth a segment. Few large rows are not: reading them is no slower.
    pub fn finish(&mut self, tx: &Tx<'_>) -> Result<(), DatasetError> {
        let batches = std::mem::take(&mut self.batches);
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows < ROWS_MIN {
            return Ok(());
        }
        let columns = self.wanted.iter().enumerate().map(|(index, (field, _))| {
            let plain = plain_type(field.data_type());
            let parts = batches.iter().map(|batch| cast(batch.column(index), &plain).map_err(broken));
            let parts = parts.collect::<Result<Vec<_>, _>>()?;
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts).map_err(broken)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let last = self.first + i64::try_from(rows).map_err(broken)? - 1;
        write(tx, self.line, (self.first, last), None, &self.wanted, &columns)
    }
}

pub(super) fn wanted(schema: &TableSchema) -> Vec<Wanted> {
    schema.arrow.fields().iter().cloned().zip(schema.columns.iter().copied()).collect()
}

fn write(
    tx: &Tx<'_>,
    line: i64,
    (first, last): (i64, i64),
    numbers: Option<&[i64]>,
    wanted: &[Wanted],
    columns: &[ArrayRef],
) -> Result<(), DatasetError> {
    let ids: Option<Vec<u8>> = numbers.map(|all| all.iter().flat_map(|n| n.to_le_bytes()).collect());
    tx.c.prepare_cached("INSERT INTO segment (line, first_row, last_row, row_ids) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![line, first, last, ids])?;
    let segment = tx.c.last_insert_rowid();
    for ((field, number), array) in wanted.iter().zip(columns) {
        write_column(tx, segment, field, *number, array)?;
    }
    Ok(())
}

fn write_column(
    tx: &Tx<'_>,
    segment: i64,
    field: &FieldRef,
    number: i64,
    array: &ArrayRef,
) -> Result<(), DatasetError> {
    let schema = Arc::new(Schema::new(vec![plain_field(field).with_nullable(true)]));
    let batch = RecordBatch::try_new(schema, vec![ArrayRef::clone(array)]).map_err(broken)?;
    let bytes = ipc::encode_batch(&batch)?;
    tx.c.prepare_cached("INSERT INTO segment_column (segment, number, arrow) VALUES (?1, ?2, ?3)")?
        .execute(params![segment, number, &bytes[..]])?;
    Ok(())
}

/// Makes a segment of single rows when enough of them have come in since the last.
pub(super) fn cover(
    tx: &Tx<'_>,
    line: i64,
    schema: &TableSchema,
    (before, last): (i64, i64),
) -> Result<(), DatasetError> {
    if before / LOOK_EVERY_ROWS == last / LOOK_EVERY_ROWS {
        return Ok(());
    }
    let start = covered(tx, line)?;
    if last - start < TAIL_ROWS {
        return Ok(());
    }
    build(tx, line, schema, start, last).map(drop)
}

/// The row up to which segments go, or below the first row of the line.
fn covered(tx: &Tx<'_>, line: i64) -> Result<i64, DatasetError> {
    let mut find = tx.c.prepare_cached("SELECT max(last_row) FROM segment WHERE line = ?1")?;
    let covered: Option<i64> = find.query_row([line], |row| row.get(0))?;
    Ok(covered.unwrap_or(0).max(tx.line(line)?.fork_row))
}

/// Makes segments of all rows after `after` up to `until`; gives their number.
pub(super) fn build(
    tx: &Tx<'_>,
    line: i64,
    schema: &TableSchema,
    after: i64,
    until: i64,
) -> Result<u64, DatasetError> {
    let wanted = wanted(schema);
    let columns = tx.line(line)?.columns.unwrap_or_default();
    let part = Part { line, after, until, gone: Vec::new(), columns };
    let (mut after, mut made) = (after, 0);
    loop {
        let reading = Reading {
            part: &part,
            columns: &columns_of(&wanted),
            parameters: &[],
            condition: None,
            scope: &wanted,
            after,
            until,
            skip: 0,
            rows_max: BATCH_ROWS,
        };
        let block = read(tx, &reading)?;
        let (Some(&first), Some(&last)) = (block.numbers.first(), block.numbers.last()) else {
            return Ok(made);
        };
        if block.numbers.len() >= ROWS_MIN {
            let gapless = last - first + 1 == i64::try_from(block.numbers.len()).unwrap_or(0);
            let numbers = (!gapless).then_some(&block.numbers[..]);
            write(tx, line, (first, last), numbers, &wanted, &block.columns)?;
            made += 1;
        }
        if block.done {
            return Ok(made);
        }
        after = last;
    }
}

/// A segment that a reader comes to.
pub(super) struct Segment {
    id: i64,
    pub first: i64,
    pub last: i64,
    /// Row numbers, where there are gaps.
    numbers: Option<Vec<i64>>,
}

impl Segment {
    /// The first segment of a line that ends after the given row.
    pub fn find(tx: &Tx<'_>, line: i64, after: i64) -> Result<Option<Self>, DatasetError> {
        let mut find = tx.c.prepare_cached(
            "SELECT id, first_row, last_row, row_ids FROM segment WHERE line = ?1 AND last_row > ?2
             ORDER BY last_row LIMIT 1",
        )?;
        let found = find.query_row(params![line, after], |row| {
            let ids: Option<Vec<u8>> = row.get(3)?;
            let numbers = ids.map(|bytes| {
                bytes
                    .chunks_exact(8)
                    .map(|n| n.iter().rev().fold(0, |v, b| (v << 8) | i64::from(*b)))
                    .collect()
            });
            Ok(Self { id: row.get(0)?, first: row.get(1)?, last: row.get(2)?, numbers })
        });
        Ok(found.optional()?)
    }

    /// Rows it holds.
    pub fn rows(&self) -> usize {
        match &self.numbers {
            Some(numbers) => numbers.len(),
            None => usize::try_from(self.last - self.first + 1).unwrap_or(0),
        }
    }

    /// The place in its arrays of the first row after `row`.
    pub fn place_after(&self, row: i64) -> usize {
        match &self.numbers {
            Some(numbers) => numbers.partition_point(|&number| number <= row),
            None => usize::try_from(row - self.first + 1).unwrap_or(0).min(self.rows()),
        }
    }

    /// The place of a row, if it holds it.
    pub fn place_of(&self, row: i64) -> Option<usize> {
        match &self.numbers {
            Some(numbers) => numbers.binary_search(&row).ok(),
            None => (self.first..=self.last).contains(&row).then(|| self.place_after(row) - 1),
        }
    }

    /// The number of the row at a place.
    pub fn number_at(&self, place: usize) -> i64 {
        match &self.numbers {
            Some(numbers) => numbers.get(place).copied().unwrap_or(self.last),
            None => self.first + i64::try_from(place).unwrap_or(0),
        }
    }

    /// The arrays of columns, of plain types. `None`: it was made before a column was filled.
    pub fn load(
        &self,
        tx: &Tx<'_>,
        wanted: &[Wanted],
        part: &Part,
    ) -> Result<Option<Vec<ArrayRef>>, DatasetError> {
        let mut columns = Vec::with_capacity(wanted.len());
        for (field, number) in wanted {
            if !part.columns.contains(number) {
                columns.push(new_null_array(&plain_type(field.data_type()), self.rows()));
                continue;
            }
            let mut find =
                tx.c.prepare_cached("SELECT arrow FROM segment_column WHERE segment = ?1 AND number = ?2")?;
            let bytes = find.query_row(params![self.id, number], |row| {
                row.get_ref(0)?.as_blob().map(<[u8]>::to_vec).map_err(rusqlite::Error::from)
            });
            let Some(bytes) = bytes.optional()? else { return Ok(None) };
            columns.push(decode(bytes)?);
        }
        Ok(Some(columns))
    }
}

/// Takes the array out of a stream without copying it.
fn decode(bytes: Vec<u8>) -> Result<ArrayRef, DatasetError> {
    let mut decoder = StreamDecoder::new();
    let batch = decoder.decode(&mut Buffer::from_vec(bytes)).map_err(broken)?;
    let batch = batch.ok_or_else(|| broken("a segment is empty"))?;
    Ok(ArrayRef::clone(batch.column(0)))
}

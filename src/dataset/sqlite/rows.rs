//! Rows into the row tables and out of them.

use super::catalog::{TableSchema, gone};
use super::database::Tx;
use super::error::of_query;
use super::segment;
use super::view::Part;
use crate::columnar::cell::{Cell, CellBuilder, CellSource, plain_type};
use crate::dataset::DatasetError;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, FieldRef};
use rusqlite::params_from_iter;
use rusqlite::types::ValueRef;
use std::sync::Arc;

/// Most bytes that a batch of rows read has, unless one row alone is larger.
pub(super) const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most rows of a batch that is read, and of a segment.
pub(super) const BATCH_ROWS: usize = 65_536;

/// Adds rows to a line.
pub(super) struct Appender<'t, 'c> {
    tx: &'t Tx<'c>,
    line: i64,
    schema: Arc<TableSchema>,
    insert: String,
    /// The row number given last before, and now.
    before: i64,
    pub last: i64,
    segments: segment::Collector,
}

impl<'t, 'c> Appender<'t, 'c> {
    /// `last`: the highest row number of the line. The line has tables of its own.
    pub fn new(tx: &'t Tx<'c>, line: i64, schema: &Arc<TableSchema>, last: i64) -> Self {
        let columns: String = schema.columns.iter().map(|number| format!(", c{number}")).collect();
        let places = ", ?".repeat(schema.columns.len());
        Self {
            tx,
            line,
            insert: format!("INSERT INTO r{line} (row{columns}) VALUES (?{places})"),
            before: last,
            last,
            segments: segment::Collector::new(line, schema),
            schema: Arc::clone(schema),
        }
    }

    /// The batch has the table's schema.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<(), DatasetError> {
        let sources = self.schema.arrow.fields().iter().zip(batch.columns());
        let sources: Vec<CellSource> =
            sources.map(|(field, array)| CellSource::new(field, array)).collect::<Result<_, _>>()?;
        let mut insert = self.tx.c.prepare_cached(&self.insert)?;
        let first = self.last + 1;
        for row in 0..batch.num_rows() {
            self.last += 1;
            let number = Cell::Integer(self.last);
            let cells = sources.iter().map(|source| source.cell(row));
            insert.execute(params_from_iter(std::iter::once(number).chain(cells)))?;
        }
        self.segments.add(self.tx, first, batch)
    }

    /// Ends a change: copies what is worth it by column. Gives the row number given last.
    pub fn finish(mut self) -> Result<i64, DatasetError> {
        self.segments.finish(self.tx)?;
        self.tx.index_rows(self.line, &self.schema, self.before)?;
        segment::cover(self.tx, self.line, &self.schema, (self.before, self.last))?;
        Ok(self.last)
    }
}

/// A column to read: the field, and the number of its column.
pub(super) type Wanted = (FieldRef, i64);

/// Which rows of a part to read.
pub(super) struct Reading<'a> {
    pub part: &'a Part,
    /// What to read: SQL over the columns of `scope` under their names.
    pub columns: &'a [(FieldRef, String)],
    /// `?3` and on in that SQL.
    pub parameters: &'a [Cell<'a>],
    pub condition: Option<&'a str>,
    /// Columns that the SQL may name.
    pub scope: &'a [Wanted],
    /// Rows after this one.
    pub after: i64,
    /// Up to this one.
    pub until: i64,
    /// Matching rows to leave out first.
    pub skip: u64,
    pub rows_max: usize,
}

/// Rows that were read.
pub(super) struct Block {
    pub columns: Vec<ArrayRef>,
    pub numbers: Vec<i64>,
    pub skipped: u64,
    /// Nothing more is to be had from this reading.
    pub done: bool,
}

/// Reads rows in their order until one of the bounds is met. Arrays have the plain types (`cell::plain_type`).
pub(super) fn read(tx: &Tx<'_>, reading: &Reading<'_>) -> Result<Block, DatasetError> {
    let builders = reading.columns.iter().map(|(field, _)| CellBuilder::new(&plain_field(field)));
    let mut builders = builders.collect::<Result<Vec<_>, _>>()?;
    let mut block = Block { columns: Vec::new(), numbers: Vec::new(), skipped: 0, done: false };
    let sql = statement(reading);
    let mut select = tx.c.prepare_cached(&sql).map_err(|e| missing(e, reading.part.line))?;
    let bounds = [Cell::Integer(reading.after), Cell::Integer(reading.until)];
    let mut rows = select.query(params_from_iter(bounds.iter().chain(reading.parameters)))?;
    let mut bytes = 0;
    while block.numbers.len() < reading.rows_max && bytes < BATCH_BYTES {
        let Some(row) = rows.next().map_err(of_query)? else {
            block.done = true;
            break;
        };
        if block.skipped < reading.skip {
            block.skipped += 1;
            continue;
        }
        block.numbers.push(row.get(0)?);
        for (index, builder) in builders.iter_mut().enumerate() {
            let value = row.get_ref(index + 1)?;
            bytes += size(value);
            builder.push(value)?;
        }
    }
    block.columns = builders.into_iter().map(CellBuilder::finish).collect::<Result<_, _>>()?;
    Ok(block)
}

fn statement(reading: &Reading<'_>) -> String {
    let inner: Vec<(&str, i64)> =
        reading.scope.iter().map(|(field, n)| (field.name().as_str(), *n)).collect();
    let row = super::view::ROW;
    let columns: String = reading.columns.iter().map(|(_, sql)| format!(", {sql}")).collect();
    let condition = reading.condition.map_or(String::new(), |condition| format!(" AND ({condition})"));
    format!(
        "SELECT {row}{columns} FROM ({}) WHERE {row} > ?1 AND {row} <= ?2{condition} ORDER BY {row}",
        reading.part.select(&inner)
    )
}

/// Columns as they are.
pub(super) fn columns_of(wanted: &[Wanted]) -> Vec<(FieldRef, String)> {
    wanted.iter().map(|(field, _)| (FieldRef::clone(field), super::view::quote(field.name()))).collect()
}

pub(super) fn plain_field(field: &Field) -> Field {
    field.clone().with_data_type(plain_type(field.data_type()))
}

/// A rough size in memory.
pub(super) fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() + 8,
    }
}

/// A row table that is not there was dropped while it was read.
fn missing(error: rusqlite::Error, line: i64) -> DatasetError {
    if error.to_string().contains("no such table") { gone(line) } else { of_query(error) }
}

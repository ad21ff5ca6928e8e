//! Reading a table in its order: from segments where nothing is filtered, else from rows. Every page is a read of its
//! own at the same version, so an open reader holds neither a connection nor a snapshot.

use super::database::{Database, Pin, Tx};
use super::error::broken;
use super::rows::{self, BATCH_ROWS, Reading, Wanted, columns_of};
use super::segment::{Segment, wanted};
use super::translate::{Translated, condition};
use super::view::{Part, View};
use crate::columnar::cell::batch_rows_max;
use crate::dataset::{DatasetError, Search, TableReader};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_schema::{Schema, SchemaRef};
use arrow_select::filter::filter;
use async_trait::async_trait;
use rusqlite::params;
use std::sync::Arc;

/// A scan and how far it has come.
pub(super) struct Scan {
    view: View,
    wanted: Vec<Wanted>,
    scope: Vec<Wanted>,
    condition: Option<String>,
    schema: SchemaRef,
    rows_max: usize,
    /// Index of the part that is read, and the last row that was.
    part: usize,
    after: i64,
    skip: u64,
    left: Option<u64>,
    /// Of a segment that was not read to its end.
    kept: Option<(i64, Vec<ArrayRef>)>,
}

impl Scan {
    pub fn new(view: View, search: &Search) -> Result<Self, DatasetError> {
        let all = wanted(&view.schema);
        let wanted = match &search.select {
            None => all.clone(),
            Some(names) => select(&all, names)?,
        };
        let condition = search.filter.as_deref().filter(|text| !text.trim().is_empty());
        let condition = condition.map(|text| condition_of(&view, text)).transpose()?;
        let scope = match &condition {
            Some(condition) => scope(&all, &wanted, &condition.columns),
            None => wanted.clone(),
        };
        let fields: Vec<_> = wanted.iter().map(|(field, _)| Arc::clone(field)).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, view.schema.arrow.metadata().clone()));
        Ok(Self {
            rows_max: BATCH_ROWS.min(batch_rows_max(&schema)),
            schema,
            wanted,
            scope,
            condition: condition.map(|condition| condition.sql),
            part: 0,
            after: 0,
            skip: search.offset,
            left: search.limit,
            kept: None,
            view,
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// Leaves out the rows up to a number.
    pub fn start_after(&mut self, row: i64) {
        self.after = row;
    }

    /// The next rows; never an empty batch.
    pub fn page(&mut self, tx: &Tx<'_>) -> Result<Option<RecordBatch>, DatasetError> {
        while self.left != Some(0) {
            let Some(part) = self.view.parts.get(self.part).cloned() else { return Ok(None) };
            self.after = self.after.max(part.after);
            if self.after >= part.until {
                self.part += 1;
                continue;
            }
            let columns = self.step(tx, &part)?;
            let Some((columns, rows)) = columns.filter(|(_, rows)| *rows > 0) else { continue };
            self.left = self.left.map(|left| left.saturating_sub(rows as u64));
            return self.batch(columns, rows).map(Some);
        }
        Ok(None)
    }

    /// Reads on in a part; moves `after`.
    fn step(&mut self, tx: &Tx<'_>, part: &Part) -> Result<Option<(Vec<ArrayRef>, usize)>, DatasetError> {
        if self.condition.is_some() {
            return self.step_rows(tx, part, part.until).map(Some);
        }
        match Segment::find(tx, part.line, self.after)? {
            Some(segment) if segment.first <= self.after + 1 => self.step_segment(tx, part, &segment),
            Some(segment) => self.step_rows(tx, part, part.until.min(segment.first - 1)).map(Some),
            None => self.step_rows(tx, part, part.until).map(Some),
        }
    }

    fn step_rows(
        &mut self,
        tx: &Tx<'_>,
        part: &Part,
        until: i64,
    ) -> Result<(Vec<ArrayRef>, usize), DatasetError> {
        let block = rows::read(
            tx,
            &Reading {
                part,
                columns: &columns_of(&self.wanted),
                parameters: &[],
                condition: self.condition.as_deref(),
                scope: &self.scope,
                after: self.after,
                until,
                skip: self.skip,
                rows_max: self.page_rows(),
            },
        )?;
        self.skip -= block.skipped;
        match block.numbers.last() {
            Some(&last) if !block.done => self.after = last,
            _ => self.after = until,
        }
        let rows = block.numbers.len();
        Ok((block.columns, rows))
    }

    fn step_segment(
        &mut self,
        tx: &Tx<'_>,
        part: &Part,
        segment: &Segment,
    ) -> Result<Option<(Vec<ArrayRef>, usize)>, DatasetError> {
        let until = segment.last.min(part.until);
        let (from, to) = (segment.place_after(self.after), segment.place_after(until));
        let removed = removed(tx, part, segment, self.after, until)?;
        let live = (to - from - removed.len()) as u64;
        if self.skip >= live {
            self.skip -= live;
            self.after = until;
            return Ok(None);
        }
        let columns = match self.kept.take().filter(|(last, _)| *last == segment.last) {
            Some((_, columns)) => columns,
            None => match segment.load(tx, &self.wanted, part)? {
                Some(columns) => columns,
                None => return self.step_rows(tx, part, until).map(Some),
            },
        };
        let skip = usize::try_from(std::mem::take(&mut self.skip)).unwrap_or(usize::MAX);
        let picked = pick(from..to, &removed, skip, self.page_rows());
        let (start, length) = picked.range;
        self.after = if picked.last + 1 == to { until } else { segment.number_at(picked.last) };
        let out = columns.iter().map(|array| {
            let slice = array.slice(start, length);
            picked
                .mask
                .as_ref()
                .map_or(Ok(ArrayRef::clone(&slice)), |mask| filter(&slice, mask).map_err(broken))
        });
        let out = out.collect::<Result<Vec<_>, _>>()?;
        if self.after < until {
            self.kept = Some((segment.last, columns));
        }
        Ok(Some((out, picked.rows)))
    }

    fn page_rows(&self) -> usize {
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        self.rows_max.min(left)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, DatasetError> {
        batch(&self.schema, columns, rows)
    }

    /// Counts the rows that are left to read.
    pub fn count(mut self, tx: &Tx<'_>) -> Result<u64, DatasetError> {
        let mut total = 0;
        if self.condition.is_none() {
            total = self.view.live;
        } else {
            // Nothing of the rows but their number.
            self.scope = scope(&wanted(&self.view.schema), &[], &self.names());
            for part in &self.view.parts {
                let inner: Vec<(&str, i64)> =
                    self.scope.iter().map(|(f, n)| (f.name().as_str(), *n)).collect();
                let condition = self.condition.as_deref().unwrap_or("1");
                let sql = format!("SELECT count(*) FROM ({}) WHERE {condition}", part.select(&inner));
                total += tx.c.query_row(&sql, (), |row| row.get::<_, i64>(0))?.unsigned_abs();
            }
        }
        let total = total.saturating_sub(self.skip);
        Ok(self.left.map_or(total, |left| left.min(total)))
    }

    fn names(&self) -> Vec<String> {
        self.scope.iter().map(|(field, _)| field.name().clone()).collect()
    }
}

/// Plain arrays as the schema has them.
pub(super) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, DatasetError> {
    let columns = columns.into_iter().zip(schema.fields()).map(|(array, field)| {
        if array.data_type() == field.data_type() {
            Ok(array)
        } else {
            cast(&array, field.data_type()).map_err(broken)
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(broken)
}

fn condition_of(view: &View, text: &str) -> Result<Translated, DatasetError> {
    condition(&view.schema.arrow, text)
}

/// The named columns, in the order of the names.
pub(super) fn select(all: &[Wanted], names: &[String]) -> Result<Vec<Wanted>, DatasetError> {
    let mut wanted: Vec<Wanted> = Vec::with_capacity(names.len());
    for name in names {
        let found = all.iter().find(|(field, _)| field.name() == name).ok_or_else(|| no_column(all, name))?;
        if wanted.iter().any(|(field, _)| field.name() == name) {
            return Err(DatasetError::invalid(format!("column `{name}` is selected twice")));
        }
        wanted.push(found.clone());
    }
    Ok(wanted)
}

pub(super) fn no_column(all: &[Wanted], name: &str) -> DatasetError {
    let known: Vec<&str> = all.iter().take(20).map(|(field, _)| field.name().as_str()).collect();
    DatasetError::invalid(format!("the table has no column `{name}`; it has {}", known.join(", ")))
}

/// The wanted columns and those that SQL reads beside them.
pub(super) fn scope(all: &[Wanted], wanted: &[Wanted], read: &[String]) -> Vec<Wanted> {
    let mut scope = wanted.to_vec();
    for (field, number) in all {
        if read.contains(field.name()) && !scope.iter().any(|(_, other)| other == number) {
            scope.push((Arc::clone(field), *number));
        }
    }
    scope
}

/// Places in a segment of rows that a part has no more.
fn removed(
    tx: &Tx<'_>,
    part: &Part,
    segment: &Segment,
    after: i64,
    until: i64,
) -> Result<Vec<usize>, DatasetError> {
    let mut places = Vec::new();
    for (line, version) in &part.gone {
        let sql = format!("SELECT row FROM g{line} WHERE row > ?1 AND row <= ?2 AND version <= ?3");
        let mut find = tx.c.prepare_cached(&sql)?;
        let version = super::catalog::signed(*version);
        let mut rows = find.query(params![after, until, version])?;
        while let Some(row) = rows.next()? {
            places.extend(segment.place_of(row.get(0)?));
        }
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// What to take from a segment.
#[derive(Debug)]
struct Picked {
    /// Start and length of the slice.
    range: (usize, usize),
    /// Which of the slice, where not all.
    mask: Option<BooleanArray>,
    rows: usize,
    /// Place of the last row that is taken.
    last: usize,
}

/// Picks up to `max` of the places that are not removed, without the first `skip`. There is at least one.
fn pick(places: std::ops::Range<usize>, removed: &[usize], skip: usize, max: usize) -> Picked {
    if removed.is_empty() {
        let start = places.start + skip;
        let length = max.min(places.end - start);
        return Picked { range: (start, length), mask: None, rows: length, last: start + length - 1 };
    }
    let live = places.filter(|place| removed.binary_search(place).is_err()).skip(skip).take(max);
    let live: Vec<usize> = live.collect();
    let (start, last) = (live.first().copied().unwrap_or(0), live.last().copied().unwrap_or(0));
    let mut mask = vec![false; last + 1 - start];
    live.iter().for_each(|place| mask[place - start] = true);
    Picked { range: (start, last + 1 - start), mask: Some(BooleanArray::from(mask)), rows: live.len(), last }
}

/// A scan that is read page by page.
pub(super) struct ScanReader {
    database: Arc<Database>,
    schema: SchemaRef,
    /// `None` at the end and after an error.
    scan: Option<Scan>,
    _pin: Pin,
}

impl ScanReader {
    pub fn new(database: Arc<Database>, scan: Scan) -> Self {
        let pin = database.shared().pin(scan.view().pins());
        Self { schema: Arc::clone(scan.schema()), database, scan: Some(scan), _pin: pin }
    }
}

#[async_trait]
impl TableReader for ScanReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, DatasetError> {
        let Some(mut scan) = self.scan.take() else { return Ok(None) };
        let read = self.database.read(move |tx| scan.page(tx).map(|page| (scan, page)));
        let (scan, page) = read.await?;
        if page.is_some() {
            self.scan = Some(scan);
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn picks_without_the_removed_the_skipped_and_the_rest() {
        let whole = pick(2..9, &[], 1, 3);
        assert_eq!((whole.range, whole.rows, whole.last), ((3, 3), 3, 5));
        assert!(whole.mask.is_none());
        let some = pick(2..9, &[3, 4, 8], 1, 2);
        assert_eq!((some.range, some.rows, some.last), ((5, 2), 2, 6));
        let rest = pick(2..9, &[3, 4, 8], 0, 100);
        assert_eq!((rest.range, rest.rows, rest.last), ((2, 6), 4, 7));
        let mask: Vec<bool> = rest.mask.unwrap().iter().flatten().collect();
        assert_eq!(mask, [true, false, false, true, true, true]);
    }
}

//! Rows in order of likeness: nearest vectors, best texts. The ranking is found whole (row numbers and scores), then
//! the rows are read in its order.

use super::catalog::signed;
use super::database::{Database, Pin, Tx};
use super::diff::pick_rows;
use super::error::{broken, of_query};
use super::rows::{BATCH_ROWS, Wanted, plain_field};
use super::scan::{batch, no_column, scope, select};
use super::segment::wanted;
use super::text;
use super::translate::{Translated, condition};
use super::view::{ROW, View, quote};
use crate::columnar::cell::batch_rows_max;
use crate::dataset::search::{Metric, RELEVANCE, Target, fuse};
use crate::dataset::{DatasetError, Search, TableReader};
use arrow_array::{ArrayRef, Float32Array, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::take::take;
use async_trait::async_trait;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Rows ranked where no limit is given, as in the public clients.
const LIMIT_DEFAULT: u64 = 10;
/// Most rows ranked.
const RANKED_MAX: u64 = 100_000;
/// Column of the distance to the vector asked for; nearest is smallest.
const DISTANCE: &str = "_distance";
/// Column of the score of a text; best is largest.
const SCORE: &str = "_score";
/// Rows that each ranking gives where a text and a vector are ranked together, at least.
const FUSED_MIN: usize = 100;

/// A row and what it is ranked by: smaller is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    pub rank: f32,
    pub row: i64,
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.total_cmp(&other.rank).then(self.row.cmp(&other.row))
    }
}

/// A ranking that is read page by page.
pub(super) struct Ranking {
    view: View,
    wanted: Vec<Wanted>,
    schema: SchemaRef,
    rows: Vec<Ranked>,
    at: usize,
    by: By,
}

/// What rows are ranked by, which is the last column of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Distance,
    Score,
    /// Of a text and a vector together.
    Relevance,
}

impl By {
    fn of(search: &Search) -> Self {
        match (&search.vector, &search.text) {
            (Some(_), Some(_)) => Self::Relevance,
            (Some(_), None) => Self::Distance,
            _ => Self::Score,
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Distance => DISTANCE,
            Self::Score => SCORE,
            Self::Relevance => RELEVANCE,
        }
    }
}

/// What a ranked search asks for.
struct Asked<'a> {
    all: Vec<Wanted>,
    condition: Option<Translated>,
    search: &'a Search,
    keep: usize,
}

impl Ranking {
    pub fn new(tx: &Tx<'_>, view: View, search: &Search) -> Result<Self, DatasetError> {
        let all = wanted(&view.schema);
        let chosen = match &search.select {
            None => all.clone(),
            Some(names) => {
                let names: Vec<String> = names
                    .iter()
                    .filter(|name| ![DISTANCE, SCORE, RELEVANCE].contains(&name.as_str()))
                    .cloned()
                    .collect();
                select(&all, &names)?
            }
        };
        let rows = rows(tx, &view, search)?;
        let by = By::of(search);
        let mut fields: Vec<FieldRef> = chosen.iter().map(|(field, _)| Arc::clone(field)).collect();
        fields.push(Arc::new(Field::new(by.column(), DataType::Float32, true)));
        let schema = Arc::new(Schema::new_with_metadata(fields, view.schema.arrow.metadata().clone()));
        Ok(Self { view, wanted: chosen, schema, rows, at: 0, by })
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    fn page(&mut self, tx: &Tx<'_>) -> Result<Option<RecordBatch>, DatasetError> {
        let count = BATCH_ROWS.min(batch_rows_max(&self.schema)).min(self.rows.len() - self.at);
        if count == 0 {
            return Ok(None);
        }
        let page = &self.rows[self.at..self.at + count];
        self.at += count;
        let mut numbers: Vec<i64> = page.iter().map(|ranked| ranked.row).collect();
        numbers.sort_unstable();
        let mut parts: Vec<Vec<ArrayRef>> = Vec::new();
        let mut found: Vec<i64> = Vec::new();
        pick_rows(tx, &self.view, &self.wanted, &numbers, |columns, numbers| {
            parts.push(columns);
            found.extend(numbers);
            Ok(())
        })?;
        // From the order of the rows to the order of the ranking.
        let places = page.iter().map(|ranked| {
            let place = found.binary_search(&ranked.row).map_err(|_| broken("a ranked row is gone"))?;
            Ok(place as u64)
        });
        let places = UInt64Array::from(places.collect::<Result<Vec<u64>, DatasetError>>()?);
        let mut columns = Vec::with_capacity(self.wanted.len() + 1);
        for (index, (field, _)) in self.wanted.iter().enumerate() {
            let arrays: Vec<&dyn arrow_array::Array> =
                parts.iter().map(|part| part[index].as_ref()).collect();
            let whole = concat(&arrays).map_err(broken)?;
            debug_assert_eq!(whole.data_type(), plain_field(field).data_type());
            columns.push(take(&whole, &places, None).map_err(broken)?);
        }
        // Of scores the largest is best, so their rank is the score turned round.
        let sign = if self.by == By::Distance { 1.0 } else { -1.0 };
        columns.push(Arc::new(Float32Array::from_iter_values(page.iter().map(|ranked| sign * ranked.rank))));
        batch(&self.schema, columns, count).map(Some)
    }
}

/// The rows that a search by text or vector finds, best first, without those before its offset.
pub(super) fn rows(tx: &Tx<'_>, view: &View, search: &Search) -> Result<Vec<Ranked>, DatasetError> {
    let limit = search.limit.unwrap_or(LIMIT_DEFAULT);
    let keep = search.offset.saturating_add(limit);
    if keep > RANKED_MAX {
        return Err(DatasetError::invalid(format!(
            "a search by text or vector ranks at most {RANKED_MAX} rows, offset and limit together"
        )));
    }
    let filter = search.filter.as_deref().filter(|text| !text.trim().is_empty());
    let condition = filter.map(|text| condition(&view.schema.arrow, text)).transpose()?;
    let keep = usize::try_from(keep).map_err(broken)?;
    let mut asked = Asked { all: wanted(&view.schema), condition, search, keep };
    let mut ranked = match (&search.vector, &search.text) {
        (Some(vector), Some(words)) => {
            let keep = asked.keep;
            asked.keep = keep.max(FUSED_MIN);
            let near = nearest(tx, view, &asked, vector)?;
            let found = best(tx, view, &asked, words)?;
            let numbers = |ranked: Vec<Ranked>| ranked.into_iter().map(|r| r.row).collect::<Vec<i64>>();
            let fused = fuse(&numbers(near), &numbers(found), keep);
            fused.into_iter().map(|(row, worth)| Ranked { rank: -worth, row }).collect()
        }
        (Some(vector), None) => nearest(tx, view, &asked, vector)?,
        (None, Some(words)) => best(tx, view, &asked, words)?,
        (None, None) => return Err(broken("a ranking by nothing")),
    };
    let offset = usize::try_from(asked.search.offset).map_err(broken)?.min(ranked.len());
    Ok(ranked.split_off(offset))
}

/// The rows of a view that meet the condition, as a `SELECT` of the row number and of columns.
fn matching(view: &View, asked: &Asked<'_>, columns: &[Wanted]) -> String {
    let reads = asked.condition.as_ref().map(|condition| condition.columns.clone()).unwrap_or_default();
    let scope = scope(&asked.all, columns, &reads);
    let inner: Vec<(&str, i64)> = scope.iter().map(|(field, n)| (field.name().as_str(), *n)).collect();
    let condition = asked.condition.as_ref().map_or("1", |condition| &condition.sql);
    let names: String = columns.iter().map(|(field, _)| format!(", {}", quote(field.name()))).collect();
    let parts: Vec<String> = view
        .parts
        .iter()
        .map(|part| format!("SELECT {ROW}{names} FROM ({}) WHERE {condition}", part.select(&inner)))
        .collect();
    parts.join(" UNION ALL ")
}

fn best(tx: &Tx<'_>, view: &View, asked: &Asked<'_>, words: &str) -> Result<Vec<Ranked>, DatasetError> {
    let from = matching(view, asked, &[]);
    text::best(tx, view, words, asked.search.text_columns.as_deref(), &from, asked.keep)
}

fn nearest(tx: &Tx<'_>, view: &View, asked: &Asked<'_>, vector: &[f32]) -> Result<Vec<Ranked>, DatasetError> {
    let column = vector_column(&asked.all, vector.len())?;
    let mut target = Target::new(metric(tx, view, column.0.name())?, vector);
    let sql = matching(view, asked, std::slice::from_ref(column));
    let mut statement = tx.c.prepare(&sql).map_err(of_query)?;
    let mut rows = statement.query(()).map_err(of_query)?;
    let mut best: BinaryHeap<Ranked> = BinaryHeap::with_capacity(asked.keep.min(BATCH_ROWS) + 1);
    while let Some(row) = rows.next().map_err(of_query)? {
        // A vector with a null in it is near to nothing.
        let Ok(Some(bytes)) = row.get_ref(1)?.as_blob_or_null() else { continue };
        let rank = target.distance_of_bytes(bytes);
        if rank.is_nan() {
            continue;
        }
        let found = Ranked { rank, row: row.get(0)? };
        if best.len() < asked.keep {
            best.push(found);
        } else if best.peek().is_some_and(|worst| found < *worst) {
            best.pop();
            best.push(found);
        }
    }
    Ok(best.into_sorted_vec())
}

fn vector_column(all: &[Wanted], length: usize) -> Result<&Wanted, DatasetError> {
    let is_vector = |field: &Field| match field.data_type() {
        DataType::FixedSizeList(item, _) => *item.data_type() == DataType::Float32,
        _ => false,
    };
    let width = |field: &Field| match field.data_type() {
        DataType::FixedSizeList(_, width) => usize::try_from(*width).unwrap_or(0),
        _ => 0,
    };
    let vectors: Vec<&Wanted> = all.iter().filter(|(field, _)| is_vector(field)).collect();
    let fitting: Vec<&Wanted> = vectors.iter().copied().filter(|(field, _)| width(field) == length).collect();
    match (&fitting[..], &vectors[..]) {
        ([one], _) => Ok(one),
        ([], []) => {
            Err(DatasetError::invalid("the table has no vectors: no column is a fixed-size list of float32"))
        }
        ([], [one, ..]) => Err(DatasetError::invalid(format!(
            "the vector has {length} numbers, and those of column `{}` have {}",
            one.0.name(),
            width(&one.0)
        ))),
        ([first, second, ..], _) => Err(DatasetError::invalid(format!(
            "columns `{}` and `{}` both hold vectors of {length} numbers, and a search cannot say which it means",
            first.0.name(),
            second.0.name()
        ))),
    }
}

/// As the column's index says.
fn metric(tx: &Tx<'_>, view: &View, column: &str) -> Result<Metric, DatasetError> {
    let indexes = tx.indexes(view.line)?;
    let index = indexes.iter().find(|index| index.kind.starts_with("IVF_") && index.columns == [column]);
    let name = index.and_then(|index| index.settings.get("metric")).and_then(|metric| metric.as_str());
    Ok(name.and_then(Metric::named).unwrap_or_default())
}

/// Counts what a ranked search finds.
pub(super) fn count(tx: &Tx<'_>, view: &View, search: &Search) -> Result<u64, DatasetError> {
    let limit = search.limit.unwrap_or(RANKED_MAX.saturating_sub(search.offset));
    let search = Search { limit: Some(limit), ..search.clone() };
    rows(tx, view, &search).map(|rows| rows.len() as u64)
}

/// A ranking that is read page by page.
pub(super) struct RankingReader {
    database: Arc<Database>,
    schema: SchemaRef,
    ranking: Option<Ranking>,
    _pin: Pin,
}

impl RankingReader {
    pub fn new(database: Arc<Database>, ranking: Ranking) -> Self {
        let pin = database.shared().pin(ranking.view().pins());
        Self { schema: ranking.schema(), database, ranking: Some(ranking), _pin: pin }
    }
}

#[async_trait]
impl TableReader for RankingReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, DatasetError> {
        let Some(mut ranking) = self.ranking.take() else { return Ok(None) };
        let read = self.database.read(move |tx| ranking.page(tx).map(|page| (ranking, page)));
        let (ranking, page) = read.await?;
        if page.is_some() {
            self.ranking = Some(ranking);
        }
        Ok(page)
    }
}

/// A column that is searched for text, or an error that names it.
pub(super) fn text_column<'a>(all: &'a [Wanted], name: &str) -> Result<&'a Wanted, DatasetError> {
    let found = all.iter().find(|(field, _)| field.name() == name).ok_or_else(|| no_column(all, name))?;
    if text::is_text(found.0.data_type()) {
        Ok(found)
    } else {
        Err(DatasetError::invalid(format!("column `{name}` of type {} holds no text", found.0.data_type())))
    }
}

/// Keeps to what SQLite counts with.
pub(super) fn limit(keep: usize) -> i64 {
    signed(keep as u64)
}

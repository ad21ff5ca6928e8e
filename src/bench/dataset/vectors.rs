//! Nearest neighbours by exact search: the whole vector column is measured for each question.

use super::Options;
use super::ours::{failed, table, write};
use crate::bench::BenchError;
use crate::clock::System;
use crate::dataset::{CreateMode, DatasetStore, Search, SqliteDatasets, TableAt, WriteKind};
use crate::volume::Volume;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// As wide as many models of embeddings have them.
pub const DIMENSIONS: i32 = 768;
/// Rows inserted at once.
const BATCH_ROWS: usize = 5_000;
/// Neighbours asked for.
const NEAREST: u64 = 10;

/// The figures of one table.
#[derive(Debug, Clone, Serialize)]
pub struct Vectors {
    pub rows: usize,
    /// Seconds until all rows were in the table.
    pub insert_s: f64,
    /// Seconds of each search.
    pub search_s: Vec<f64>,
}

pub(super) async fn measure(options: &Options, rows: usize, dir: &Path) -> Result<Vectors, BenchError> {
    let store = SqliteDatasets::new(Volume::new(dir), Arc::new(System), Arc::new(System));
    let at = table("vectors");
    let create =
        WriteKind::Create { mode: CreateMode::Create, schema: Some(schema()), metadata: BTreeMap::new() };
    write(&store, &at, create, None).await.map_err(failed)?;
    let begun = Instant::now();
    for first in (0..rows).step_by(BATCH_ROWS) {
        let batch = batch(first, BATCH_ROWS.min(rows - first))?;
        write(&store, &at, WriteKind::Insert, Some(batch)).await.map_err(failed)?;
    }
    let mut measured = Vectors { rows, insert_s: begun.elapsed().as_secs_f64(), search_s: vec![] };
    for n in 0..options.scans {
        // A vector that is there: its row must come first.
        let wanted = rows / (n + 2);
        let begun = Instant::now();
        let found = nearest(&store, &at, vector(wanted).collect()).await?;
        measured.search_s.push(begun.elapsed().as_secs_f64());
        if found.first() != i64::try_from(wanted).ok().as_ref() {
            let reason = format!("row {wanted} is nearest to itself, but the search gave {found:?}");
            return Err(BenchError::Failed { name: "meshagent".to_owned(), reason });
        }
    }
    Ok(measured)
}

async fn nearest(store: &dyn DatasetStore, at: &TableAt, to: Vec<f32>) -> Result<Vec<i64>, BenchError> {
    let search = Search {
        vector: Some(to),
        limit: Some(NEAREST),
        select: Some(vec!["id".to_owned()]),
        ..Search::default()
    };
    let mut reader = store.search(at, search).await.map_err(failed)?;
    let mut found = Vec::new();
    while let Some(batch) = reader.next().await.map_err(failed)? {
        if let Some(ids) =
            batch.column_by_name("id").and_then(|ids| ids.as_any().downcast_ref::<Int64Array>())
        {
            found.extend(ids.values());
        }
    }
    Ok(found)
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("vector", DataType::FixedSizeList(item(), DIMENSIONS), false),
    ]))
}

/// The vector of a row: the same in every run, unlike that of every other row.
#[allow(clippy::cast_precision_loss, reason = "32 bits as a fraction")]
fn vector(row: usize) -> impl Iterator<Item = f32> {
    // SplitMix64.
    let mut state = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..DIMENSIONS).map(move |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as f32 / u32::MAX as f32 - 0.5
    })
}

#[allow(clippy::cast_possible_wrap, reason = "small numbers of rows")]
fn batch(first: usize, count: usize) -> Result<RecordBatch, BenchError> {
    let flat: Float32Array = (first..first + count).flat_map(vector).map(Some).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new((first..first + count).map(|n| n as i64).collect::<Int64Array>()),
        Arc::new(FixedSizeListArray::new(item(), DIMENSIONS, Arc::new(flat), None)),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|error| BenchError::Failed { name: "meshagent".to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_search_finds_the_vector_itself_and_says_how_long_it_took() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { scans: 2, ..Options::standard(dir.path().to_owned()) };
        let measured = measure(&options, 200, dir.path()).await.unwrap();
        assert_eq!((measured.rows, measured.search_s.len()), (200, 2));
    }
}

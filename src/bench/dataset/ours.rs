//! Our datasets, by their port, on a database of their own.

use super::{Measured, Options, micros};
use crate::bench::BenchError;
use crate::clock::System;
use crate::dataset::{
    CreateMode, DatasetError, DatasetStore, Place, Search, SqliteDatasets, TableAt, WriteKind,
};
use crate::id::{ProjectId, RoomId};
use crate::volume::Volume;
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// As LanceDB's script has them.
const DIMENSIONS: i32 = 16;
const BATCH_ROWS: usize = 50_000;
/// 2026-01-01, microseconds since 1970.
const START_US: i64 = 1_767_225_600_000_000;

pub(super) async fn measure(options: &Options, dir: &Path) -> Result<Measured, BenchError> {
    let store = SqliteDatasets::new(Volume::new(dir), Arc::new(System), Arc::new(System));
    let mut measured = Measured { version: env!("CARGO_PKG_VERSION").to_owned(), ..Measured::default() };
    let single = table("single");
    write(&store, &single, create(), None).await.map_err(failed)?;
    for n in 0..options.appends {
        let row = rows(n, 1)?;
        let begun = Instant::now();
        write(&store, &single, WriteKind::Insert, Some(row)).await.map_err(failed)?;
        measured.append_us.push(micros(begun.elapsed()));
    }
    let big = table("big");
    write(&store, &big, create(), None).await.map_err(failed)?;
    for first in (0..options.scan_rows).step_by(BATCH_ROWS) {
        let batch = rows(first, BATCH_ROWS.min(options.scan_rows - first))?;
        write(&store, &big, WriteKind::Insert, Some(batch)).await.map_err(failed)?;
    }
    for _ in 0..options.scans {
        let begun = Instant::now();
        let count = scan(&store, &big).await.map_err(failed)?;
        measured.scan_s.push(begun.elapsed().as_secs_f64());
        if count != options.scan_rows {
            let reason = format!("a scan gave {count} of {} rows", options.scan_rows);
            return Err(BenchError::Failed { name: "meshagent".to_owned(), reason });
        }
    }
    Ok(measured)
}

pub(super) fn failed(error: DatasetError) -> BenchError {
    BenchError::Failed { name: "meshagent".to_owned(), reason: error.to_string() }
}

pub(super) fn table(name: &str) -> TableAt {
    let room = RoomId::new(ProjectId::PLATFORM, Uuid::nil());
    TableAt { place: Place { room, namespace: vec![], branch: None }, table: name.to_owned(), version: None }
}

fn create() -> WriteKind {
    WriteKind::Create { mode: CreateMode::Create, schema: Some(schema()), metadata: BTreeMap::new() }
}

pub(super) async fn write(
    store: &dyn DatasetStore,
    at: &TableAt,
    kind: WriteKind,
    batch: Option<RecordBatch>,
) -> Result<(), DatasetError> {
    let mut writer = store.write(at, kind).await?;
    if let Some(batch) = batch {
        writer.push(batch).await?;
    }
    writer.commit().await.map(drop)
}

/// Holds all batches to the end, as LanceDB's `to_arrow` does.
async fn scan(store: &dyn DatasetStore, at: &TableAt) -> Result<usize, DatasetError> {
    let mut reader = store.search(at, Search::default()).await?;
    let mut batches = vec![];
    while let Some(batch) = reader.next().await? {
        batches.push(batch);
    }
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

fn vector_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("vector", DataType::FixedSizeList(vector_item(), DIMENSIONS), true),
    ]))
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "small numbers of rows")]
fn rows(first: usize, count: usize) -> Result<RecordBatch, BenchError> {
    let numbers = first..first + count;
    let flat: Float32Array =
        numbers.clone().flat_map(|n| [(n % 97) as f32; DIMENSIONS as usize]).map(Some).collect();
    let at: TimestampMicrosecondArray =
        numbers.clone().map(|n| Some(START_US + n as i64 * 1_000_000)).collect();
    let texts = numbers.clone().map(|n| Some(format!("message number {n} of a thread")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers.map(|n| n as i64).collect::<Int64Array>()),
        Arc::new(texts.collect::<StringArray>()),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(FixedSizeListArray::new(vector_item(), DIMENSIONS, Arc::new(flat), None)),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|error| BenchError::Failed { name: "meshagent".to_owned(), reason: error.to_string() })
}

//! A store on a folder of its own, and short ways to write and read small tables.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use meshagent::clock::{Clock, Fixed, System};
use meshagent::dataset::{
    CreateMode, DatasetError, DatasetStore, Place, Search, SqliteDatasets, TableAt, WriteKind, Written,
};
use meshagent::id::{ProjectId, RoomId};
use meshagent::volume::Volume;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

pub struct Rig {
    pub store: SqliteDatasets,
    pub folder: tempfile::TempDir,
}

pub fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    Rig { store: open(folder.path()), folder }
}

pub fn open(path: &Path) -> SqliteDatasets {
    SqliteDatasets::new(Volume::new(path), Arc::new(System), Arc::new(System))
}

pub fn open_at(path: &Path, clock: Arc<Fixed>) -> SqliteDatasets {
    SqliteDatasets::new(Volume::new(path), clock as Arc<dyn Clock>, Arc::new(System))
}

pub fn room() -> RoomId {
    RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(2))
}

pub fn place() -> Place {
    Place { room: room(), namespace: Vec::new(), branch: None }
}

pub fn table(name: &str) -> TableAt {
    TableAt { place: place(), table: name.to_owned(), version: None }
}

pub fn on_branch(name: &str, branch: &str) -> TableAt {
    TableAt { place: Place { branch: Some(branch.to_owned()), ..place() }, ..table(name) }
}

pub fn at_version(name: &str, version: u64) -> TableAt {
    TableAt { version: Some(version), ..table(name) }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

/// Rows `(id, name)`; the name is `n<id>`.
pub fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let names: Vec<String> = ids.iter().map(|id| format!("n{id}")).collect();
    named(&ids.iter().copied().zip(names.iter().map(String::as_str)).collect::<Vec<_>>())
}

pub fn named(rows: &[(i64, &str)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    RecordBatch::try_new(schema(), vec![ids, names]).unwrap()
}

pub fn create(mode: CreateMode) -> WriteKind {
    WriteKind::Create { mode, schema: Some(schema()), metadata: BTreeMap::new() }
}

pub async fn write(
    store: &SqliteDatasets,
    at: &TableAt,
    kind: WriteKind,
    batches: impl IntoIterator<Item = RecordBatch>,
) -> Result<Written, DatasetError> {
    let mut writer = store.write(at, kind).await?;
    for batch in batches {
        writer.push(batch).await?;
    }
    writer.commit().await
}

/// A new table with rows of these ids.
pub async fn make(store: &SqliteDatasets, at: &TableAt, ids: impl IntoIterator<Item = i64>) -> Written {
    write(store, at, create(CreateMode::Create), [rows(ids)]).await.unwrap()
}

pub async fn insert(store: &SqliteDatasets, at: &TableAt, ids: impl IntoIterator<Item = i64>) -> Written {
    write(store, at, WriteKind::Insert, [rows(ids)]).await.unwrap()
}

pub async fn search(
    store: &SqliteDatasets,
    at: &TableAt,
    search: Search,
) -> Result<Vec<RecordBatch>, DatasetError> {
    let mut reader = store.search(at, search).await?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        assert_eq!(batch.schema(), reader.schema());
        assert!(batch.num_rows() > 0, "no empty batches");
        batches.push(batch);
    }
    Ok(batches)
}

pub fn ids_of(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column_by_name("id").unwrap().clone();
    batches.iter().flat_map(|batch| column(batch).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// All rows as `(id, name)`, by id.
pub async fn all(store: &SqliteDatasets, at: &TableAt) -> Vec<(i64, String)> {
    let batches = search(store, at, Search::default()).await.unwrap();
    let mut all: Vec<(i64, String)> = Vec::new();
    for batch in &batches {
        let names = batch.column_by_name("name").unwrap().as_string::<i32>().clone();
        let ids = ids_of(std::slice::from_ref(batch));
        all.extend(ids.into_iter().zip(names.iter().map(|name| name.unwrap_or("-").to_owned())));
    }
    all.sort();
    all
}

/// The ids of all rows, in order.
pub async fn ids(store: &SqliteDatasets, at: &TableAt) -> Vec<i64> {
    all(store, at).await.into_iter().map(|row| row.0).collect()
}

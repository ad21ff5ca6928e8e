//! The table that lists an agent's threads.

use super::Place;
use super::place::InvalidPlace;
use super::table::exists;
use crate::agent::message::ThreadEntry;
use crate::client::room::{RoomClient, RoomError};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Value, json};
use std::sync::Arc;

/// Threads that are listed.
const ENTRIES_MAX: usize = 100_000;

/// The list of the threads in one folder.
#[derive(Clone, Debug)]
pub struct Index {
    client: RoomClient,
    place: Place,
}

fn schema() -> Schema {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Schema::new(vec![
        text("path", false),
        text("name", true),
        text("created_at", true),
        text("modified_at", true),
    ])
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Newest first.
#[must_use]
pub fn sorted(mut entries: Vec<ThreadEntry>) -> Vec<ThreadEntry> {
    let key = |entry: &ThreadEntry| {
        let time = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap_or_default();
        (time(&entry.modified_at), time(&entry.created_at), entry.path.clone())
    };
    entries.sort_by_cached_key(|entry| std::cmp::Reverse(key(entry)));
    entries
}

impl Index {
    /// The index of folder `dir`, a `dataset://` path.
    pub fn new(client: RoomClient, dir: &str) -> Result<Self, InvalidPlace> {
        Ok(Self { client, place: Place::parse(&format!("{}/index", dir.trim_end_matches('/')))? })
    }

    async fn ensure(&self) -> Result<(), RoomError> {
        if exists(&self.client, &self.place).await? {
            return Ok(());
        }
        let start = json!({"kind": "start", "name": self.place.table, "mode": "create_if_not_exists",
            "namespace": self.place.namespace(), "branch": null, "metadata": null});
        self.client
            .datasets()
            .write("create_table", start, Some(&schema()), std::iter::empty())
            .await
            .map(drop)
    }

    /// All threads, in no order.
    pub async fn all(&self) -> Result<Vec<ThreadEntry>, RoomError> {
        if !exists(&self.client, &self.place).await? {
            return Ok(Vec::new());
        }
        let start = json!({"kind": "start", "text": null, "vector": null, "text_columns": null, "where": null,
            "offset": null, "limit": ENTRIES_MAX, "select": null, "version": null});
        let mut stream = self.client.datasets().read("search", self.place.with(start)).await?;
        let mut all = Vec::new();
        while let Some(batch) = stream.next().await? {
            all.extend(entries(&batch));
        }
        Ok(all)
    }

    /// Adds a thread, or replaces its entry.
    pub async fn put(&self, entry: &ThreadEntry) -> Result<(), RoomError> {
        self.ensure().await?;
        let column = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let columns = vec![
            column(&entry.path),
            column(&entry.name),
            column(&entry.created_at),
            column(&entry.modified_at),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema()), columns).map_err(|error| RoomError::Failed {
            request: "thread index".into(),
            text: error.to_string(),
            code: None,
        })?;
        let start = self.place.with(json!({"kind": "start", "on": "path"}));
        self.client.datasets().write("merge", start, None, std::iter::once(Ok(batch))).await.map(drop)
    }

    /// Sets columns of a thread's entry.
    pub async fn set(&self, path: &str, columns: &[(&str, &str)]) -> Result<(), RoomError> {
        self.ensure().await?;
        let value =
            |(column, text): &(&str, &str)| json!({"column": column, "value_json": json!(text).to_string()});
        let values: Vec<Value> = columns.iter().map(value).collect();
        let input = self.place.with(json!({"where": format!("path = {}", quoted(path)), "values": values}));
        self.client.datasets().call("update", input).await.map(drop)
    }

    /// Removes a thread's entry and drops its table.
    pub async fn delete(&self, path: &str) -> Result<(), RoomError> {
        self.ensure().await?;
        let input = self.place.with(json!({"where": format!("path = {}", quoted(path))}));
        self.client.datasets().call("delete", input).await?;
        let Ok(place) = Place::parse(path) else { return Ok(()) };
        let input = json!({"name": place.table, "namespace": place.namespace(), "branch": null, "ignore_missing": true});
        self.client.datasets().call("drop_table", input).await.map(drop)
    }
}

fn entries(batch: &RecordBatch) -> Vec<ThreadEntry> {
    let column = |name: &str| arrow_cast::cast(batch.column_by_name(name)?, &DataType::Utf8).ok();
    let columns = ["path", "name", "created_at", "modified_at"].map(column);
    let text = |n: usize, at: usize| {
        let array = columns.get(n)?.as_ref()?.as_string_opt::<i32>()?;
        array.is_valid(at).then(|| array.value(at).trim().to_owned())
    };
    let read = |at: usize| {
        let path = text(0, at).filter(|path| !path.is_empty())?;
        let or_empty = |n| text(n, at).unwrap_or_default();
        Some(ThreadEntry { path, name: or_empty(1), created_at: or_empty(2), modified_at: or_empty(3) })
    };
    (0..batch.num_rows()).filter_map(read).collect()
}

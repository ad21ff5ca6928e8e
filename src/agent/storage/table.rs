//! The table of one thread.

use super::Place;
use super::rows::{self, Stored};
use crate::agent::thread::record::Row;
use crate::client::room::{RoomClient, RoomError};
use arrow_schema::{Field, Schema};
use serde_json::{Value, json};

/// Rows of one thread that are read; a longer one cannot be opened.
pub const ROWS_MAX: usize = 200_000;
/// Attempts to write rows over lost connections.
const WRITE_ATTEMPTS: u32 = 5;
/// The table is compacted after so many writes.
const COMPACT_EVERY: u32 = 25;

/// A thread's table, to which one agent at a time writes.
#[derive(Debug)]
pub struct ThreadTable {
    client: RoomClient,
    place: Place,
    next: i64,
    writes: u32,
    /// Whether rows may have been written without our knowing.
    unsure: bool,
}

fn failed(place: &Place, text: impl ToString) -> RoomError {
    RoomError::Failed { request: format!("thread {}", place.table), text: text.to_string(), code: None }
}

impl ThreadTable {
    /// Opens the table, makes it where it is missing, and reads what it holds.
    pub async fn open(client: RoomClient, place: Place) -> Result<(Self, Vec<Stored>), RoomError> {
        let found = exists(&client, &place).await?;
        if found {
            add_missing_columns(&client, &place).await;
        } else {
            let start = json!({"kind": "start", "name": place.table, "mode": "create_if_not_exists",
                "namespace": place.namespace(), "branch": null, "metadata": null});
            client.datasets().write("create_table", start, Some(&rows::schema()), std::iter::empty()).await?;
        }
        let stored = if found { read(&client, &place).await? } else { Vec::new() };
        let next = stored.last().map_or(0, |row| row.sequence + 1);
        Ok((Self { client, place, next, writes: 0, unsure: false }, stored))
    }

    /// Adds rows and takes them out of `rows`; after an error those that are not known to be stored stay there. When it is not known
    /// whether they were written, looks before it writes again.
    pub async fn append(&mut self, rows: &mut Vec<Row>) -> Result<(), RoomError> {
        let mut attempt = 1;
        loop {
            if self.unsure {
                self.look(rows).await?;
            }
            if rows.is_empty() {
                break;
            }
            let batch = rows::batch(rows, self.next).map_err(|error| failed(&self.place, error))?;
            let start = self.place.with(json!({"kind": "start"}));
            match self.client.datasets().write("insert", start, None, std::iter::once(Ok(batch))).await {
                Ok(_) => {
                    self.next += i64::try_from(rows.len()).unwrap_or(0);
                    rows.clear();
                }
                Err(error) => {
                    self.unsure = true;
                    if error.is_final() || attempt == WRITE_ATTEMPTS {
                        return Err(error);
                    }
                    tracing::warn!(table = self.place.table, %error, "rows of a thread may not have been written; looking");
                    attempt += 1;
                }
            }
        }
        self.writes += 1;
        if self.writes.is_multiple_of(COMPACT_EVERY) {
            self.compact().await;
        }
        Ok(())
    }

    /// Takes out of `rows` what is stored.
    async fn look(&mut self, rows: &mut Vec<Row>) -> Result<(), RoomError> {
        let there = read(&self.client, &self.place).await?;
        let written = |row: &Row| {
            let id = row.data.get("message_id");
            there.iter().any(|stored| {
                id.is_some() && stored.message.get("message_id") == id && stored.sequence >= self.next
            })
        };
        rows.retain(|row| !written(row));
        self.next = there.last().map_or(0, |row| row.sequence + 1);
        self.unsure = false;
        Ok(())
    }

    async fn compact(&self) {
        let config = json!({"compact_files": true, "optimize_indices": false, "cleanup_old_versions": false});
        let input = self.place.with(json!({"config": config}));
        if let Err(error) = self.client.datasets().call("optimize", input).await {
            tracing::debug!(table = self.place.table, %error, "a thread's table was not compacted");
        }
    }

    /// The rows as they are stored now.
    pub async fn rows(&self) -> Result<Vec<Stored>, RoomError> {
        read(&self.client, &self.place).await
    }
}

/// The rows of a thread; none where it has no table.
pub async fn read_thread(client: &RoomClient, place: &Place) -> Result<Vec<Stored>, RoomError> {
    if exists(client, place).await? { read(client, place).await } else { Ok(Vec::new()) }
}

pub(super) async fn exists(client: &RoomClient, place: &Place) -> Result<bool, RoomError> {
    let input = json!({"namespace": place.namespace(), "branch": null});
    let listed = client.datasets().call("list_tables", input).await?;
    let tables = listed.get("tables").and_then(Value::as_array);
    Ok(tables.into_iter().flatten().any(|name| name == place.table.as_str()))
}

async fn read(client: &RoomClient, place: &Place) -> Result<Vec<Stored>, RoomError> {
    let start = json!({"kind": "start", "text": null, "vector": null, "text_columns": null, "where": null,
        "offset": null, "limit": null, "select": null, "version": null});
    let mut stream = client.datasets().read("search", place.with(start)).await?;
    let mut all = Vec::new();
    while let Some(batch) = stream.next().await? {
        all.extend(rows::read(&batch).map_err(|error| failed(place, error))?);
        if all.len() > ROWS_MAX {
            return Err(failed(place, format!("it has more than {ROWS_MAX} rows; start a new thread")));
        }
    }
    all.sort_by_key(|row| row.sequence);
    if let Some(twice) = all.windows(2).find(|pair| pair[0].sequence == pair[1].sequence) {
        let text = format!("two rows have sequence {}; two agents wrote it at once", twice[0].sequence);
        tracing::error!(table = place.table, text, "a thread is damaged");
    }
    Ok(all)
}

/// Tables of old agents lack columns; a table that is as it should be stays as it is.
async fn add_missing_columns(client: &RoomClient, place: &Place) {
    let added = async {
        let there = client.datasets().schema(place.with(json!({"version": null}))).await?;
        let missing = |field: &&std::sync::Arc<Field>| there.field_with_name(field.name()).is_err();
        let wanted = rows::schema();
        let fields: Vec<_> = wanted.fields().iter().filter(missing).cloned().collect();
        if fields.is_empty() {
            return Ok(());
        }
        client.datasets().with_schema("add_columns", place.with(json!({})), &Schema::new(fields)).await
    };
    let added: Result<(), RoomError> = added.await;
    if let Err(error) = added {
        tracing::warn!(table = place.table, %error, "missing columns of a thread's table were not added");
    }
}

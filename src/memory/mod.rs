//! What agents remember: memories of a room, each a graph of entities and relationships with the sources they came
//! from, and tables of the user's own beside them. `docs/memory.md` is the contract.
//!
//! ```text
//! registry   which memories there are; each has a namespace of its own in a store of datasets
//! tables     the tables of a memory and the ids in them       rows     reading and merging rows
//! upsert, remove, ingest   changes, one at a time per room    extract  text into entities (rules, or a model)
//! graph, recall            reading                            cypher   the query language
//! ```
//!
//! Every change is durable when it returns, and nobody in the room sees half of one: changes exclude reads. A crash
//! within one can leave its first part: entities are written before the relationships between them and removed after
//! them, so no relationship is ever without its ends, and doing it again completes it.
//!
//! Knows no sockets, room files or grants.

pub mod cypher;
mod error;
pub mod extract;
mod graph;
mod ingest;
mod recall;
mod registry;
mod remove;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod upsert;

pub use error::MemoryError;
pub use ingest::{Ingested, Origin, Strategy, TEXTS_MAX, Text};
pub use recall::{Recall, Recalled, RecalledRelationship};
pub use remove::{Removed, Selector};
pub use tables::{EntityRecord, RelationshipRecord};

use crate::clock::{Clock, IdSource};
use crate::dataset::{DatasetStore, OptimizeConfig, OptimizeReport, Place, Search, TableAt};
use crate::id::RoomId;
use cypher::{Cancel, Record};
use extract::Model;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::RwLock;

/// Longest name of a memory or of one of its tables, and longest segment of a namespace; bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most segments of a namespace.
pub const NAMESPACE_DEPTH_MAX: usize = 16;

/// Where a memory is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryAt {
    pub room: RoomId,
    /// Empty for the room's own.
    pub namespace: Vec<String>,
    pub name: String,
}

/// What `inspect` tells of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    pub name: String,
    pub rows: u64,
    pub columns: Vec<String>,
}

/// The memories of all rooms.
pub struct Memories {
    /// A store of their own: what is in it is reached through memories only.
    store: Arc<dyn DatasetStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    model: Option<Arc<dyn Model>>,
    /// Per room: changes exclude each other and reads.
    rooms: Mutex<HashMap<RoomId, Arc<RwLock<()>>>>,
}

impl fmt::Debug for Memories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memories")
            .field("store", &self.store)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Memories {
    /// `store` holds memories and nothing else. `model` reads texts with `strategy=llm`, and makes vectors.
    pub fn new(
        store: Arc<dyn DatasetStore>,
        model: Option<Arc<dyn Model>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { store, clock, ids, model, rooms: Mutex::default() }
    }

    fn room_lock(&self, room: RoomId) -> Arc<RwLock<()>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|known, lock| *known == room || Arc::strong_count(lock) > 1);
        Arc::clone(rooms.entry(room).or_default())
    }

    fn now(&self) -> String {
        self.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    /// Names of the memories of a namespace, in order.
    pub async fn list(&self, room: RoomId, namespace: &[String]) -> Result<Vec<String>, MemoryError> {
        let lock = self.room_lock(room);
        let _reading = lock.read().await;
        let entries = self.entries(room).await?;
        let mut names: Vec<String> =
            entries.into_iter().filter(|e| e.is_live() && e.namespace == namespace).map(|e| e.name).collect();
        names.sort();
        Ok(names)
    }

    /// Its tables in order.
    pub async fn inspect(&self, at: &MemoryAt) -> Result<Vec<TableSummary>, MemoryError> {
        let lock = self.room_lock(at.room);
        let _reading = lock.read().await;
        let place = self.find(at).await?;
        let mut summaries = Vec::new();
        for table in self.store.list_tables(&place).await? {
            let table = table_at(&place, &table);
            let schema = self.store.schema(&table).await?;
            let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
            let rows = self.store.count(&table, Search::default()).await?;
            summaries.push(TableSummary { name: table.table, rows, columns });
        }
        Ok(summaries)
    }

    /// Answers a query; see [`cypher`]. Dropping it stops the query.
    pub async fn query(&self, at: &MemoryAt, statement: &str) -> Result<Vec<Record>, MemoryError> {
        let graph = {
            let lock = self.room_lock(at.room);
            let _reading = lock.read().await;
            let place = self.find(at).await?;
            graph::load(self.store.as_ref(), &place, statement).await?
        };
        let cancel = Cancel::default();
        let (flag, statement) = (cancel.flag(), statement.to_owned());
        let answered = tokio::task::spawn_blocking(move || cypher::run(&statement, &graph, &flag)).await;
        drop(cancel);
        Ok(answered.map_err(|error| MemoryError::failed(format!("the query broke off: {error}")))??)
    }

    /// Compacts the tables; with `cleanup` their older versions, which a memory does not show, are removed.
    pub async fn optimize(
        &self,
        at: &MemoryAt,
        compact: bool,
        cleanup: bool,
    ) -> Result<Vec<(String, OptimizeReport)>, MemoryError> {
        let lock = self.room_lock(at.room);
        let _writing = lock.write().await;
        let place = self.find(at).await?;
        let mut reports = Vec::new();
        for table in self.store.list_tables(&place).await? {
            let config = OptimizeConfig {
                compact,
                optimize_indices: compact,
                older_than_seconds: cleanup.then_some(0),
                retain_versions: cleanup.then_some(1),
            };
            let report = self.store.optimize(&table_at(&place, &table), config).await?;
            reports.push((table, report));
        }
        Ok(reports)
    }

    /// Lets go of what is open for a room whose session ended here.
    pub async fn close_room(&self, room: RoomId) {
        self.store.close_room(room).await;
    }

    /// Removes all memories of a deleted room.
    pub async fn delete_room(&self, room: RoomId) -> Result<(), MemoryError> {
        Ok(self.store.delete_room(room).await?)
    }
}

fn table_at(place: &Place, table: &str) -> TableAt {
    TableAt { place: place.clone(), table: table.to_owned(), version: None }
}

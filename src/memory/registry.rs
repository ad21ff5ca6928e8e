//! Which memories there are. A memory's tables are in a namespace named by an id, not by its name: replacing a memory
//! is then one row changing, and no tables of the old one are ever seen in the new one.

use super::rows::{self, text};
use super::{Memories, MemoryAt, MemoryError, NAME_BYTES_MAX, NAMESPACE_DEPTH_MAX, table_at};
use crate::columnar::typed::{Row, Typed};
use crate::dataset::{Place, TableAt};
use crate::id::RoomId;
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// Most memories of a room, dropped ones counted until their tables are gone.
const MEMORIES_MAX: usize = 10_000;
const TABLE: &str = "memories";

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    /// Not there any more; its tables are still to be removed.
    Dropped,
    /// Without tables, for the next memory.
    Free,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    id: String,
    pub namespace: Vec<String>,
    pub name: String,
    state: State,
}

impl Entry {
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    fn is(&self, at: &MemoryAt) -> bool {
        self.is_live() && self.name == at.name && self.namespace == at.namespace
    }

    fn place(&self, room: RoomId) -> Place {
        Place { room, namespace: vec![self.id.clone()], branch: None }
    }

    fn row(&self) -> Row {
        let state = match self.state {
            State::Live => "live",
            State::Dropped => "dropped",
            State::Free => "free",
        };
        let namespace = serde_json::Value::from(self.namespace.clone()).to_string();
        [
            ("id", self.id.clone()),
            ("namespace", namespace),
            ("name", self.name.clone()),
            ("state", state.into()),
        ]
        .into_iter()
        .map(|(column, value)| (column.to_owned(), Typed::Text(value)))
        .collect()
    }

    fn read(row: &Row) -> Self {
        let namespace = serde_json::from_str(text(row, "namespace").unwrap_or("[]")).unwrap_or_default();
        let state = match text(row, "state") {
            Some("live") => State::Live,
            Some("free") => State::Free,
            _ => State::Dropped,
        };
        let own = |column| text(row, column).unwrap_or_default().to_owned();
        Self { id: own("id"), namespace, name: own("name"), state }
    }
}

fn table(room: RoomId) -> TableAt {
    table_at(&Place { room, namespace: Vec::new(), branch: None }, TABLE)
}

fn schema() -> Schema {
    let column = |name: &str| Field::new(name, DataType::Utf8, true);
    Schema::new(["id", "namespace", "name", "state"].map(column).to_vec())
}

impl Memories {
    pub(super) async fn entries(&self, room: RoomId) -> Result<Vec<Entry>, MemoryError> {
        let rows = rows::all(self.store.as_ref(), &table(room), None, MEMORIES_MAX).await?;
        Ok(rows.iter().map(Entry::read).collect())
    }

    /// Where the tables of a memory are.
    pub(super) async fn find(&self, at: &MemoryAt) -> Result<Place, MemoryError> {
        let entries = self.entries(at.room).await?;
        let found = entries.iter().find(|entry| entry.is(at));
        found.map(|entry| entry.place(at.room)).ok_or_else(|| MemoryError::missing(&at.name))
    }

    async fn put(&self, room: RoomId, entries: &[&Entry]) -> Result<(), MemoryError> {
        let rows = entries.iter().map(|entry| entry.row()).collect();
        rows::write(self.store.as_ref(), &table(room), &Arc::new(schema()), Some("id"), rows).await
    }

    /// Makes an empty memory. `overwrite`: in the place of one that is there; what it held is gone at once.
    pub async fn create(
        &self,
        at: &MemoryAt,
        overwrite: bool,
        ignore_exists: bool,
    ) -> Result<(), MemoryError> {
        check(at)?;
        let lock = self.room_lock(at.room);
        let _writing = lock.write().await;
        let mut entries = self.entries(at.room).await?;
        let old = entries.iter().position(|entry| entry.is(at));
        if old.is_some() && !overwrite {
            return if ignore_exists { Ok(()) } else { Err(MemoryError::exists(&at.name)) };
        }
        self.sweep(at.room, &mut entries).await;
        let free = entries.iter().position(|entry| entry.state == State::Free);
        if free.is_none() && entries.len() >= MEMORIES_MAX {
            return Err(MemoryError::failed(format!(
                "a room has at most {MEMORIES_MAX} memories; drop some"
            )));
        }
        let id = free.map_or_else(|| self.ids.fresh().simple().to_string(), |free| entries[free].id.clone());
        let new = Entry { id, namespace: at.namespace.clone(), name: at.name.clone(), state: State::Live };
        let Some(old) = old else { return self.put(at.room, &[&new]).await };
        entries[old].state = State::Dropped;
        self.put(at.room, &[&entries[old], &new]).await?;
        self.sweep(at.room, &mut entries).await;
        Ok(())
    }

    /// Removes a memory with everything in it.
    pub async fn remove(&self, at: &MemoryAt, ignore_missing: bool) -> Result<(), MemoryError> {
        let lock = self.room_lock(at.room);
        let _writing = lock.write().await;
        let mut entries = self.entries(at.room).await?;
        let Some(old) = entries.iter().position(|entry| entry.is(at)) else {
            return if ignore_missing { Ok(()) } else { Err(MemoryError::missing(&at.name)) };
        };
        entries[old].state = State::Dropped;
        self.put(at.room, &[&entries[old]]).await?;
        self.sweep(at.room, &mut entries).await;
        Ok(())
    }

    /// Removes the tables of dropped memories. What fails is tried again at the next change.
    async fn sweep(&self, room: RoomId, entries: &mut [Entry]) {
        for entry in entries.iter_mut().filter(|entry| entry.state == State::Dropped) {
            let swept = async {
                let place = entry.place(room);
                for table in self.store.list_tables(&place).await? {
                    self.store.drop_table(&table_at(&place, &table), true).await?;
                }
                entry.state = State::Free;
                self.put(room, &[entry]).await
            };
            if let Err(error) = swept.await {
                entry.state = State::Dropped;
                tracing::warn!(memory = entry.name, %error, "the tables of a dropped memory are still there");
            }
        }
    }
}

fn check(at: &MemoryAt) -> Result<(), MemoryError> {
    check_name("the name of a memory", &at.name)?;
    if at.namespace.len() > NAMESPACE_DEPTH_MAX {
        return Err(MemoryError::invalid(format!("a namespace has at most {NAMESPACE_DEPTH_MAX} segments")));
    }
    at.namespace.iter().try_for_each(|segment| check_name("a segment of a namespace", segment))
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), MemoryError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(MemoryError::invalid(format!(
            "{what} has 1 to {NAME_BYTES_MAX} bytes and no control characters, unlike `{}`",
            name.escape_debug()
        )));
    }
    Ok(())
}

//! Adding and changing rows.

use super::registry::check_name;
use super::rows::{self, key_text, set, text, value};
use super::tables::{self, EMBEDDING, ENTITY, PLAIN_ENTITY, RELATIONSHIP, SOURCE, relationship_id};
use super::{EntityRecord, Memories, MemoryAt, MemoryError, RelationshipRecord, table_at};
use crate::columnar::typed::{Row, Typed};
use crate::dataset::Place;
use std::collections::{BTreeSet, HashMap};

/// Most records of one call.
pub const RECORDS_MAX: usize = 50_000;

/// Columns of the two ends of a relationship: id and name.
const ENDS: [(&str, &str); 2] =
    [("source_entity_id", "source_entity_name"), ("target_entity_id", "target_entity_name")];

/// What becomes of a value that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// Values given replace those there; null leaves them.
    Update,
    /// Values there stay; only missing ones are taken.
    Fill,
    /// The row is replaced.
    Replace,
}

impl From<bool> for Merge {
    fn from(merge: bool) -> Self {
        if merge { Self::Update } else { Self::Replace }
    }
}

impl Memories {
    /// Adds entities, or changes those with the same id. Without an id, type and name make one.
    pub async fn upsert_entities(
        &self,
        at: &MemoryAt,
        records: Vec<EntityRecord>,
        merge: bool,
    ) -> Result<(), MemoryError> {
        let rows: Vec<Row> = records.into_iter().map(EntityRecord::into_row).collect();
        self.upsert_table(at, ENTITY, rows, merge).await
    }

    /// Adds relationships, or changes those with the same ends and type.
    pub async fn upsert_relationships(
        &self,
        at: &MemoryAt,
        records: Vec<RelationshipRecord>,
        merge: bool,
    ) -> Result<(), MemoryError> {
        let rows: Vec<Row> = records.into_iter().map(RelationshipRecord::into_row).collect();
        self.upsert_table(at, RELATIONSHIP, rows, merge).await
    }

    /// Adds rows to a table, which is made if it is missing, or changes those with the same key: the column `id` or
    /// `<table>_id`. A table without one holds each row once, or with `merge` false as often as it comes.
    pub async fn upsert_table(
        &self,
        at: &MemoryAt,
        table: &str,
        rows: Vec<Row>,
        merge: bool,
    ) -> Result<(), MemoryError> {
        check_name("the name of a table", table)?;
        if rows.len() > RECORDS_MAX {
            return Err(MemoryError::invalid(format!(
                "one call takes at most {RECORDS_MAX} records; send several"
            )));
        }
        let lock = self.room_lock(at.room);
        let _writing = lock.write().await;
        let place = self.find(at).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let is = |own: &str| table.eq_ignore_ascii_case(own);
        if is(ENTITY) {
            self.put_entities(&place, rows, merge.into()).await
        } else if is(RELATIONSHIP) {
            self.put_relationships(&place, rows, merge.into()).await
        } else if is(SOURCE) || is(EMBEDDING) {
            Err(MemoryError::invalid(format!(
                "the table `{table}` is kept by the memory itself; choose another name"
            )))
        } else {
            self.put_rows(&place, table, rows, merge).await
        }
    }

    /// Ids are made where they are missing.
    pub(super) async fn put_entities(
        &self,
        place: &Place,
        mut rows: Vec<Row>,
        merge: Merge,
    ) -> Result<(), MemoryError> {
        for (n, row) in rows.iter_mut().enumerate() {
            if value(row, "entity_id").is_none() {
                let name = text(row, "name").filter(|name| !name.trim().is_empty());
                let name = name.ok_or_else(|| MemoryError::invalid(format!("record {n} has no `name`")))?;
                let id = tables::entity_id(text(row, "entity_type").unwrap_or(PLAIN_ENTITY), name);
                set(row, "entity_id", Typed::Text(id));
            }
        }
        let now = self.now();
        self.merge_rows(place, ENTITY, "entity_id", rows, merge, &mut |row, old| {
            default(row, "created_at", old.and_then(|old| text(old, "created_at")).unwrap_or(&now));
            default(row, "entity_type", PLAIN_ENTITY);
            let id = text(row, "entity_id").unwrap_or_default().to_owned();
            default(row, "name", &id);
        })
        .await
    }

    /// An end that is not there becomes an entity with the name that the relationship gives it, or its id as name.
    pub(super) async fn put_relationships(
        &self,
        place: &Place,
        mut rows: Vec<Row>,
        merge: Merge,
    ) -> Result<(), MemoryError> {
        let mut ends = BTreeSet::new();
        for (n, row) in rows.iter_mut().enumerate() {
            let end = |column: &str| {
                let id = text(row, column).filter(|id| !id.is_empty()).map(str::to_owned);
                id.ok_or_else(|| MemoryError::invalid(format!("record {n} has no `{column}`")))
            };
            let (source, target) = (end("source_entity_id")?, end("target_entity_id")?);
            default(row, "relationship_type", tables::RELATED_TO);
            let kind = text(row, "relationship_type").unwrap_or(tables::RELATED_TO).to_owned();
            set(row, "relationship_id", Typed::Text(relationship_id(&source, &target, &kind)));
            ends.extend([source, target]);
        }
        let ids: Vec<Typed> = ends.iter().cloned().map(Typed::Text).collect();
        let entities = table_at(place, ENTITY);
        let there = rows::by_key(self.store.as_ref(), &entities, "entity_id", &ids, ids.len()).await?;
        let mut names: HashMap<String, String> = HashMap::new();
        for (id, entity) in &there {
            names.insert(id.clone(), text(entity, "name").unwrap_or(id).to_owned());
        }
        for row in &rows {
            for (id, name) in ENDS {
                if let (Some(id), Some(name)) = (text(row, id), text(row, name)) {
                    names.entry(id.to_owned()).or_insert_with(|| name.to_owned());
                }
            }
        }
        for row in &mut rows {
            for (id, name) in ENDS {
                let end = text(row, id).unwrap_or_default().to_owned();
                default(row, name, names.get(&end).unwrap_or(&end));
            }
        }
        let missing = ends.iter().filter(|id| !there.contains_key(*id)).map(|id| {
            let name = names.get(id).unwrap_or(id).clone();
            vec![("entity_id".to_owned(), Typed::Text(id.clone())), ("name".to_owned(), Typed::Text(name))]
        });
        let missing: Vec<Row> = missing.collect();
        if !missing.is_empty() {
            self.put_entities(place, missing, Merge::Fill).await?;
        }
        let now = self.now();
        self.merge_rows(place, RELATIONSHIP, "relationship_id", rows, merge, &mut |row, old| {
            default(row, "created_at", old.and_then(|old| text(old, "created_at")).unwrap_or(&now));
        })
        .await
    }

    async fn put_rows(
        &self,
        place: &Place,
        table: &str,
        rows: Vec<Row>,
        merge: bool,
    ) -> Result<(), MemoryError> {
        let at = table_at(place, table);
        let schema = rows::schema(self.store.as_ref(), &at).await?;
        let own = format!("{}_id", table.to_lowercase());
        let has = |column: &str| {
            let known = schema.as_ref().is_some_and(|schema| schema.field_with_name(column).is_ok());
            known || rows.iter().any(|row| value(row, column).is_some())
        };
        if let Some(key) = ["id", own.as_str()].into_iter().find(|column| has(column)) {
            return self.merge_rows(place, table, key, rows, merge.into(), &mut |_, _| {}).await;
        }
        let mut rows = rows;
        if merge {
            let there = rows::all(self.store.as_ref(), &at, None, super::cypher::NODES_MAX).await?;
            let mut seen: BTreeSet<String> = there.iter().map(row_text).collect();
            rows.retain(|row| seen.insert(row_text(row)));
        }
        if rows.is_empty() {
            return Ok(());
        }
        rows::write(self.store.as_ref(), &at, &tables::base(table), None, rows).await
    }

    /// Merges rows into a table by its key, as one version. `finish` sees each row with the one it replaces.
    pub(super) async fn merge_rows(
        &self,
        place: &Place,
        table: &str,
        key: &str,
        rows: Vec<Row>,
        merge: Merge,
        finish: &mut (dyn FnMut(&mut Row, Option<&Row>) + Send),
    ) -> Result<(), MemoryError> {
        let at = table_at(place, table);
        let mut keys = Vec::new();
        let mut merged: HashMap<String, (usize, Row)> = HashMap::new();
        for (n, row) in rows.into_iter().enumerate() {
            let own = value(&row, key).cloned();
            let own = own.ok_or_else(|| MemoryError::invalid(format!("record {n} has no `{key}`")))?;
            let text = key_text(&own)?;
            keys.push(own);
            let joined = match merged.remove(&text) {
                Some((_, before)) => joined(before, row, merge),
                None => row,
            };
            merged.insert(text, (n, joined));
        }
        let there = rows::by_key(self.store.as_ref(), &at, key, &keys, keys.len()).await?;
        let mut rows: Vec<(usize, Row)> = Vec::with_capacity(merged.len());
        for (text, (n, row)) in merged {
            let old = there.get(&text);
            let mut row = match old {
                Some(old) => joined(old.clone(), row, merge),
                None => row,
            };
            finish(&mut row, old);
            rows.push((n, row));
        }
        rows.sort_by_key(|(n, _)| *n);
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        rows::write(self.store.as_ref(), &at, &tables::base(table), Some(key), rows).await
    }
}

/// Gives a column a value if it has none.
pub(super) fn default(row: &mut Row, column: &str, text: &str) {
    if value(row, column).is_none() {
        set(row, column, Typed::Text(text.to_owned()));
    }
}

fn joined(old: Row, new: Row, merge: Merge) -> Row {
    if merge == Merge::Replace {
        return new;
    }
    let mut row = old;
    for (column, given) in new {
        match (value(&row, &column), given) {
            (_, Typed::Null) => {}
            // Maps are joined key by key.
            (
                Some(Typed::Json(serde_json::Value::Object(old))),
                Typed::Json(serde_json::Value::Object(new)),
            ) => {
                let (mut first, second) =
                    if merge == Merge::Fill { (new, old.clone()) } else { (old.clone(), new) };
                first.extend(second);
                set(&mut row, &column, Typed::Json(first.into()));
            }
            // A type that says nothing gives way.
            (Some(Typed::Text(kind)), given) if column == "entity_type" && kind == PLAIN_ENTITY => {
                set(&mut row, &column, given);
            }
            (Some(_), Typed::Text(kind)) if column == "entity_type" && kind == PLAIN_ENTITY => {}
            (Some(_), _) if merge == Merge::Fill => {}
            (_, given) => set(&mut row, &column, given),
        }
    }
    row
}

/// What a row says, nulls left out.
fn row_text(row: &Row) -> String {
    let mut columns: Vec<String> = row
        .iter()
        .filter(|(_, value)| *value != Typed::Null)
        .map(|(name, value)| format!("{name}={}", value.json(crate::columnar::typed::Form::Wrapped)))
        .collect();
    columns.sort();
    columns.join("\u{1f}")
}

//! Indexes: SQLite's own on scalar columns, FTS5 on text; vector columns are searched exactly, with or without one.

use super::catalog::{TableSchema, check_name, newest_only};
use super::database::Tx;
use super::error::broken;
use super::history::object;
use super::scan::no_column;
use super::segment::wanted;
use super::view::quote;
use super::{rank, text};
use crate::dataset::{DatasetError, IndexConfig, IndexInfo, TableAt};
use crate::error_code::RoomCode;
use arrow_schema::DataType;
use rusqlite::params;
use serde_json::{Map, Value, json};

/// Most indexes of a table.
const INDEXES_MAX: usize = 64;

/// An index on record.
#[derive(Debug, Clone)]
pub(super) struct StoredIndex {
    pub name: String,
    /// As on the wire, upper case.
    pub kind: String,
    pub columns: Vec<String>,
    pub settings: Map<String, Value>,
}

/// What an index type is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An index of SQLite.
    Scalar,
    /// Words, in FTS5.
    Text,
    /// A promise about a vector column; searches are exact and read it whole.
    Vector,
    Unknown,
}

fn kind(index_type: &str) -> Kind {
    match index_type {
        "BTREE" | "BITMAP" | "LABEL_LIST" | "NGRAM" | "ZONEMAP" | "BLOOMFILTER" | "RTREE" => Kind::Scalar,
        "FTS" | "INVERTED" => Kind::Text,
        _ if index_type.starts_with("IVF_") => Kind::Vector,
        _ => Kind::Unknown,
    }
}

pub(super) fn is_text(index_type: &str) -> bool {
    kind(index_type) == Kind::Text
}

impl Tx<'_> {
    /// Adds the rows after `after` to the indexes that SQLite does not keep itself.
    pub fn index_rows(&self, line: i64, schema: &TableSchema, after: i64) -> Result<(), DatasetError> {
        for index in self.indexes(line)?.iter().filter(|index| is_text(&index.kind)) {
            text::add(self, line, &index.name, &numbers(schema, &index.columns)?, after)?;
        }
        Ok(())
    }

    /// Drops the indexes of columns that a schema does not have.
    pub fn keep_indexes_of(&self, line: i64, schema: &TableSchema) -> Result<(), DatasetError> {
        for index in self.indexes(line)? {
            if numbers(schema, &index.columns).is_err() {
                self.drop_index(line, &index.name)?;
            }
        }
        Ok(())
    }

    pub fn indexes(&self, line: i64) -> Result<Vec<StoredIndex>, DatasetError> {
        let mut select = self.c.prepare_cached(
            "SELECT name, kind, columns, settings FROM table_index WHERE line = ?1 ORDER BY name",
        )?;
        let rows = select.query_map([line], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (name, kind, columns, settings) = row?;
            let columns = serde_json::from_str(&columns).map_err(broken)?;
            found.push(StoredIndex { name, kind, columns, settings: object(&settings) });
        }
        Ok(found)
    }

    pub fn drop_index(&self, line: i64, name: &str) -> Result<(), DatasetError> {
        self.c.execute_batch(&format!("DROP INDEX IF EXISTS {}", index_name(line, name)))?;
        text::drop(self, line, name)?;
        self.c
            .prepare_cached("DELETE FROM table_index WHERE line = ?1 AND name = ?2")?
            .execute(params![line, name])?;
        Ok(())
    }

    pub fn remove_indexes(&self, line: i64) -> Result<(), DatasetError> {
        self.indexes(line)?.iter().try_for_each(|index| self.drop_index(line, &index.name))
    }
}

/// The numbers of columns by their names.
fn numbers(schema: &TableSchema, names: &[String]) -> Result<Vec<i64>, DatasetError> {
    let all = wanted(schema);
    let number = |name: &String| {
        let found = all.iter().find(|(field, _)| field.name() == name);
        found.map(|(_, number)| *number).ok_or_else(|| no_column(&all, name))
    };
    names.iter().map(number).collect()
}

fn index_name(line: i64, name: &str) -> String {
    quote(&format!("i{line} {name}"))
}

pub(super) fn create(tx: &Tx<'_>, at: &TableAt, config: &IndexConfig) -> Result<(), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    let all = wanted(&head.schema);
    if config.columns.is_empty() {
        return Err(DatasetError::invalid("an index is on at least one column"));
    }
    let mut numbers = Vec::new();
    for name in &config.columns {
        let (field, number) =
            all.iter().find(|(field, _)| field.name() == name).ok_or_else(|| no_column(&all, name))?;
        let vector = matches!(field.data_type(), DataType::FixedSizeList(..));
        if kind(&config.index_type) == Kind::Vector && !vector {
            return Err(DatasetError::invalid(format!(
                "column `{name}` of type {} holds no vectors; index type {} is for fixed-size lists of floats",
                field.data_type(),
                config.index_type
            )));
        }
        if kind(&config.index_type) == Kind::Text {
            rank::text_column(&all, name)?;
        }
        numbers.push(*number);
    }
    let name = config.name.clone().unwrap_or_else(|| format!("{}_idx", config.columns.join("_")));
    check_name("index", &name)?;
    let existing = tx.indexes(head.line)?;
    if existing.iter().any(|index| index.name == name) {
        if !config.replace {
            return Err(DatasetError::new(
                RoomCode::AlreadyExists,
                format!(
                    "table `{}` has an index `{name}` already; give `replace`, or another name",
                    at.table
                ),
            ));
        }
        tx.drop_index(head.line, &name)?;
    } else if existing.len() >= INDEXES_MAX {
        return Err(DatasetError::invalid(format!(
            "a table has at most {INDEXES_MAX} indexes; drop one first"
        )));
    }
    tx.own_rows(head.line, &head.schema)?;
    let line = head.line;
    match kind(&config.index_type) {
        Kind::Scalar => {
            let columns: Vec<String> = numbers.iter().map(|number| format!("c{number}")).collect();
            let index = index_name(line, &name);
            tx.c.execute_batch(&format!("CREATE INDEX {index} ON r{line} ({})", columns.join(", ")))?;
        }
        Kind::Text => text::create(tx, line, &name, &numbers)?,
        Kind::Vector => {}
        Kind::Unknown => {
            return Err(DatasetError::invalid(format!(
                "index type `{}` is not known; use BTREE, BITMAP, LABEL_LIST, NGRAM, ZONEMAP, BLOOMFILTER or RTREE for \
                 values, FTS or INVERTED for text, or IVF_PQ, IVF_HNSW_PQ, IVF_HNSW_SQ or IVF_RQ for vectors",
                config.index_type
            )));
        }
    }
    let columns = serde_json::to_string(&config.columns).map_err(broken)?;
    let settings = serde_json::to_string(&config.settings).map_err(broken)?;
    tx.c.prepare_cached(
        "INSERT INTO table_index (line, name, kind, columns, settings) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![line, name, config.index_type, columns, settings])?;
    Ok(())
}

pub(super) fn drop(tx: &Tx<'_>, at: &TableAt, name: &str) -> Result<(), DatasetError> {
    newest_only(at)?;
    let head = tx.head(at)?;
    if !tx.indexes(head.line)?.iter().any(|index| index.name == name) {
        return Err(DatasetError::new(
            RoomCode::NotFound,
            format!("table `{}` has no index `{name}`; dataset.list_indexes shows those it has", at.table),
        ));
    }
    tx.drop_index(head.line, name)
}

pub(super) fn list(tx: &Tx<'_>, at: &TableAt) -> Result<Vec<IndexInfo>, DatasetError> {
    let head = tx.head(at)?;
    let infos = tx.indexes(head.line)?.into_iter().map(|index| {
        let mut details = index.settings;
        let engine = match kind(&index.kind) {
            Kind::Vector => "exact scan",
            Kind::Text => "fts5",
            _ => "b-tree",
        };
        details.insert("engine".into(), json!(engine));
        IndexInfo {
            name: index.name,
            columns: index.columns,
            index_type: index.kind,
            rows_indexed: head.live,
            size_bytes: None,
            details,
        }
    });
    Ok(infos.collect())
}

//! What there is: branches, tables, lines, versions and schemas.

use super::database::Tx;
use super::error::broken;
use crate::columnar::{cell, ipc};
use crate::dataset::{DatasetError, Place, TableAt, Written};
use crate::error_code::RoomCode;
use arrow_schema::{DataType, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The main branch, also by this name.
pub(super) const MAIN: &str = "main";
/// Most columns of a table.
const COLUMNS_MAX: usize = 1_000;
/// Longest name of a table, a column, a tag or a branch, bytes.
const NAME_BYTES_MAX: usize = 255;

/// A schema as a version of a table has it.
#[derive(Debug)]
pub(super) struct TableSchema {
    pub id: i64,
    pub arrow: SchemaRef,
    /// Per field, the number of its column in the row tables.
    pub columns: Vec<i64>,
}

/// A table at its newest version on a branch.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub line: i64,
    pub version: u64,
    /// The highest row number given so far.
    pub last_row: i64,
    /// Rows that are there.
    pub live: u64,
    pub schema: Arc<TableSchema>,
}

/// A line's own record.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub id: i64,
    pub parent: Option<i64>,
    pub fork_version: u64,
    pub fork_row: i64,
    /// Columns of its row table; `None` while it has none.
    pub columns: Option<Vec<i64>>,
}

/// What a version is recorded with.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub operation: &'a str,
    /// Rows added, changed or removed.
    pub rows: u64,
    pub last_row: i64,
    pub live: u64,
    pub schema: i64,
}

pub(super) fn unsigned(value: i64) -> u64 {
    value.unsigned_abs()
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Checks a name that a user gives to something.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), DatasetError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let shown: String = name.chars().take(40).collect();
        return Err(DatasetError::invalid(format!(
            "`{shown}` cannot name a {what}: a name has 1 to {NAME_BYTES_MAX} bytes and no control characters"
        )));
    }
    Ok(())
}

/// Checks a schema that a table is to have.
pub(super) fn check_schema(schema: &Schema) -> Result<(), DatasetError> {
    let fields = schema.fields();
    if fields.is_empty() || fields.len() > COLUMNS_MAX {
        return Err(DatasetError::invalid(format!(
            "a table has 1 to {COLUMNS_MAX} columns, not {}",
            fields.len()
        )));
    }
    for (index, field) in fields.iter().enumerate() {
        check_name("column", field.name())?;
        if field.name().eq_ignore_ascii_case(super::view::ROW) {
            return Err(DatasetError::invalid(format!("`{}` is reserved; rename the column", field.name())));
        }
        if let Some(other) = fields[..index].iter().find(|f| f.name().eq_ignore_ascii_case(field.name())) {
            return Err(DatasetError::invalid(format!(
                "columns `{}` and `{}` have the same name but for upper and lower case; rename one",
                other.name(),
                field.name()
            )));
        }
        if *field.data_type() == DataType::Null && !field.is_nullable() {
            return Err(DatasetError::invalid(format!("column `{}` can hold nothing", field.name())));
        }
    }
    Ok(cell::check(schema)?)
}

/// A write is to the newest version.
pub(super) fn newest_only(at: &TableAt) -> Result<(), DatasetError> {
    match at.version {
        Some(version) => Err(DatasetError::invalid(format!(
            "version {version} of table `{}` cannot be changed; leave out `version`, or restore it first",
            at.table
        ))),
        None => Ok(()),
    }
}

impl Tx<'_> {
    pub fn now(&self) -> i64 {
        micros(self.shared.clock.now())
    }

    pub fn branch(&self, place: &Place) -> Result<i64, DatasetError> {
        self.branch_named(place.branch.as_deref())
    }

    pub fn branch_named(&self, name: Option<&str>) -> Result<i64, DatasetError> {
        let Some(name) = name.filter(|name| *name != MAIN) else { return Ok(0) };
        let mut find = self.c.prepare_cached("SELECT id FROM branch WHERE name = ?1")?;
        find.query_row([name], |row| row.get(0)).optional()?.ok_or_else(|| {
            DatasetError::new(
                RoomCode::NotFound,
                format!("branch `{name}` does not exist here; dataset.list_branches shows those that do"),
            )
        })
    }

    pub fn tables(&self, place: &Place) -> Result<Vec<String>, DatasetError> {
        let branch = self.branch(place)?;
        let mut list = self.c.prepare_cached("SELECT name FROM head WHERE branch = ?1 ORDER BY name")?;
        let names = list.query_map([branch], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names)
    }

    pub fn find_head(&self, at: &TableAt) -> Result<Option<Head>, DatasetError> {
        let branch = self.branch(&at.place)?;
        let mut find = self.c.prepare_cached(
            "SELECT line, version, last_row, live, schema FROM head JOIN version USING (line)
             WHERE branch = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1",
        )?;
        let found = find.query_row(params![branch, at.table], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        });
        let Some((line, version, last_row, live, schema)) = found.optional()? else { return Ok(None) };
        let schema = self.schema(schema)?;
        Ok(Some(Head { line, version: unsigned(version), last_row, live: unsigned(live), schema }))
    }

    pub fn head(&self, at: &TableAt) -> Result<Head, DatasetError> {
        self.find_head(at)?.ok_or_else(|| DatasetError::no_table(&at.table))
    }

    pub fn line(&self, id: i64) -> Result<Line, DatasetError> {
        let mut find = self
            .c
            .prepare_cached("SELECT parent, fork_version, fork_row, columns FROM line WHERE id = ?1")?;
        let found = find.query_row([id], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?))
        });
        let (parent, fork_version, fork_row, columns) = found.optional()?.ok_or_else(|| gone(id))?;
        let columns = columns.map(|text| serde_json::from_str(&text)).transpose().map_err(broken)?;
        Ok(Line { id, parent, fork_version: unsigned(fork_version), fork_row, columns })
    }

    pub fn schema(&self, id: i64) -> Result<Arc<TableSchema>, DatasetError> {
        if let Some(schema) = self.shared.schema(id) {
            return Ok(schema);
        }
        let mut find = self.c.prepare_cached("SELECT arrow, columns FROM schema WHERE id = ?1")?;
        let (arrow, columns) =
            find.query_row([id], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)))?;
        let arrow = ipc::decode_schema(&arrow)?;
        let columns = serde_json::from_str(&columns).map_err(broken)?;
        let schema = Arc::new(TableSchema { id, arrow, columns });
        self.shared.keep_schema(&schema);
        Ok(schema)
    }

    /// Records a schema; the same one is recorded once.
    pub fn save_schema(&self, arrow: SchemaRef, columns: Vec<i64>) -> Result<Arc<TableSchema>, DatasetError> {
        check_schema(&arrow)?;
        let bytes = ipc::encode_schema(&arrow)?;
        let numbers = serde_json::to_string(&columns).map_err(broken)?;
        let mut hash = Sha256::new();
        hash.update(&bytes);
        hash.update(&numbers);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize()[..8]);
        let id = i64::from_le_bytes(id);
        self.c
            .prepare_cached("INSERT OR IGNORE INTO schema (id, arrow, columns) VALUES (?1, ?2, ?3)")?
            .execute(params![id, &bytes[..], numbers])?;
        Ok(Arc::new(TableSchema { id, arrow, columns }))
    }

    /// Numbers for new columns; none is ever given twice.
    pub fn new_columns(&self, count: usize) -> Result<Vec<i64>, DatasetError> {
        let count = i64::try_from(count).map_err(broken)?;
        let mut take = self.c.prepare_cached(
            "UPDATE property SET value = value + ?1 WHERE name = 'next_column' RETURNING value",
        )?;
        let end: i64 = take.query_row([count], |row| row.get(0))?;
        Ok((end - count..end).collect())
    }

    /// Begins a table: its line, its tables for rows. No version yet.
    pub fn new_table(&self, branch: i64, name: &str, schema: &TableSchema) -> Result<i64, DatasetError> {
        self.c.prepare_cached("INSERT INTO line DEFAULT VALUES")?.execute(())?;
        let line = self.c.last_insert_rowid();
        self.make_rows(line, schema)?;
        self.c
            .prepare_cached("INSERT INTO head (branch, name, line) VALUES (?1, ?2, ?3)")?
            .execute(params![branch, name, line])?;
        Ok(line)
    }

    /// Gives a line tables of its own, where it has none.
    pub fn own_rows(&self, line: i64, schema: &TableSchema) -> Result<(), DatasetError> {
        if self.line(line)?.columns.is_none() {
            self.make_rows(line, schema)?;
        }
        Ok(())
    }

    fn make_rows(&self, line: i64, schema: &TableSchema) -> Result<(), DatasetError> {
        let columns: String = schema.arrow.fields().iter().zip(&schema.columns).fold(
            String::new(),
            |mut text, (field, number)| {
                text.push_str(&format!(", c{number} {}", cell::declared_type(field.data_type())));
                text
            },
        );
        self.c.execute_batch(&format!(
            "CREATE TABLE r{line} (row INTEGER PRIMARY KEY{columns});
             CREATE TABLE g{line} (row INTEGER PRIMARY KEY, version INTEGER NOT NULL);"
        ))?;
        self.set_line_columns(line, &schema.columns)
    }

    pub fn set_line_columns(&self, line: i64, columns: &[i64]) -> Result<(), DatasetError> {
        let text = serde_json::to_string(columns).map_err(broken)?;
        self.c.prepare_cached("UPDATE line SET columns = ?2 WHERE id = ?1")?.execute(params![line, text])?;
        Ok(())
    }

    /// Records the next version of a line.
    pub fn record(&self, line: i64, after: u64, change: &Change<'_>) -> Result<Written, DatasetError> {
        let version = after + 1;
        let mut insert = self.c.prepare_cached(
            "INSERT INTO version (line, version, at, operation, rows, last_row, live, schema)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        insert.execute(params![
            line,
            signed(version),
            self.now(),
            change.operation,
            signed(change.rows),
            change.last_row,
            signed(change.live),
            change.schema
        ])?;
        Ok(Written { version, rows: change.rows })
    }

    /// Takes a table off its branch. Lines that others began from stay.
    pub fn remove_table(&self, head: &Head) -> Result<(), DatasetError> {
        self.c.prepare_cached("DELETE FROM head WHERE line = ?1")?.execute([head.line])?;
        self.remove_unused(head.line)
    }

    /// Removes a line that no branch shows and none began from; then its parent, where that has become such.
    pub fn remove_unused(&self, line: i64) -> Result<(), DatasetError> {
        let mut next = Some(line);
        while let Some(line) = next.take() {
            let mut used = self.c.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM head WHERE line = ?1) OR EXISTS (SELECT 1 FROM line WHERE parent = ?1)",
            )?;
            if used.query_row([line], |row| row.get(0))? {
                return Ok(());
            }
            next = self.line(line)?.parent;
            self.remove_indexes(line)?;
            self.c.execute_batch(&format!("DROP TABLE IF EXISTS r{line}; DROP TABLE IF EXISTS g{line};"))?;
            for sql in [
                "DELETE FROM segment_column WHERE segment IN (SELECT id FROM segment WHERE line = ?1)",
                "DELETE FROM segment WHERE line = ?1",
                "DELETE FROM version WHERE line = ?1",
                "DELETE FROM tag WHERE line = ?1",
                "DELETE FROM line WHERE id = ?1",
            ] {
                self.c.prepare_cached(sql)?.execute([line])?;
            }
        }
        Ok(())
    }
}

/// A line that a reader or writer had in hand is no more.
pub(super) fn gone(_line: i64) -> DatasetError {
    DatasetError::new(
        RoomCode::NotFound,
        "the table was dropped or replaced meanwhile; inspect it and begin again",
    )
}

//! The rows of a table at a version, as SQL.

use super::catalog::{Head, TableSchema, gone, signed, unsigned};
use super::database::Tx;
use crate::dataset::{DatasetError, TableAt};
use crate::error_code::RoomCode;
use arrow_schema::SchemaRef;
use rusqlite::{Connection, OptionalExtension, params};
use std::fmt::Write as _;
use std::sync::Arc;

/// Name of the row number in [`View::select`]; no column of a user has it.
pub const ROW: &str = "__row";

/// A table at a version.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) line: i64,
    pub(super) version: u64,
    pub(super) last_row: i64,
    pub(super) live: u64,
    pub(super) schema: Arc<TableSchema>,
    /// Where its rows are, oldest first.
    pub(super) parts: Vec<Part>,
}

/// Rows of one line: those after `after` up to `until` that are in no `gone`.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub line: i64,
    pub after: i64,
    pub until: i64,
    /// Lines whose removals count, up to a version each; lines that removed nothing are left out.
    pub gone: Vec<(i64, u64)>,
    /// Columns that the line's row table has.
    pub columns: Vec<i64>,
}

impl View {
    /// Finds the table at its newest version or at the one that `at` asks for.
    pub(super) fn resolve(tx: &Tx<'_>, at: &TableAt) -> Result<Self, DatasetError> {
        let head = tx.head(at)?;
        match at.version {
            None => Self::of_head(tx, &head),
            Some(version) if version == head.version => Self::of_head(tx, &head),
            Some(version) => {
                let missing = || {
                    DatasetError::new(
                        RoomCode::NotFound,
                        format!(
                            "table `{}` has no version {version} (the newest is {}); dataset.list_versions shows those kept",
                            at.table, head.version
                        ),
                    )
                };
                if version > head.version {
                    return Err(missing());
                }
                Self::of_version(tx, head.line, version)?.ok_or_else(missing)
            }
        }
    }

    pub(super) fn of_head(tx: &Tx<'_>, head: &Head) -> Result<Self, DatasetError> {
        let (line, version) = (head.line, head.version);
        let parts = parts(tx, line, version, head.last_row)?;
        let schema = Arc::clone(&head.schema);
        Ok(Self { line, version, last_row: head.last_row, live: head.live, schema, parts })
    }

    /// `None`: there is no such version, or it was removed.
    pub(super) fn of_version(tx: &Tx<'_>, line: i64, version: u64) -> Result<Option<Self>, DatasetError> {
        let mut line = tx.line(line)?;
        while version < line.fork_version {
            let Some(parent) = line.parent else { return Ok(None) };
            line = tx.line(parent)?;
        }
        let mut find = tx
            .c
            .prepare_cached("SELECT last_row, live, schema FROM version WHERE line = ?1 AND version = ?2")?;
        let found = find.query_row(params![line.id, signed(version)], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?))
        });
        let Some((last_row, live, schema)) = found.optional()? else { return Ok(None) };
        let schema = tx.schema(schema)?;
        let parts = parts(tx, line.id, version, last_row)?;
        Ok(Some(Self { line: line.id, version, last_row, live: unsigned(live), schema, parts }))
    }

    /// The table's schema at this version.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema.arrow)
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A `SELECT` of all rows: [`ROW`], then the fields in their order under their own names.
    #[must_use]
    pub fn select(&self) -> String {
        let names = self.schema.arrow.fields().iter().map(|field| field.name().as_str());
        let wanted: Vec<(&str, i64)> = names.zip(self.schema.columns.iter().copied()).collect();
        let parts: Vec<String> = self.parts.iter().map(|part| part.select(&wanted)).collect();
        parts.join(" UNION ALL ")
    }

    /// Makes the rows a temporary view. The caller drops it, or the transaction that it was made in rolls back.
    pub fn create(&self, connection: &Connection, alias: &str) -> rusqlite::Result<()> {
        connection.execute_batch(&format!("CREATE TEMP VIEW {} AS {}", quote(alias), self.select()))
    }

    /// What a reader of it needs kept.
    pub(super) fn pins(&self) -> Vec<(i64, u64)> {
        let mut pins = vec![(self.line, self.version)];
        pins.extend(self.parts.iter().flat_map(|part| part.gone.iter().copied()));
        pins
    }
}

impl Part {
    /// As [`View::select`], with the given columns under the given names.
    pub fn select(&self, wanted: &[(&str, i64)]) -> String {
        let line = self.line;
        let mut sql = format!("SELECT row AS {ROW}");
        for (name, number) in wanted {
            if self.columns.contains(number) {
                let _ = write!(sql, ", c{number} AS {}", quote(name));
            } else {
                let _ = write!(sql, ", NULL AS {}", quote(name));
            }
        }
        let _ = write!(sql, " FROM r{line} WHERE row > {} AND row <= {}", self.after, self.until);
        for (other, version) in &self.gone {
            let _ = write!(
                sql,
                " AND NOT EXISTS (SELECT 1 FROM g{other} WHERE g{other}.row = r{line}.row AND g{other}.version <= {version})"
            );
        }
        sql
    }
}

fn parts(tx: &Tx<'_>, line: i64, version: u64, last_row: i64) -> Result<Vec<Part>, DatasetError> {
    let mut parts = Vec::new();
    let mut removals: Vec<(i64, u64)> = Vec::new();
    let (mut next, mut version, mut until) = (Some(line), version, last_row);
    while let Some(id) = next {
        let line = tx.line(id)?;
        if let Some(columns) = line.columns {
            let any: Option<i64> =
                tx.c.prepare_cached(&format!("SELECT 1 FROM g{id} LIMIT 1"))
                    .map_err(|_| gone(id))?
                    .query_row((), |row| row.get(0))
                    .optional()?;
            if any.is_some() {
                removals.push((id, version));
            }
            if until > line.fork_row {
                parts.push(Part { line: id, after: line.fork_row, until, gone: removals.clone(), columns });
            }
        }
        (next, version, until) = (line.parent, line.fork_version, line.fork_row);
    }
    parts.reverse();
    if parts.is_empty() {
        // Nothing was ever written: any table does, with no row of it.
        parts.push(empty_part(tx, line)?);
    }
    Ok(parts)
}

fn empty_part(tx: &Tx<'_>, line: i64) -> Result<Part, DatasetError> {
    let mut next = Some(line);
    while let Some(id) = next {
        let line = tx.line(id)?;
        if let Some(columns) = line.columns {
            return Ok(Part { line: id, after: 0, until: 0, gone: Vec::new(), columns });
        }
        next = line.parent;
    }
    Err(gone(line))
}

/// A name as SQL.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

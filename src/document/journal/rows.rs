//! The database's tables and statements.

use super::JournalError;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS documents (
    id BLOB PRIMARY KEY,
    path TEXT NOT NULL,
    schema TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- Its card was not found when the room was last tidied up.
    gone INTEGER NOT NULL DEFAULT 0,
    folded INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    snapshot BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS updates (
    document BLOB NOT NULL,
    seq INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (document, seq)
) WITHOUT ROWID;
";

/// What is known of a document besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Uuid,
    pub path: String,
    /// MeshSchema as JSON text.
    pub schema: String,
    /// RFC 3339.
    pub created_at: String,
}

/// A document as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub row: Row,
    /// The update that everything up to `folded` was folded into.
    pub snapshot: Bytes,
    pub folded: i64,
    /// The updates after it, in order, with their numbers.
    pub updates: Vec<(i64, Bytes)>,
}

pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)
}

pub(super) fn create(connection: &Connection, row: &Row, snapshot: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO documents (id, path, schema, created_at, folded, crc, snapshot) \
               VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)";
    let values =
        params![row.id.as_bytes(), row.path, row.schema, row.created_at, crc32fast::hash(snapshot), snapshot];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

pub(super) fn append(
    connection: &Connection,
    document: Uuid,
    seq: i64,
    update: &[u8],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO updates (document, seq, crc, data) VALUES (?1, ?2, ?3, ?4)";
    let values = params![document.as_bytes(), seq, crc32fast::hash(update), update];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

pub(super) fn fold(
    connection: &Connection,
    document: Uuid,
    seq: i64,
    snapshot: &[u8],
) -> rusqlite::Result<()> {
    let sql = "UPDATE documents SET folded = ?2, crc = ?3, snapshot = ?4 WHERE id = ?1 AND folded <= ?2";
    let values = params![document.as_bytes(), seq, crc32fast::hash(snapshot), snapshot];
    connection.prepare_cached(sql)?.execute(values)?;
    let sql = "DELETE FROM updates WHERE document = ?1 AND seq <= ?2";
    connection.prepare_cached(sql)?.execute(params![document.as_bytes(), seq]).map(drop)
}

pub(super) fn rename(connection: &Connection, document: Uuid, path: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE documents SET path = ?2, gone = 0 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![document.as_bytes(), path]).map(drop)
}

pub(super) fn delete(connection: &Connection, document: Uuid) -> rusqlite::Result<()> {
    for sql in ["DELETE FROM documents WHERE id = ?1", "DELETE FROM updates WHERE document = ?1"] {
        connection.prepare_cached(sql)?.execute(params![document.as_bytes()])?;
    }
    Ok(())
}

/// Removes the document where it was found gone before, else remembers that it is.
pub(super) fn gone(connection: &Connection, document: Uuid) -> rusqlite::Result<()> {
    let sql = "SELECT gone FROM documents WHERE id = ?1";
    let mut known = connection.prepare_cached(sql)?;
    let before: Option<bool> = known.query_row(params![document.as_bytes()], |row| row.get(0)).optional()?;
    if before == Some(true) {
        return delete(connection, document);
    }
    let sql = "UPDATE documents SET gone = 1 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![document.as_bytes()]).map(drop)
}

pub(super) fn list(connection: &Connection, after: Uuid, max: u32) -> rusqlite::Result<Vec<(Uuid, String)>> {
    let sql = "SELECT id, path FROM documents WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![after.as_bytes(), max], |row| Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?)))?;
    rows.collect()
}

/// The outer result is the database's, the inner one the records'.
pub(super) fn load(
    connection: &Connection,
    document: Uuid,
) -> rusqlite::Result<Option<Result<Stored, JournalError>>> {
    let sql = "SELECT path, schema, created_at, folded, crc, snapshot FROM documents WHERE id = ?1";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![document.as_bytes()], |row| {
            let about = Row { id: document, path: row.get(0)?, schema: row.get(1)?, created_at: row.get(2)? };
            let (folded, crc, snapshot): (i64, u32, Vec<u8>) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok((about, folded, crc, snapshot))
        })
        .optional()?;
    let Some((row, folded, crc, snapshot)) = found else { return Ok(None) };
    if crc32fast::hash(&snapshot) != crc {
        return Ok(Some(Err(JournalError::Damaged { seq: folded })));
    }
    let sql = "SELECT seq, crc, data FROM updates WHERE document = ?1 AND seq > ?2 ORDER BY seq";
    let mut statement = connection.prepare_cached(sql)?;
    let records = statement.query_map(params![document.as_bytes(), folded], |row| {
        let (seq, crc, data): (i64, u32, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((seq, crc, data))
    })?;
    let mut updates = Vec::new();
    for record in records {
        let (seq, crc, data) = record?;
        if crc32fast::hash(&data) != crc {
            return Ok(Some(Err(JournalError::Damaged { seq })));
        }
        updates.push((seq, Bytes::from(data)));
    }
    Ok(Some(Ok(Stored { row, snapshot: Bytes::from(snapshot), folded, updates })))
}

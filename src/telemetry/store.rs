//! The file: one table, written by one thread, trimmed with every batch.

use super::{BATCH_RECORDS_MAX, Kind, LIST_MAX, Limits, Message, RECORD_BYTES_MAX, Record, TelemetryError};
use crate::clock::Clock;
use crate::id::SessionId;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde_json::Value;
use std::path::Path;
use tokio::sync::mpsc;

/// Oldest records removed at once.
const TRIM_RECORDS: i64 = 1_024;

pub(super) struct Store {
    connection: Connection,
    limits: Limits,
    /// Bytes of all records in the file.
    bytes: i64,
}

const fn code(kind: Kind) -> i64 {
    match kind {
        Kind::Event => 0,
        Kind::Span => 1,
        Kind::Metric => 2,
    }
}

fn session_key(session: SessionId) -> String {
    format!("{}/{}", session.project(), session.uuid())
}

impl Store {
    pub fn open(path: &Path, limits: Limits) -> Result<Self, TelemetryError> {
        let failed = |error: rusqlite::Error| TelemetryError::Open {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let connection = Connection::open(path).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 PRAGMA auto_vacuum = INCREMENTAL;
                 CREATE TABLE IF NOT EXISTS records (
                     id INTEGER PRIMARY KEY,
                     session TEXT NOT NULL,
                     kind INTEGER NOT NULL,
                     at INTEGER NOT NULL,
                     bytes INTEGER NOT NULL,
                     body TEXT NOT NULL
                 );
                 CREATE INDEX IF NOT EXISTS records_by_session ON records (session, kind, id);",
            )
            .map_err(failed)?;
        let bytes = connection
            .query_row("SELECT coalesce(sum(bytes), 0) FROM records", [], |row| row.get(0))
            .map_err(failed)?;
        Ok(Self { connection, limits, bytes })
    }

    /// Writes records and trims, in one transaction: the limit holds at every commit.
    pub fn add(&mut self, records: &[Record], now: DateTime<Utc>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut bytes = self.bytes;
        let now = now.timestamp_millis();
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO records (session, kind, at, bytes, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for record in records {
                let body = record.body.to_string();
                if body.len() > RECORD_BYTES_MAX {
                    continue;
                }
                let length = i64::try_from(body.len()).unwrap_or(i64::MAX);
                insert.execute(params![session_key(record.session), code(record.kind), now, length, body])?;
                bytes += length;
            }
        }
        bytes -= trim(&transaction, bytes, self.limits, now)?;
        transaction.commit()?;
        self.bytes = bytes;
        Ok(())
    }

    pub fn list(&self, session: SessionId, kind: Kind) -> rusqlite::Result<Vec<Value>> {
        let mut select = self.connection.prepare_cached(
            "SELECT body FROM records WHERE session = ?1 AND kind = ?2 ORDER BY id DESC LIMIT ?3",
        )?;
        let rows = select.query_map(
            params![session_key(session), code(kind), i64::try_from(LIST_MAX).unwrap_or(i64::MAX)],
            |row| row.get::<_, String>(0),
        )?;
        let mut bodies = vec![];
        for body in rows {
            bodies.extend(serde_json::from_str(&body?).ok());
        }
        bodies.reverse();
        Ok(bodies)
    }
}

/// Removes the oldest records until both limits hold. Bytes removed.
fn trim(
    transaction: &rusqlite::Transaction<'_>,
    bytes: i64,
    limits: Limits,
    now: i64,
) -> rusqlite::Result<i64> {
    let age = i64::try_from(limits.age.as_millis()).unwrap_or(i64::MAX);
    let oldest_kept = now.saturating_sub(age);
    let most = i64::try_from(limits.bytes).unwrap_or(i64::MAX);
    let mut removed = 0;
    loop {
        let too_much = bytes - removed > most;
        let (count, freed, last): (i64, i64, Option<i64>) = transaction.query_row(
            "SELECT count(*), coalesce(sum(bytes), 0), max(id) FROM
                 (SELECT id, bytes, at FROM records ORDER BY id LIMIT ?1) WHERE ?2 OR at < ?3",
            params![TRIM_RECORDS, too_much, oldest_kept],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let Some(last) = last else { return Ok(removed) };
        transaction.execute(
            "DELETE FROM records WHERE id <= ?1 AND (?2 OR at < ?3)",
            params![last, too_much, oldest_kept],
        )?;
        removed += freed;
        if count < TRIM_RECORDS && bytes - removed <= most {
            return Ok(removed);
        }
    }
}

/// The writer: collects what comes within a moment, writes it, answers what was asked.
pub(super) fn run(mut store: Store, mut inbox: mpsc::Receiver<Message>, clock: &dyn Clock) {
    let mut batch: Vec<Record> = vec![];
    while let Some(message) = inbox.blocking_recv() {
        let mut next = Some(message);
        while let Some(message) = next {
            match message {
                Message::Add(records) => batch.extend(records),
                Message::List { session, kind, answer } => {
                    write(&mut store, &mut batch, clock);
                    let listed = store.list(session, kind);
                    // Who asked may have gone.
                    let _ = answer.send(listed.map_err(|error| TelemetryError::Read(error.to_string())));
                }
                Message::Flush(answer) => {
                    write(&mut store, &mut batch, clock);
                    let _ = answer.send(());
                }
            }
            next = if batch.len() >= BATCH_RECORDS_MAX { None } else { inbox.try_recv().ok() };
        }
        write(&mut store, &mut batch, clock);
    }
}

fn write(store: &mut Store, batch: &mut Vec<Record>, clock: &dyn Clock) {
    if batch.is_empty() {
        return;
    }
    if let Err(error) = store.add(batch, clock.now()) {
        tracing::warn!(%error, records = batch.len(), "telemetry could not be written");
    }
    batch.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use chrono::TimeDelta;
    use serde_json::json;
    use std::time::Duration;
    use uuid::Uuid;

    fn record(n: i64, text: &str) -> Record {
        let session = SessionId::new(ProjectId::PLATFORM, Uuid::from_u128(1));
        Record { session, kind: Kind::Span, body: json!({"n": n, "text": text}) }
    }

    fn second(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(n)
    }

    fn numbers(store: &Store) -> Vec<i64> {
        let session = SessionId::new(ProjectId::PLATFORM, Uuid::from_u128(1));
        store.list(session, Kind::Span).unwrap().iter().map(|body| body["n"].as_i64().unwrap()).collect()
    }

    fn bytes_on_disk(store: &Store) -> i64 {
        store
            .connection
            .query_row("SELECT coalesce(sum(bytes), 0) FROM records", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 20_000, age: Duration::from_hours(1) };
        let mut store = Store::open(&dir.path().join("t.db"), limits).unwrap();
        let text = "x".repeat(100);
        for n in 0..1_000 {
            store.add(&[record(n, &text)], second(n)).unwrap();
            assert!(store.bytes <= 20_000, "{} after {n}", store.bytes);
            assert_eq!(store.bytes, bytes_on_disk(&store));
        }
        assert_eq!(numbers(&store).last(), Some(&999));
        assert!(!numbers(&store).contains(&0));
        let many: Vec<Record> = (1_000..5_000).map(|n| record(n, &text)).collect();
        store.add(&many, second(5_000)).unwrap();
        assert!(store.bytes <= 20_000);
        drop(store);
        let store = Store::open(&dir.path().join("t.db"), limits).unwrap();
        assert_eq!(store.bytes, bytes_on_disk(&store));
    }

    #[test]
    fn what_is_too_old_goes() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 1_000_000, age: Duration::from_secs(10) };
        let mut store = Store::open(&dir.path().join("t.db"), limits).unwrap();
        store.add(&[record(0, "old")], second(0)).unwrap();
        store.add(&[record(5, "young")], second(5)).unwrap();
        store.add(&[record(12, "new")], second(12)).unwrap();
        assert_eq!(numbers(&store), [5, 12]);
    }

    #[test]
    fn a_record_that_is_too_long_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("t.db"), Limits::default()).unwrap();
        store.add(&[record(1, &"x".repeat(RECORD_BYTES_MAX)), record(2, "short")], second(2)).unwrap();
        assert_eq!(numbers(&store), [2]);
    }
}

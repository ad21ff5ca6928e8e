//! The event log: one suite over every engine, then what only one engine can show.

mod conformance;
mod postgres;
mod sqlite;

use async_trait::async_trait;
use chrono::DateTime;
use meshagent::clock::Fixed;
use meshagent::eventlog::memory::MemoryLog;
use meshagent::eventlog::postgres::PostgresLog;
use meshagent::eventlog::sqlite::SqliteLog;
use meshagent::eventlog::{EventLog, Expected, Metadata, NewEvent, StreamWrite};
use meshagent::id::StreamId;
use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::Sqlite;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

/// One kind of log; gives an empty one to each test.
#[async_trait]
trait Engine: Send + Sync {
    /// `None` where the machine has no such database.
    async fn open() -> Option<Self>
    where
        Self: Sized;
    fn log(&self) -> Arc<dyn EventLog>;
}

fn clock() -> Arc<Fixed> {
    Arc::new(Fixed::at(DateTime::from_timestamp(1_800_000_000, 123_456_789).unwrap()))
}

struct Memory(Arc<MemoryLog>);

#[async_trait]
impl Engine for Memory {
    async fn open() -> Option<Self> {
        Some(Self(Arc::new(MemoryLog::new(clock()))))
    }
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.0) as Arc<dyn EventLog>
    }
}

struct OnSqlite {
    log: Arc<SqliteLog>,
    _dir: TempDir,
}

#[async_trait]
impl Engine for OnSqlite {
    async fn open() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let store = Arc::new(Sqlite::open(dir.path()).unwrap());
        Some(Self { log: Arc::new(SqliteLog::open(store, clock()).await.unwrap()), _dir: dir })
    }
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log) as Arc<dyn EventLog>
    }
}

struct OnPostgres(Arc<PostgresLog>);

#[async_trait]
impl Engine for OnPostgres {
    async fn open() -> Option<Self> {
        let store = Arc::new(Postgres::open(&crate::support::postgres::database().await?).await.unwrap());
        Some(Self(Arc::new(PostgresLog::open(store, clock()).await.unwrap())))
    }
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.0) as Arc<dyn EventLog>
    }
}

/// An event whose id is this number.
fn event(id: u128, kind: &str) -> NewEvent {
    let metadata =
        Metadata { actor: "tester".into(), correlation: Some(Uuid::from_u128(7)), ..Metadata::default() };
    let data = format!(r#"{{"n": {id}, "text":"a\"ü\u0000"}}"#);
    NewEvent { event_id: Uuid::from_u128(id), kind: kind.to_owned(), schema_version: 1, data, metadata }
}

/// A write of events with these ids.
fn write(stream: &str, expected: Expected, ids: impl IntoIterator<Item = u128>) -> StreamWrite {
    let stream = StreamId::from_stored(stream.to_owned());
    StreamWrite { stream, expected, events: ids.into_iter().map(|id| event(id, "thing.happened")).collect() }
}

//! The log in the server's SQLite file. The file's one writer gives positions without a gap, in order of commit.

use super::place::{Conflict, place};
use super::query::{self, Dialect};
use super::row::{self, Row};
use super::{
    AppendError, Appended, EventLog, Filter, LogError, NewEvent, PAGE_EVENTS_MAX, Recorded, Report, Snapshot,
    StreamWrite, limits,
};
use crate::clock::Clock;
use crate::id::{Position, StreamId};
use crate::store::StoreError;
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

const COLUMNS: &str =
    "position, event_id, stream, version, type, schema_version, data, metadata, recorded_at, checksum";

/// An [`EventLog`] on a [`Sqlite`] database.
pub struct SqliteLog {
    store: Arc<Sqlite>,
    clock: Arc<dyn Clock>,
    changes: Arc<watch::Sender<Position>>,
}

impl std::fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLog").field("store", &self.store).finish_non_exhaustive()
    }
}

impl SqliteLog {
    /// The log of this database; `recorded_at` comes from the clock.
    pub async fn open(store: Arc<Sqlite>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let head = store.read::<_, LogError, _>(|c| Ok(head(c)?)).await?;
        Ok(Self { store, clock, changes: Arc::new(watch::Sender::new(Position(head.unsigned_abs()))) })
    }

    /// The original records, when this append was made before.
    async fn repeat_of(
        &self,
        known: Vec<(StreamId, NewEvent)>,
    ) -> Result<Option<Vec<Recorded>>, AppendError> {
        let find = move |connection: &Connection| {
            let mut found = Vec::new();
            for (_, event) in &known {
                let sql = format!("SELECT {COLUMNS} FROM events WHERE event_id = ?1");
                found.extend(rows(connection, &sql, params![event.event_id.as_bytes()])?);
            }
            Ok((known, found))
        };
        let (known, found) = self.store.read::<_, LogError, _>(find).await?;
        let events: Vec<_> = known.iter().map(|(stream, event)| (stream, event)).collect();
        super::event::repeat(&events, found)
    }
}

/// Why the writer's job failed.
enum Refused {
    Conflict(Conflict),
    DuplicateId,
    Store(StoreError),
}

impl From<Conflict> for Refused {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, writes: Vec<StreamWrite>) -> Result<Appended, AppendError> {
        limits::check(&writes)?;
        // Serialised here, so that the writer thread need not.
        let events = writes.iter().flat_map(|w| &w.events);
        let metadata = events.map(|e| row::metadata(&e.metadata)).collect::<Result<Vec<_>, _>>()?;
        let (writes, clock, changes) = (Arc::new(writes), Arc::clone(&self.clock), Arc::clone(&self.changes));
        let given = Arc::clone(&writes);
        let job = move |connection: &Connection| write(connection, &given, &metadata, clock.now());
        let committed = move |events: &Vec<Recorded>| {
            if let Some(last) = events.last() {
                changes.send_replace(last.position);
            }
        };
        let refused = match self.store.write_then::<_, Refused, _, _>(job, committed).await {
            Ok(events) => return Ok(Appended { events, repeated: false }),
            Err(Refused::Store(error)) => return Err(error.into()),
            Err(refused) => refused,
        };
        // Either answer may mean that this very append was made before.
        let events =
            writes.iter().flat_map(|w| w.events.iter().map(|e| (w.stream.clone(), e.clone()))).collect();
        match (self.repeat_of(events).await?, refused) {
            (Some(events), _) => Ok(Appended { events, repeated: true }),
            (None, Refused::Conflict(conflict)) => Err(conflict.into()),
            (None, _) => Err(AppendError::Unavailable {
                reason: "an event id was refused but is not there; retry".into(),
            }),
        }
    }

    async fn restore(&self, events: Vec<Recorded>) -> Result<(), AppendError> {
        let changes = Arc::clone(&self.changes);
        let job = move |connection: &Connection| restore(connection, &events);
        let committed = move |head: &Position| {
            changes.send_replace(*head);
        };
        self.store.write_then::<_, AppendError, _, _>(job, committed).await.map(drop)
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let (stream, after, limit) = (stream.clone(), row::signed(after), page(limit));
        let read = move |connection: &Connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM events WHERE stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3"
            );
            rows(connection, &sql, params![stream.as_str(), after, limit])
        };
        self.store.read(read).await
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let query = query::select(filter, COLUMNS, Dialect::Sqlite);
        let (after, limit) = (row::signed(after.0), page(limit));
        let read = move |connection: &Connection| {
            let mut parameters: Vec<&dyn rusqlite::ToSql> = vec![&after, &limit];
            parameters.extend(query.texts.iter().map(|text| text as &dyn rusqlite::ToSql));
            rows(connection, &query.sql, parameters.as_slice())
        };
        self.store.read(read).await
    }

    async fn head(&self) -> Result<Position, LogError> {
        // Nobody else writes the file, and every commit of ours is told here.
        Ok(*self.changes.borrow())
    }

    fn changes(&self) -> watch::Receiver<Position> {
        self.changes.subscribe()
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), LogError> {
        limits::check_snapshot(&snapshot)?;
        let save = move |connection: &Connection| {
            let checksum = row::snapshot_checksum(&snapshot);
            let sql = "INSERT OR REPLACE INTO snapshots (name, position, format, data, checksum) VALUES (?1,?2,?3,?4,?5)";
            let position = row::signed(snapshot.position.0);
            let values = params![snapshot.name, position, snapshot.format, snapshot.data, checksum];
            connection.prepare_cached(sql)?.execute(values)?;
            Ok(())
        };
        self.store.write(save).await
    }

    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        let name = name.to_owned();
        let load = move |connection: &Connection| {
            let sql = "SELECT position, format, data, checksum FROM snapshots WHERE name = ?1";
            let found = connection.prepare_cached(sql)?.query_row([&name], |row| {
                let position = Position(row.get::<_, i64>(0)?.unsigned_abs());
                let snapshot =
                    Snapshot { name: name.clone(), position, format: row.get(1)?, data: row.get(2)? };
                Ok((snapshot, row.get::<_, u32>(3)?))
            });
            Ok(found.optional()?)
        };
        let found = self.store.read::<_, LogError, _>(load).await?;
        Ok(found.filter(|(snapshot, checksum)| row::snapshot_checksum(snapshot) == *checksum).map(|(s, _)| s))
    }

    async fn delete_snapshot(&self, name: &str) -> Result<(), LogError> {
        let name = name.to_owned();
        let delete = move |connection: &Connection| {
            connection.prepare_cached("DELETE FROM snapshots WHERE name = ?1")?.execute([&name])?;
            Ok(())
        };
        self.store.write(delete).await
    }

    async fn verify(&self) -> Result<Report, LogError> {
        verify::run(&self.store).await
    }
}

/// On the writer thread, inside a savepoint.
fn write(
    connection: &Connection,
    writes: &[StreamWrite],
    metadata: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<Recorded>, Refused> {
    let head = Position(head(connection)?.unsigned_abs());
    let events = place(writes, head, now, |stream| version(connection, stream))?;
    for (event, metadata) in events.iter().zip(metadata) {
        row::encoded(event, metadata, |row| insert(connection, row))?;
    }
    Ok(events)
}

fn restore(connection: &Connection, events: &[Recorded]) -> Result<Position, AppendError> {
    let head = Position(head(connection).map_err(StoreError::from)?.unsigned_abs());
    limits::check_next(events, head)?;
    for event in events {
        let metadata = row::metadata(&event.metadata)?;
        row::encoded(event, &metadata, |row| insert(connection, row)).map_err(|refused| match refused {
            Refused::Store(error) => error.into(),
            Refused::DuplicateId => AppendError::IdReused { event_id: event.event_id },
            Refused::Conflict(conflict) => conflict.into(),
        })?;
    }
    Ok(Position(head.0 + events.len() as u64))
}

fn insert(connection: &Connection, row: &Row<'_>) -> Result<(), Refused> {
    const SQL: &str = "INSERT INTO events (position, event_id, stream, version, type, schema_version, data, metadata, \
                       recorded_at, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = params![
        row.position,
        row.event_id.as_bytes(),
        row.stream,
        row.version,
        row.kind,
        row.schema_version,
        row.data,
        row.metadata,
        row.recorded_at_us,
        row.checksum(),
    ];
    match connection.prepare_cached(SQL)?.execute(values) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate_id(&error) => Err(Refused::DuplicateId),
        Err(error) => Err(error.into()),
    }
}

fn is_duplicate_id(error: &rusqlite::Error) -> bool {
    let unique = rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
    error.sqlite_error().is_some_and(|cause| cause.extended_code == unique)
        && error.to_string().contains("event_id")
}

fn version(connection: &Connection, stream: &StreamId) -> Result<u64, Refused> {
    let sql = "SELECT version FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1";
    let version = connection.prepare_cached(sql)?.query_row([stream.as_str()], |row| row.get::<_, i64>(0));
    Ok(version.optional()?.unwrap_or_default().unsigned_abs())
}

fn head(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT position FROM events ORDER BY position DESC LIMIT 1";
    let head = connection.prepare_cached(sql)?.query_row((), |row| row.get(0)).optional()?;
    Ok(head.unwrap_or_default())
}

fn page(limit: usize) -> i64 {
    row::signed(limit.min(PAGE_EVENTS_MAX) as u64)
}

fn rows(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Recorded>, LogError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(decode(row)?);
    }
    Ok(events)
}

/// A row of [`COLUMNS`] as an event.
fn decode(row: &rusqlite::Row<'_>) -> Result<Recorded, LogError> {
    let position: i64 = row.get(0)?;
    let damaged = |e: rusqlite::types::FromSqlError| LogError::DamagedEvent {
        position: Position(position.unsigned_abs()),
        reason: e.to_string(),
    };
    let text = |column| row.get_ref(column).map_err(LogError::from)?.as_str().map_err(damaged);
    let number = |column| row.get_ref(column).map_err(LogError::from)?.as_i64().map_err(damaged);
    let event_id = row.get_ref(1)?.as_blob().map_err(damaged)?;
    let stored = Row {
        position,
        event_id: Uuid::from_slice(event_id).unwrap_or_default(),
        stream: text(2)?,
        version: number(3)?,
        kind: text(4)?,
        schema_version: number(5)?,
        data: text(6)?,
        metadata: text(7)?,
        recorded_at_us: number(8)?,
    };
    stored.decode(number(9)?)
}

mod verify {
    //! The whole file: SQLite's own check of its trees, then every event.

    use super::{
        COLUMNS, Connection, LogError, PAGE_EVENTS_MAX, Position, Recorded, Report, Sqlite, decode, params,
    };
    use crate::eventlog::verify::Check;

    type Read = (i64, Result<Recorded, LogError>);

    pub(super) async fn run(store: &Sqlite) -> Result<Report, LogError> {
        let mut check = Check::default();
        for problem in store.read::<_, LogError, _>(|c| Ok(integrity(c))).await? {
            check.problem(problem);
        }
        let mut after = 0;
        loop {
            let page = match store.read(move |c| page(c, after)).await {
                Ok(page) => page,
                Err(error) => {
                    check.problem(format!("reading on after event {after} failed: {error}"));
                    return Ok(check.finish());
                }
            };
            let Some((last, _)) = page.last() else { return Ok(check.finish()) };
            after = *last;
            for (position, event) in page {
                match event {
                    Ok(event) => check.event(&event),
                    Err(error) => check.unreadable(Position(position.unsigned_abs()), &error.to_string()),
                }
            }
        }
    }

    fn integrity(connection: &Connection) -> Vec<String> {
        let check = || -> rusqlite::Result<Vec<String>> {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            let lines = statement.query_map((), |row| row.get::<_, String>(0))?;
            lines.filter(|line| line.as_ref().is_ok_and(|text| text != "ok") || line.is_err()).collect()
        };
        check().unwrap_or_else(|error| vec![format!("the database cannot be checked: {error}")])
    }

    fn page(connection: &Connection, after: i64) -> Result<Vec<Read>, LogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT {PAGE_EVENTS_MAX}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push((row.get(0)?, decode(row)));
        }
        Ok(page)
    }
}

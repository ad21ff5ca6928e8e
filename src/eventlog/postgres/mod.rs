//! The log in Postgres, for several servers on one database. Appends are made under a lock that is held to the commit,
//! so that positions have no gaps and their order is the order of commits; `NOTIFY` only wakes.

mod append;
mod appender;

use super::query::{self, Dialect};
use super::row::{self, Row};
use super::verify::Check;
use super::{
    AppendError, Appended, EventLog, Filter, LogError, PAGE_EVENTS_MAX, Recorded, Report, Snapshot,
    StreamWrite, limits,
};
use crate::clock::Clock;
use crate::id::{Position, StreamId};
use crate::store::postgres::{Notice, Postgres};
use append::{Failure, Session};
use appender::Appender;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const COLUMNS: &str = "position, event_id, stream, version, type, schema_version, data::text, metadata::text, \
                       recorded_at, checksum";
/// Where appends are told; the payload is the position of the last event.
const CHANNEL: &str = "meshagent_log";

/// An [`EventLog`] on a [`Postgres`] database.
pub struct PostgresLog {
    store: Arc<Postgres>,
    appender: Appender,
    changes: Arc<watch::Sender<Position>>,
    follower: AbortHandle,
}

impl std::fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLog").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Drop for PostgresLog {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl PostgresLog {
    /// The log of this database; `recorded_at` comes from the clock.
    pub async fn open(store: Arc<Postgres>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let notices = store.notices();
        let head = head(&store).await?;
        let changes = Arc::new(watch::Sender::new(head));
        let appender = Appender::start(Arc::clone(&store), clock, Arc::clone(&changes));
        let follower = tokio::spawn(follow(Arc::clone(&store), notices, Arc::clone(&changes))).abort_handle();
        Ok(Self { store, appender, changes, follower })
    }

    async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Recorded>, LogError> {
        let client = self.store.client().await?;
        let failed = |e| self.store.error(&e);
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        let rows = client.query(&statement, parameters).await.map_err(failed)?;
        rows.iter().map(decode).collect()
    }

    async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), LogError> {
        let client = self.store.client().await?;
        let done = client.execute(sql, parameters).await;
        done.map(drop).map_err(|e| self.store.error(&e).into())
    }
}

/// Takes over what other servers say, until aborted.
async fn follow(
    store: Arc<Postgres>,
    mut notices: broadcast::Receiver<Notice>,
    changes: Arc<watch::Sender<Position>>,
) {
    loop {
        let said = match notices.recv().await {
            Ok(Notice::Said { channel, payload }) if channel == CHANNEL => payload.parse().ok().map(Position),
            Ok(Notice::Said { .. }) => continue,
            Ok(Notice::Resumed) | Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let position = match said {
            Some(position) => Ok(position),
            None => head(&store).await,
        };
        match position {
            Ok(position) => advance(&changes, position),
            Err(error) => tracing::warn!(%error, "cannot see how far the log is; the next notice will tell"),
        }
    }
}

/// Positions only grow; who is told twice is not woken twice.
fn advance(changes: &watch::Sender<Position>, to: Position) {
    changes.send_if_modified(|position| {
        let further = to > *position;
        *position = to.max(*position);
        further
    });
}

async fn head(store: &Postgres) -> Result<Position, LogError> {
    let client = store.client().await?;
    let sql = "SELECT coalesce(max(position), 0) FROM events";
    let failed = |e| store.error(&e);
    let statement = client.prepare_cached(sql).await.map_err(failed)?;
    let row = client.query_one(&statement, &[]).await.map_err(failed)?;
    Ok(Position(row.get::<_, i64>(0).unsigned_abs()))
}

#[async_trait]
impl EventLog for PostgresLog {
    async fn append(&self, writes: Vec<StreamWrite>) -> Result<Appended, AppendError> {
        limits::check(&writes)?;
        self.appender.append(writes).await
    }

    async fn restore(&self, events: Vec<Recorded>) -> Result<(), AppendError> {
        let mut session = Session::open(&self.store).await?;
        let restored = session.restore(events).await;
        if restored.is_err() {
            session.discard();
        }
        let head = restored.map_err(|failure| match failure {
            Failure::Postgres(error) => self.store.error(&error).into(),
            Failure::Append(error) => error,
            Failure::Log(error) => error.into(),
        })?;
        advance(&self.changes, head);
        Ok(())
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE stream = $1 AND version > $2 ORDER BY version LIMIT $3"
        );
        self.rows(&sql, &[&stream.as_str(), &row::signed(after), &page(limit)]).await
    }

    async fn read(&self, after: Position, filter: &Filter, limit: usize) -> Result<Vec<Recorded>, LogError> {
        let query = query::select(filter, COLUMNS, Dialect::Postgres);
        let (after, limit) = (row::signed(after.0), page(limit));
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&after, &limit];
        parameters.extend(query.texts.iter().map(|text| text as &(dyn ToSql + Sync)));
        self.rows(&query.sql, &parameters).await
    }

    async fn head(&self) -> Result<Position, LogError> {
        head(&self.store).await
    }

    fn changes(&self) -> watch::Receiver<Position> {
        self.changes.subscribe()
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), LogError> {
        limits::check_snapshot(&snapshot)?;
        let sql = "INSERT INTO snapshots (name, position, format, data, checksum) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (name) DO UPDATE SET position = $2, format = $3, data = $4, checksum = $5";
        let (position, format) = (row::signed(snapshot.position.0), i64::from(snapshot.format));
        let checksum = i64::from(row::snapshot_checksum(&snapshot));
        self.execute(sql, &[&snapshot.name, &position, &format, &snapshot.data, &checksum]).await
    }

    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        let client = self.store.client().await?;
        let sql = "SELECT position, format, data, checksum FROM snapshots WHERE name = $1";
        let found = client.query_opt(sql, &[&name]).await.map_err(|e| self.store.error(&e))?;
        let Some(row) = found else { return Ok(None) };
        let position = Position(row.get::<_, i64>(0).unsigned_abs());
        let Ok(format) = u32::try_from(row.get::<_, i64>(1)) else { return Ok(None) };
        let snapshot = Snapshot { name: name.to_owned(), position, format, data: row.get(2) };
        let sound = i64::from(row::snapshot_checksum(&snapshot)) == row.get::<_, i64>(3);
        Ok(sound.then_some(snapshot))
    }

    async fn delete_snapshot(&self, name: &str) -> Result<(), LogError> {
        self.execute("DELETE FROM snapshots WHERE name = $1", &[&name]).await
    }

    async fn verify(&self) -> Result<Report, LogError> {
        let mut check = Check::default();
        let client = self.store.client().await?;
        let sql = format!("SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2");
        let statement = client.prepare_cached(&sql).await.map_err(|e| self.store.error(&e))?;
        let (mut after, limit) = (i64::MIN, page(PAGE_EVENTS_MAX));
        loop {
            let rows = match client.query(&statement, &[&after, &limit]).await {
                Ok(rows) => rows,
                Err(error) => {
                    check.problem(format!(
                        "reading on after event {after} failed: {}",
                        self.store.error(&error)
                    ));
                    return Ok(check.finish());
                }
            };
            let Some(last) = rows.last() else { return Ok(check.finish()) };
            after = last.get(0);
            for row in &rows {
                match decode(row) {
                    Ok(event) => check.event(&event),
                    Err(error) => {
                        check.unreadable(Position(row.get::<_, i64>(0).unsigned_abs()), &error.to_string());
                    }
                }
            }
        }
    }
}

fn page(limit: usize) -> i64 {
    row::signed(limit.min(PAGE_EVENTS_MAX) as u64)
}

/// A row of [`COLUMNS`] as an event.
fn decode(row: &tokio_postgres::Row) -> Result<Recorded, LogError> {
    let recorded_at: DateTime<Utc> = row.get(8);
    let stored = Row {
        position: row.get(0),
        event_id: row.get::<_, Uuid>(1),
        stream: row.get(2),
        version: row.get(3),
        kind: row.get(4),
        schema_version: i64::from(row.get::<_, i32>(5)),
        data: row.get(6),
        metadata: row.get(7),
        recorded_at_us: recorded_at.timestamp_micros(),
    };
    stored.decode(row.get(9))
}

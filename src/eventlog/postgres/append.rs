//! One commit of many appends.
//!
//! Where the streams are known from earlier commits of this connection, everything goes out in one round trip: the
//! positions that follow the last known one are taken in the hope that no other server wrote since. If one did, the
//! first position is taken already, Postgres refuses the statement, and the append is made by looking first.

use super::super::event::repeat;
use super::super::place::{Conflict, place};
use super::super::{AppendError, Appended, LogError, NewEvent, Recorded, limits, row};
use super::appender::Pending;
use super::{CHANNEL, COLUMNS, decode};
use crate::id::{Position, StreamId};
use crate::store::postgres::Postgres;
use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use futures_util::future::{join, join3, join4};
use std::collections::HashMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};
use uuid::Uuid;

/// Held from the first statement of an append to its commit. The number is arbitrary, and ours.
const APPEND_LOCK: i64 = 0x6d65_7368_0002;
/// Streams whose version is remembered; when there are more, all are forgotten.
const STREAMS_KNOWN_MAX: usize = 20_000;

pub(super) type Outcome = Result<Appended, AppendError>;

pub(super) enum Failure {
    Postgres(Error),
    Log(LogError),
    Append(AppendError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Postgres(error)
    }
}

/// A connection, its statements, and what is known of the log while nobody else writes.
pub(super) struct Session {
    client: Object,
    begin: String,
    insert: Statement,
    head: Statement,
    versions: Statement,
    originals: Statement,
    known: Known,
}

#[derive(Default)]
struct Known {
    /// The last event, when it is known at all.
    head: Option<Position>,
    versions: HashMap<StreamId, u64>,
}

impl Known {
    fn forget(&mut self) {
        *self = Self::default();
    }

    fn remember(&mut self, events: &[Recorded]) {
        for event in events {
            self.versions.insert(event.stream.clone(), event.version);
        }
        if let Some(last) = events.last() {
            self.head = Some(last.position);
        }
    }

    /// What becomes of an append, when all of its streams and all events with its ids are known.
    fn decide(&self, pending: &Pending, originals: &HashMap<Uuid, Recorded>, now: DateTime<Utc>) -> Outcome {
        let events: Vec<(&StreamId, &NewEvent)> =
            pending.writes.iter().flat_map(|w| w.events.iter().map(move |e| (&w.stream, e))).collect();
        let recorded =
            events.iter().filter_map(|(_, event)| originals.get(&event.event_id).cloned()).collect();
        if let Some(events) = repeat(&events, recorded)? {
            return Ok(Appended { events, repeated: true });
        }
        let version_of =
            |stream: &StreamId| Ok::<_, AppendError>(self.versions.get(stream).copied().unwrap_or_default());
        let events = place(&pending.writes, self.head.unwrap_or_default(), now, version_of)?;
        Ok(Appended { events, repeated: false })
    }
}

impl Session {
    pub(super) async fn open(store: &Postgres) -> Result<Self, LogError> {
        let client = store.client().await?;
        let prepared = Self::prepare(client).await;
        prepared.map_err(|e| store.error(&e).into())
    }

    async fn prepare(client: Object) -> Result<Self, Error> {
        let insert = "INSERT INTO events (position, event_id, stream, version, type, schema_version, data, metadata, \
                      recorded_at, checksum) \
                      SELECT p, i, s, v, t, w, d::json, m::json, $9, c FROM unnest($1::bigint[], $2::uuid[], \
                      $3::text[], $4::bigint[], $5::text[], $6::int[], $7::text[], $8::text[], $10::bigint[]) \
                      AS e(p, i, s, v, t, w, d, m, c)";
        let versions = "SELECT s, (SELECT version FROM events WHERE stream = s ORDER BY version DESC LIMIT 1) \
                        FROM unnest($1::text[]) AS s";
        let originals = format!("SELECT {COLUMNS} FROM events WHERE event_id = ANY($1)");
        Ok(Self {
            begin: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({APPEND_LOCK})"
            ),
            insert: client.prepare(insert).await?,
            head: client.prepare("SELECT coalesce(max(position), 0) FROM events").await?,
            versions: client.prepare(versions).await?,
            originals: client.prepare(&originals).await?,
            client,
            known: Known::default(),
        })
    }

    /// Commits the appends that can be, and says how each came out. After an error nothing is known of the
    /// transaction: roll back, or discard the session.
    pub(super) async fn commit(
        &mut self,
        batch: &[Pending],
        now: DateTime<Utc>,
        again: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        if self.known.versions.len() > STREAMS_KNOWN_MAX {
            self.known.forget();
        }
        if let Some(events) = self.guess(batch, now) {
            let metadata: Vec<_> = batch.iter().flat_map(|p| p.metadata.iter().map(String::as_str)).collect();
            let rows = events.iter().flatten().zip(metadata).collect();
            let (begun, inserted, committed) =
                join3(self.client.batch_execute(&self.begin), self.insert(rows), self.finish(&events)).await;
            match begun.and(inserted).and(committed) {
                Ok(()) => return Ok(self.committed(events)),
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    self.client.batch_execute("ROLLBACK").await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.look_and_commit(batch, now, again).await
    }

    /// Places for all appends, when all that matters is known and every expectation is met.
    fn guess(&self, batch: &[Pending], now: DateTime<Utc>) -> Option<Vec<Vec<Recorded>>> {
        let mut head = self.known.head?;
        let mut versions: HashMap<StreamId, u64> = HashMap::new();
        let mut placed = Vec::with_capacity(batch.len());
        for pending in batch {
            let version_of = |stream: &StreamId| {
                let version = versions.get(stream).or_else(|| self.known.versions.get(stream));
                version.copied().ok_or(Unsure)
            };
            let events = place(&pending.writes, head, now, version_of).ok()?;
            head = Position(head.0 + events.len() as u64);
            versions.extend(events.iter().map(|event| (event.stream.clone(), event.version)));
            placed.push(events);
        }
        (head > self.known.head?).then_some(placed)
    }

    fn committed(&mut self, placed: Vec<Vec<Recorded>>) -> Vec<Outcome> {
        for events in &placed {
            self.known.remember(events);
        }
        placed.into_iter().map(|events| Ok(Appended { events, repeated: false })).collect()
    }

    /// Under the lock: reads what is there, decides each append, inserts what is new.
    async fn look_and_commit(
        &mut self,
        batch: &[Pending],
        now: DateTime<Utc>,
        again: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut originals = self.look(batch).await?;
        let (mut outcomes, mut new, mut metadata) = (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        for pending in batch {
            let outcome = self.known.decide(pending, &originals, now);
            if let Ok(Appended { events, repeated: false }) = &outcome {
                self.known.remember(events);
                originals.extend(events.iter().map(|event| (event.event_id, event.clone())));
                metadata.extend(pending.metadata.iter().map(String::as_str));
                new.push(events.clone());
            }
            // What an earlier attempt at this very batch recorded is no repetition to the caller.
            outcomes.push(outcome.map(|a| Appended { repeated: a.repeated && !again, events: a.events }));
        }
        if metadata.is_empty() {
            self.client.batch_execute("ROLLBACK").await?;
            return Ok(outcomes);
        }
        let rows = new.iter().flatten().zip(metadata).collect();
        let (inserted, committed) = join(self.insert(rows), self.finish(&new)).await;
        inserted.and(committed)?;
        Ok(outcomes)
    }

    /// Begins, takes the lock and reads the head, the versions of the batch's streams, and the events that carry one
    /// of its ids already.
    async fn look(&mut self, batch: &[Pending]) -> Result<HashMap<Uuid, Recorded>, Failure> {
        let writes = || batch.iter().flat_map(|pending| &pending.writes);
        let streams: Vec<&str> = writes().map(|write| write.stream.as_str()).collect();
        let ids: Vec<Uuid> =
            writes().flat_map(|write| write.events.iter().map(|event| event.event_id)).collect();
        let (begun, head, versions, originals) = join4(
            self.client.batch_execute(&self.begin),
            self.client.query_one(&self.head, &[]),
            self.client.query(&self.versions, &[&streams]),
            self.client.query(&self.originals, &[&ids]),
        )
        .await;
        begun?;
        self.known.forget();
        self.known.head = Some(Position(head?.get::<_, i64>(0).unsigned_abs()));
        for row in versions? {
            let version = row.get::<_, Option<i64>>(1).unwrap_or_default().unsigned_abs();
            self.known.versions.insert(StreamId::from_stored(row.get(0)), version);
        }
        let originals =
            originals?.iter().map(|row| decode(row).map(|event| (event.event_id, event))).collect();
        match originals {
            Ok(originals) => Ok(originals),
            Err(error) => {
                self.client.batch_execute("ROLLBACK").await?;
                Err(Failure::Log(error))
            }
        }
    }

    /// Puts back recorded events behind the head. Returns the new head.
    pub(super) async fn restore(&mut self, events: Vec<Recorded>) -> Result<Position, Failure> {
        self.look(&[]).await?;
        let head = self.known.head.unwrap_or_default();
        let metadata =
            events.iter().map(|event| row::metadata(&event.metadata)).collect::<Result<Vec<_>, _>>();
        let metadata = limits::check_next(&events, head).and(metadata).map_err(Failure::Append)?;
        // One insertion has one time; what was recorded together has the same.
        let all: Vec<_> = events.iter().zip(metadata.iter().map(String::as_str)).collect();
        for together in all.chunk_by(|(a, _), (b, _)| a.recorded_at == b.recorded_at) {
            self.insert(together.to_vec()).await?;
        }
        let head = Position(head.0 + events.len() as u64);
        self.finish(&[events]).await?;
        Ok(head)
    }

    async fn insert(&self, rows: Vec<(&Recorded, &str)>) -> Result<(), Error> {
        let Some((first, _)) = rows.first() else { return Ok(()) };
        let recorded_at = first.recorded_at;
        let mut columns = Columns::default();
        for (event, metadata) in rows {
            row::encoded(event, metadata, |row| columns.checksums.push(i64::from(row.checksum())));
            columns.positions.push(row::signed(event.position.0));
            columns.ids.push(event.event_id);
            columns.streams.push(event.stream.as_str());
            columns.versions.push(row::signed(event.version));
            columns.kinds.push(&event.kind);
            columns.schema_versions.push(i32::from(event.schema_version));
            columns.data.push(&event.data);
            columns.metadata.push(metadata);
        }
        let Columns { positions, ids, streams, versions, kinds, schema_versions, data, metadata, checksums } =
            columns;
        let values: [&(dyn ToSql + Sync); 10] = [
            &positions,
            &ids,
            &streams,
            &versions,
            &kinds,
            &schema_versions,
            &data,
            &metadata,
            &recorded_at,
            &checksums,
        ];
        self.client.execute(&self.insert, &values).await.map(drop)
    }

    /// Tells the others and commits; does neither when the insertion before it failed.
    async fn finish(&self, placed: &[Vec<Recorded>]) -> Result<(), Error> {
        let head = placed.iter().flatten().last().map_or(0, |event| event.position.0);
        self.client.batch_execute(&format!("SELECT pg_notify('{CHANNEL}', '{head}'); COMMIT")).await
    }

    /// After a refused statement. Whether the session can go on.
    pub(super) async fn roll_back(&mut self) -> bool {
        self.known.forget();
        self.client.batch_execute("ROLLBACK").await.is_ok()
    }

    /// Closes the connection, so that nobody else gets it in the middle of a transaction.
    pub(super) fn discard(self) {
        drop(Object::take(self.client));
    }
}

/// The values of one insertion.
#[derive(Default)]
struct Columns<'a> {
    positions: Vec<i64>,
    ids: Vec<Uuid>,
    streams: Vec<&'a str>,
    versions: Vec<i64>,
    kinds: Vec<&'a str>,
    schema_versions: Vec<i32>,
    data: Vec<&'a str>,
    metadata: Vec<&'a str>,
    checksums: Vec<i64>,
}

/// A stream's version is not known without looking, or the expectation is not met by what is known.
struct Unsure;

impl From<Conflict> for Unsure {
    fn from(_: Conflict) -> Self {
        Self
    }
}

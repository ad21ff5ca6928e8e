//! One commit of many appends.
//!
//! Where the streams are known from earlier commits of this connection, an append is *launched*: everything goes out
//! in one round trip, and the next may be launched behind it. The places taken are a guess that nobody else has written
//! since; the insertion itself checks the guess, under the lock, by the id of the last event, and inserts nothing when
//! it was wrong. Then, and whenever something is not known, the append is made by looking first.

use super::super::event::repeat;
use super::super::place::{Conflict, place};
use super::super::{AppendError, Appended, LogError, NewEvent, Recorded, limits, row};
use super::appender::Pending;
use super::{COLUMNS, decode};
use crate::id::{Position, StreamId};
use crate::store::postgres::Postgres;
use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use futures_util::future::{MaybeDone, join, join3, join4, maybe_done};
use futures_util::poll;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};
use uuid::Uuid;

/// Held from the first statement of an append to its commit. The number is arbitrary, and ours.
const APPEND_LOCK: i64 = 0x6d65_7368_0002;
/// Tells the others how far the log is now, and commits; does neither when a statement before it failed.
const FINISH: &str = "SELECT pg_notify('meshagent_log', max(position)::text) FROM events; COMMIT";
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
    client: Arc<Object>,
    begin: Arc<str>,
    insert: Statement,
    head: Statement,
    versions: Statement,
    originals: Statement,
    known: Known,
}

#[derive(Default)]
struct Known {
    /// The last event, when it is known at all; `None` in an empty log, too.
    head: Option<Head>,
    versions: HashMap<StreamId, u64>,
}

#[derive(Clone, Copy)]
struct Head {
    position: Position,
    event_id: Uuid,
}

impl Head {
    fn of(event: &Recorded) -> Self {
        Self { position: event.position, event_id: event.event_id }
    }
}

impl Known {
    fn position(&self) -> Position {
        self.head.map_or(Position(0), |head| head.position)
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn remember(&mut self, events: &[Recorded]) {
        for event in events {
            self.versions.insert(event.stream.clone(), event.version);
        }
        if let Some(last) = events.last() {
            self.head = Some(Head::of(last));
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
        let events = place(&pending.writes, self.position(), now, version_of)?;
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
                      AS e(p, i, s, v, t, w, d, m, c) \
                      WHERE $11::uuid IS NOT DISTINCT FROM (SELECT event_id FROM events ORDER BY position DESC LIMIT 1)";
        let versions = "SELECT s, (SELECT version FROM events WHERE stream = s ORDER BY version DESC LIMIT 1) \
                        FROM unnest($1::text[]) AS s";
        let originals = format!("SELECT {COLUMNS} FROM events WHERE event_id = ANY($1)");
        Ok(Self {
            begin: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({APPEND_LOCK})"
            )
            .into(),
            insert: client.prepare(insert).await?,
            head: client
                .prepare("SELECT position, event_id FROM events ORDER BY position DESC LIMIT 1")
                .await?,
            versions: client.prepare(versions).await?,
            originals: client.prepare(&originals).await?,
            client: Arc::new(client),
            known: Known::default(),
        })
    }

    /// Sends the appends on their way, when all that matters is known; gives them back when it is not.
    /// Those of one session land in the order of their launch, and when one fails, all behind it have failed.
    pub(super) async fn launch(
        &mut self,
        batch: Vec<Pending>,
        now: DateTime<Utc>,
    ) -> Result<Flight, Vec<Pending>> {
        if self.known.versions.len() > STREAMS_KNOWN_MAX {
            self.known.forget();
        }
        let (Some(placed), Some(head)) = (self.guess(&batch, now), self.known.head) else {
            return Err(batch);
        };
        for events in &placed {
            self.known.remember(events);
        }
        let (client, begin, insert) =
            (Arc::clone(&self.client), Arc::clone(&self.begin), self.insert.clone());
        let mut flight: Flight = Box::pin(maybe_done(Box::pin(async move {
            let metadata = batch.iter().flat_map(|pending| pending.metadata.iter().map(String::as_str));
            let rows: Vec<_> = placed.iter().flatten().zip(metadata).collect();
            let values = Columns::of(&rows);
            let (begun, inserted, committed) = join3(
                client.batch_execute(&begin),
                values.insert(&client, &insert, Some(head.event_id)),
                client.batch_execute(FINISH),
            )
            .await;
            let inserted =
                begun.and(inserted).and_then(|count| committed.map(|()| count == rows.len() as u64));
            Landed { batch, placed, inserted }
        })));
        // The first look at it sends its statements; the next flight's go out behind them.
        let _ = poll!(flight.as_mut());
        Ok(flight)
    }

    /// Places for all appends, when all that matters is known and every expectation is met.
    fn guess(&self, batch: &[Pending], now: DateTime<Utc>) -> Option<Vec<Vec<Recorded>>> {
        let mut head = self.known.head?.position;
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
        (head > self.known.position()).then_some(placed)
    }

    /// Under the lock: reads what is there, decides each append, inserts what is new, and says how each came out.
    /// After an error nothing is known of the transaction: roll back, or discard the session.
    ///
    /// `again`: an earlier attempt may have been recorded, and then is ours.
    pub(super) async fn commit(
        &mut self,
        batch: &[Pending],
        now: DateTime<Utc>,
        again: bool,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut originals = self.look(batch).await?;
        let head = self.known.head;
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
        let rows: Vec<_> = new.iter().flatten().zip(metadata).collect();
        let values = Columns::of(&rows);
        let insert = values.insert(&self.client, &self.insert, head.map(|head| head.event_id));
        let (inserted, committed) = join(insert, self.client.batch_execute(FINISH)).await;
        let inserted = inserted?;
        committed?;
        all_inserted(inserted, rows.len())?;
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
            self.client.query_opt(&self.head, &[]),
            self.client.query(&self.versions, &[&streams]),
            self.client.query(&self.originals, &[&ids]),
        )
        .await;
        begun?;
        self.known.forget();
        self.known.head = head?.map(|row| Head {
            position: Position(row.get::<_, i64>(0).unsigned_abs()),
            event_id: row.get(1),
        });
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
        let mut head = self.known.head;
        let metadata =
            events.iter().map(|event| row::metadata(&event.metadata)).collect::<Result<Vec<_>, _>>();
        let metadata =
            limits::check_next(&events, self.known.position()).and(metadata).map_err(Failure::Append)?;
        // One insertion has one time; what was recorded together has the same.
        let all: Vec<_> = events.iter().zip(metadata.iter().map(String::as_str)).collect();
        for together in all.chunk_by(|(a, _), (b, _)| a.recorded_at == b.recorded_at) {
            let values = Columns::of(together);
            let inserted = values.insert(&self.client, &self.insert, head.map(|head| head.event_id)).await?;
            all_inserted(inserted, together.len())?;
            head = together.last().map(|(event, _)| Head::of(event));
        }
        self.client.batch_execute(FINISH).await?;
        Ok(head.map_or(Position(0), |head| head.position))
    }

    /// After a refused statement. Whether the session can go on.
    pub(super) async fn roll_back(&mut self) -> bool {
        self.known.forget();
        self.client.batch_execute("ROLLBACK").await.is_ok()
    }

    /// Closes the connection, so that nobody else gets it in the middle of a transaction.
    pub(super) fn discard(self) {
        if let Some(client) = Arc::into_inner(self.client) {
            drop(Object::take(client));
        }
    }
}

/// Under the lock nobody else can have written; if somebody does without it, nothing was inserted.
fn all_inserted(inserted: u64, wanted: usize) -> Result<(), Failure> {
    if inserted == wanted as u64 {
        return Ok(());
    }
    let reason = "something else writes to the table of events; find and stop it, then retry".to_owned();
    Err(Failure::Log(LogError::Unavailable { reason }))
}

/// Appends on their way.
pub(super) type Flight = Pin<Box<MaybeDone<Pin<Box<dyn Future<Output = Landed> + Send>>>>>;

/// Appends that were launched, and how that ended.
pub(super) struct Landed {
    pub batch: Vec<Pending>,
    pub placed: Vec<Vec<Recorded>>,
    /// Whether the guess was right.
    pub inserted: Result<bool, Error>,
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
    recorded_at: DateTime<Utc>,
    checksums: Vec<i64>,
}

impl<'a> Columns<'a> {
    /// Events of one time, each with its metadata.
    fn of(rows: &[(&'a Recorded, &'a str)]) -> Self {
        let mut columns = Self::default();
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
            columns.recorded_at = event.recorded_at;
        }
        columns
    }

    /// Inserts all when `head` is the id of the last event in the log, else nothing. Returns how many.
    async fn insert(&self, client: &Object, insert: &Statement, head: Option<Uuid>) -> Result<u64, Error> {
        let values: [&(dyn ToSql + Sync); 11] = [
            &self.positions,
            &self.ids,
            &self.streams,
            &self.versions,
            &self.kinds,
            &self.schema_versions,
            &self.data,
            &self.metadata,
            &self.recorded_at,
            &self.checksums,
            &head,
        ];
        client.execute(insert, &values).await
    }
}

/// A stream's version is not known without looking, or the expectation is not met by what is known.
struct Unsure;

impl From<Conflict> for Unsure {
    fn from(_: Conflict) -> Self {
        Self
    }
}

//! Statements on items. Each function is one job, or a part of one, on the writer's connection.

use super::tables::{self, Delta, bump, count};
use crate::clock::IdSource;
use crate::id::{ProjectId, RoomId};
use crate::name::QueueName;
use crate::queue::types::{SEEN_KEEP, expired_reason};
use crate::queue::{
    BATCH_MAX, DeadItem, DeadPage, ItemId, LeaseToken, LeasedItem, Limits, NewItem, QueueError, QueueItem,
    QueueKey, Sent,
};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::BTreeMap;
use uuid::Uuid;

const READY: i64 = 0;
const LEASED: i64 = 1;
const DELAYED: i64 = 2;
const DEAD: i64 = 3;

/// Remembered ids that one send forgets when their time is over.
const FORGET_MAX: i64 = 16;

/// The highest place in use, and when the next lease or delay ends.
pub(super) fn resume(c: &Connection) -> Result<(i64, Option<i64>), QueueError> {
    let last = c.query_row("SELECT coalesce(max(place), 0) FROM queue_items", [], |row| row.get(0))?;
    Ok((last, next_end(c)?))
}

fn next_end(c: &Connection) -> Result<Option<i64>, QueueError> {
    let sql = "SELECT min(until_ms) FROM queue_items WHERE until_ms IS NOT NULL AND state < 3";
    Ok(c.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

#[allow(clippy::too_many_arguments, reason = "a send is one statement list; a struct would only rename them")]
pub(super) fn send(
    c: &Connection,
    key: &QueueKey,
    queue: i64,
    items: Vec<NewItem>,
    limits: &Limits,
    now: i64,
    ids: &dyn IdSource,
    mut next_place: impl FnMut() -> i64,
) -> Result<Vec<Sent>, QueueError> {
    if tables::size(c, queue)? + items.len() as u64 > limits.items_per_queue {
        return Err(limits.full(key));
    }
    let mut sent = Vec::with_capacity(items.len());
    for item in items {
        if let Some(id) = item.id
            && !remember(c, queue, id, now)?
        {
            sent.push(Sent::Duplicate(id));
            continue;
        }
        let id = item.id.unwrap_or_else(|| ItemId(ids.fresh()));
        insert(c, queue, &QueueItem { id, place: next_place(), body: item.body, attempt: 0 })?;
        sent.push(Sent::Stored(id));
    }
    let stored = sent.iter().filter(|one| matches!(one, Sent::Stored(_))).count();
    bump(c, queue, Delta::of(count(stored), 0, 0))?;
    Ok(sent)
}

/// False when the id was sent before. Forgets some that are over.
fn remember(c: &Connection, queue: i64, id: ItemId, now: i64) -> Result<bool, QueueError> {
    let sql = "DELETE FROM queue_seen WHERE (queue_id, item_id) IN \
               (SELECT queue_id, item_id FROM queue_seen WHERE seen_at < ?1 ORDER BY seen_at LIMIT ?2)";
    c.prepare_cached(sql)?.execute(params![now - SEEN_KEEP.num_milliseconds(), FORGET_MAX])?;
    let sql =
        "INSERT INTO queue_seen (queue_id, item_id, seen_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    Ok(c.prepare_cached(sql)?.execute(params![queue, id.0, now])? == 1)
}

fn insert(c: &Connection, queue: i64, item: &QueueItem) -> Result<(), QueueError> {
    let sql = "INSERT INTO queue_items (place, queue_id, state, attempt, item_id, body) \
               VALUES (?1, ?2, 0, ?3, ?4, ?5)";
    c.prepare_cached(sql)?.execute(params![item.place, queue, item.attempt, item.id.0, item.body])?;
    Ok(())
}

pub(super) fn receive(c: &Connection, queue: i64, max: usize) -> Result<Vec<QueueItem>, QueueError> {
    let sql = "DELETE FROM queue_items WHERE place IN \
               (SELECT place FROM queue_items WHERE queue_id = ?1 AND state = 0 ORDER BY place LIMIT ?2) \
               RETURNING item_id, place, body, attempt";
    let read = |row: &Row<'_>| {
        let id = ItemId(row.get(0)?);
        Ok(QueueItem { id, place: row.get(1)?, body: row.get(2)?, attempt: row.get(3)? })
    };
    let mut statement = c.prepare_cached(sql)?;
    let mut items = statement.query_map(params![queue, count(max)], read)?.collect::<Result<Vec<_>, _>>()?;
    items.sort_by_key(|item| item.place);
    if !items.is_empty() {
        bump(c, queue, Delta::of(-count(items.len()), 0, 0))?;
    }
    Ok(items)
}

pub(super) fn put_back(c: &Connection, queue: i64, item: &QueueItem) -> Result<(), QueueError> {
    insert(c, queue, item)?;
    bump(c, queue, Delta::of(1, 0, 0))
}

pub(super) fn lease(
    c: &Connection,
    queue: i64,
    holder: &str,
    nonce: Uuid,
    until: DateTime<Utc>,
    max: usize,
) -> Result<Vec<LeasedItem>, QueueError> {
    let sql = "UPDATE queue_items SET state = 1, attempt = attempt + 1, holder = ?3, nonce = ?4, until_ms = ?5 \
               WHERE place IN (SELECT place FROM queue_items WHERE queue_id = ?1 AND state = 0 ORDER BY place LIMIT ?2) \
               RETURNING item_id, place, body, attempt";
    let read = |row: &Row<'_>| {
        let token = LeaseToken { place: row.get(1)?, nonce };
        Ok(LeasedItem { id: ItemId(row.get(0)?), body: row.get(2)?, attempt: row.get(3)?, token, until })
    };
    let mut statement = c.prepare_cached(sql)?;
    let values = params![queue, count(max), holder, nonce, until.timestamp_millis()];
    let mut items = statement.query_map(values, read)?.collect::<Result<Vec<_>, _>>()?;
    items.sort_by_key(|item| item.token.place);
    if !items.is_empty() {
        bump(c, queue, Delta::of(-count(items.len()), count(items.len()), 0))?;
    }
    Ok(items)
}

fn lost(key: &QueueKey, token: LeaseToken) -> QueueError {
    QueueError::LeaseLost { queue: key.name.clone(), token }
}

pub(super) fn ack(
    c: &Connection,
    key: &QueueKey,
    queue: i64,
    tokens: &[LeaseToken],
) -> Result<(), QueueError> {
    let sql = "DELETE FROM queue_items WHERE place = ?1 AND queue_id = ?2 AND state = 1 AND nonce = ?3";
    let mut statement = c.prepare_cached(sql)?;
    for token in tokens {
        if statement.execute(params![token.place, queue, token.nonce])? != 1 {
            return Err(lost(key, *token));
        }
    }
    bump(c, queue, Delta::of(0, -count(tokens.len()), 0))
}

/// The attempt that the lease counts as, if it is in force.
pub(super) fn leased_attempt(
    c: &Connection,
    key: &QueueKey,
    queue: i64,
    token: LeaseToken,
) -> Result<u32, QueueError> {
    let sql =
        "SELECT attempt FROM queue_items WHERE place = ?1 AND queue_id = ?2 AND state = 1 AND nonce = ?3";
    let values = params![token.place, queue, token.nonce];
    let attempt = c.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    attempt.ok_or_else(|| lost(key, token))
}

pub(super) fn release(
    c: &Connection,
    key: &QueueKey,
    queue: i64,
    token: LeaseToken,
) -> Result<(), QueueError> {
    let attempt = leased_attempt(c, key, queue, token)?;
    make_ready(c, token.place, attempt.saturating_sub(1))?;
    bump(c, queue, Delta::of(1, -1, 0))
}

fn make_ready(c: &Connection, place: i64, attempt: u32) -> Result<(), QueueError> {
    let sql = "UPDATE queue_items SET state = 0, attempt = ?2, holder = NULL, nonce = NULL, until_ms = NULL, \
               reason = NULL WHERE place = ?1";
    c.prepare_cached(sql)?.execute(params![place, attempt])?;
    Ok(())
}

/// An attempt that failed.
pub(super) struct Failure<'a> {
    pub place: i64,
    pub attempt: u32,
    pub reason: &'a str,
    pub delay_ms: u64,
}

/// Back to its place, delayed, or after this many attempts dead. True when dead.
pub(super) fn fail(
    c: &Connection,
    queue: i64,
    failure: Failure<'_>,
    attempts: u32,
    now: i64,
) -> Result<bool, QueueError> {
    let end = |state: i64, until: i64, reason: Option<&str>| -> Result<(), QueueError> {
        let sql = "UPDATE queue_items SET state = ?2, until_ms = ?3, reason = ?4, holder = NULL, nonce = NULL \
                   WHERE place = ?1";
        c.prepare_cached(sql)?.execute(params![failure.place, state, until, reason])?;
        Ok(())
    };
    if failure.attempt >= attempts {
        end(DEAD, now, Some(failure.reason))?;
        bump(c, queue, Delta::of(0, -1, 1))?;
        return Ok(true);
    }
    if failure.delay_ms > 0 {
        end(DELAYED, now + i64::try_from(failure.delay_ms).unwrap_or(0), None)?;
        return Ok(false);
    }
    make_ready(c, failure.place, failure.attempt)?;
    bump(c, queue, Delta::of(1, -1, 0))?;
    Ok(false)
}

pub(super) fn extend(
    c: &Connection,
    key: &QueueKey,
    queue: i64,
    token: LeaseToken,
    until: i64,
) -> Result<(), QueueError> {
    leased_attempt(c, key, queue, token)?;
    c.prepare_cached("UPDATE queue_items SET until_ms = ?2 WHERE place = ?1")?
        .execute(params![token.place, until])?;
    Ok(())
}

pub(super) fn fail_holder(
    c: &Connection,
    room: RoomId,
    holder: &str,
    reason: &str,
    limits: &Limits,
    now: i64,
) -> Result<u64, QueueError> {
    let sql = "SELECT i.queue_id, i.place, i.attempt FROM queues q JOIN queue_items i \
               ON i.queue_id = q.queue_id AND i.state = ?4 \
               WHERE q.room = ?1 AND q.project = ?2 AND q.leased > 0 AND i.holder = ?3";
    let mut statement = c.prepare_cached(sql)?;
    let values = params![room.uuid(), room.project().uuid(), holder, LEASED];
    let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let held: Vec<(i64, i64, u32)> = rows.collect::<Result<_, _>>()?;
    for (queue, place, attempt) in &held {
        fail(
            c,
            *queue,
            Failure { place: *place, attempt: *attempt, reason, delay_ms: 0 },
            limits.losses,
            now,
        )?;
    }
    Ok(held.len() as u64)
}

/// Removes up to `max` items up to a place. Number removed.
pub(super) fn sweep(
    c: &Connection,
    queue: i64,
    upto: i64,
    dead_too: bool,
    max: usize,
) -> Result<usize, QueueError> {
    let mut left = max;
    let states: &[i64] = if dead_too { &[READY, LEASED, DELAYED, DEAD] } else { &[READY, LEASED, DELAYED] };
    for state in states {
        let sql = "DELETE FROM queue_items WHERE place IN (SELECT place FROM queue_items \
                   WHERE queue_id = ?1 AND state = ?2 AND place <= ?3 ORDER BY place LIMIT ?4)";
        let removed = c.prepare_cached(sql)?.execute(params![queue, state, upto, count(left)])?;
        let gone = -count(removed);
        bump(
            c,
            queue,
            match *state {
                READY => Delta::of(gone, 0, 0),
                DEAD => Delta::of(0, 0, gone),
                _ => Delta::of(0, gone, 0),
            },
        )?;
        left -= removed;
    }
    Ok(max - left)
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

pub(super) fn dead_letters(
    c: &Connection,
    queue: i64,
    after: i64,
    limit: usize,
) -> Result<DeadPage, QueueError> {
    let sql = "SELECT place, item_id, body, attempt, reason, until_ms FROM queue_items \
               WHERE queue_id = ?1 AND state = 3 AND place > ?2 ORDER BY place LIMIT ?3";
    let read = |row: &Row<'_>| {
        let item = DeadItem {
            id: ItemId(row.get(1)?),
            body: row.get(2)?,
            attempt: row.get(3)?,
            reason: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            dead_at: time(row.get(5)?),
        };
        Ok((row.get::<_, i64>(0)?, item))
    };
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map(params![queue, after, count(limit + 1)], read)?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().map(|(place, _)| *place).filter(|_| more);
    Ok(DeadPage { items: rows.into_iter().map(|(_, item)| item).collect(), next })
}

/// Places of the chosen dead letters; of all, at most one batch, where none is chosen.
fn dead_places(c: &Connection, queue: i64, ids: &[ItemId]) -> Result<Vec<i64>, QueueError> {
    let mut statement = c.prepare_cached(
        "SELECT place, item_id FROM queue_items WHERE queue_id = ?1 AND state = 3 ORDER BY place",
    )?;
    let mut rows = statement.query([queue])?;
    let mut places = Vec::new();
    while let Some(row) = rows.next()? {
        if ids.is_empty() || ids.contains(&ItemId(row.get(1)?)) {
            places.push(row.get(0)?);
        }
    }
    Ok(places)
}

pub(super) fn replay_dead(c: &Connection, queue: i64, ids: &[ItemId]) -> Result<usize, QueueError> {
    let places = dead_places(c, queue, ids)?;
    for place in &places {
        make_ready(c, *place, 0)?;
    }
    bump(c, queue, Delta::of(count(places.len()), 0, -count(places.len())))?;
    Ok(places.len())
}

pub(super) fn delete_dead(c: &Connection, queue: i64, ids: &[ItemId]) -> Result<usize, QueueError> {
    let places = dead_places(c, queue, ids)?;
    let mut statement = c.prepare_cached("DELETE FROM queue_items WHERE place = ?1")?;
    for place in &places {
        statement.execute([place])?;
    }
    bump(c, queue, Delta::of(0, 0, -count(places.len())))?;
    Ok(places.len())
}

/// What ran out, per queue, and when the next ends.
pub(super) struct Expired {
    pub keys: Vec<(QueueKey, usize)>,
    pub next_end: Option<i64>,
}

/// Queue, place, attempt, state and holder.
type Due = (i64, i64, u32, i64, Option<String>);

pub(super) fn expire(c: &Connection, limits: &Limits, now: i64) -> Result<Expired, QueueError> {
    let sql = "SELECT queue_id, place, attempt, state, holder FROM queue_items \
               WHERE until_ms <= ?1 AND until_ms IS NOT NULL AND state < 3 ORDER BY until_ms LIMIT ?2";
    let due: Vec<Due> = {
        let mut statement = c.prepare_cached(sql)?;
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
        statement.query_map(params![now, count(BATCH_MAX)], read)?.collect::<Result<_, _>>()?
    };
    let mut queues: BTreeMap<i64, usize> = BTreeMap::new();
    for (queue, place, attempt, state, holder) in due {
        *queues.entry(queue).or_default() += 1;
        if state == DELAYED {
            make_ready(c, place, attempt)?;
            bump(c, queue, Delta::of(1, -1, 0))?;
        } else {
            let reason = expired_reason(&holder.unwrap_or_default(), attempt);
            fail(c, queue, Failure { place, attempt, reason: &reason, delay_ms: 0 }, limits.losses, now)?;
        }
    }
    let mut keys = Vec::new();
    for (queue, expired) in queues {
        keys.extend(key_of(c, queue)?.map(|key| (key, expired)));
    }
    Ok(Expired { keys, next_end: next_end(c)? })
}

fn key_of(c: &Connection, queue: i64) -> Result<Option<QueueKey>, QueueError> {
    let sql = "SELECT project, room, name FROM queues WHERE queue_id = ?1";
    let read = |row: &Row<'_>| {
        let (project, room): (Uuid, Uuid) = (row.get(0)?, row.get(1)?);
        Ok((RoomId::new(ProjectId::new(project), room), row.get::<_, String>(2)?))
    };
    let found = c.prepare_cached(sql)?.query_row([queue], read).optional()?;
    Ok(found.and_then(|(room, name)| Some(QueueKey::new(room, QueueName::new(name).ok()?))))
}

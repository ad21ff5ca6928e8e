//! Statements on the table of queues.

use crate::id::RoomId;
use crate::name::QueueName;
use crate::queue::{Limits, QueueError, QueueInfo, QueueKey};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Changes of the three counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delta {
    pub ready: i64,
    pub leased: i64,
    pub dead: i64,
}

impl Delta {
    pub(super) fn of(ready: i64, leased: i64, dead: i64) -> Self {
        Self { ready, leased, dead }
    }
}

pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn find(c: &Connection, key: &QueueKey) -> Result<Option<i64>, QueueError> {
    let sql = "SELECT queue_id FROM queues WHERE room = ?1 AND name = ?2 AND project = ?3";
    let values = params![key.room.uuid(), key.name.as_str(), key.room.project().uuid()];
    Ok(c.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

pub(super) fn require(c: &Connection, key: &QueueKey) -> Result<i64, QueueError> {
    find(c, key)?.ok_or_else(|| QueueError::NotFound { queue: key.name.clone() })
}

pub(super) fn create(c: &Connection, key: &QueueKey, limits: &Limits, now: i64) -> Result<i64, QueueError> {
    if find(c, key)?.is_some() {
        return Err(QueueError::AlreadyExists { queue: key.name.clone() });
    }
    let (room, project) = (key.room.uuid(), key.room.project().uuid());
    let sql = "SELECT count(*) FROM queues WHERE room = ?1 AND project = ?2";
    let existing: i64 = c.prepare_cached(sql)?.query_row(params![room, project], |row| row.get(0))?;
    if existing.unsigned_abs() >= limits.queues_per_room {
        return Err(QueueError::TooManyQueues { queue: key.name.clone(), limit: limits.queues_per_room });
    }
    let sql = "INSERT INTO queues (project, room, name, created_at) VALUES (?1, ?2, ?3, ?4)";
    Ok(c.prepare_cached(sql)?.insert(params![project, room, key.name.as_str(), now])?)
}

pub(super) fn bump(c: &Connection, queue: i64, delta: Delta) -> Result<(), QueueError> {
    let sql =
        "UPDATE queues SET ready = ready + ?2, leased = leased + ?3, dead = dead + ?4 WHERE queue_id = ?1";
    c.prepare_cached(sql)?.execute(params![queue, delta.ready, delta.leased, delta.dead])?;
    Ok(())
}

/// Items in all states.
pub(super) fn size(c: &Connection, queue: i64) -> Result<u64, QueueError> {
    let sql = "SELECT ready + leased + dead FROM queues WHERE queue_id = ?1";
    Ok(c.prepare_cached(sql)?.query_row([queue], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

pub(super) fn list(c: &Connection, room: RoomId) -> Result<Vec<QueueInfo>, QueueError> {
    let sql = "SELECT name, ready, leased, dead FROM queues WHERE room = ?1 AND project = ?2 ORDER BY name";
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query(params![room.uuid(), room.project().uuid()])?;
    let mut queues = Vec::new();
    while let Some(row) = rows.next()? {
        let count = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
        let Ok(name) = QueueName::new(row.get::<_, String>(0)?) else { continue };
        queues.push(QueueInfo { name, size: count(1)?, leased: count(2)?, dead: count(3)? });
    }
    Ok(queues)
}

/// Deletes the queue with what came since it was swept.
pub(super) fn delete(c: &Connection, queue: i64) -> Result<(), QueueError> {
    for sql in [
        "DELETE FROM queue_items WHERE queue_id = ?1",
        "DELETE FROM queue_seen WHERE queue_id = ?1",
        "DELETE FROM queues WHERE queue_id = ?1",
    ] {
        c.prepare_cached(sql)?.execute([queue])?;
    }
    Ok(())
}

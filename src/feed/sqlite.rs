//! Messages of feeds in the server's SQLite database.

use super::{
    BATCH_MESSAGES_MAX, Failure, FeedError, FeedStore, PROJECT_BYTES_MAX, TRIM_MESSAGES_MAX,
    WAITING_BYTES_MAX, WAITING_MESSAGES_MAX, Waiting, cut, number, time,
};
use crate::id::{FeedId, FeedSubscriptionId, ProjectId};
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::sync::Arc;

/// Messages in SQLite.
#[derive(Debug)]
pub struct SqliteFeeds {
    database: Arc<Sqlite>,
}

impl SqliteFeeds {
    #[must_use]
    pub fn new(database: Arc<Sqlite>) -> Self {
        Self { database }
    }
}

fn publish(c: &Connection, feed: FeedId, bodies: &[String], at_ms: i64) -> Result<(), FeedError> {
    let bytes = number(bodies.iter().map(String::len).sum());
    let sql = "INSERT INTO feed_backlog (project, feed, messages, bytes) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (project, feed) DO UPDATE SET messages = messages + ?3, bytes = bytes + ?4 \
               RETURNING messages, bytes";
    let values = params![feed.project().uuid(), feed.uuid(), number(bodies.len()), bytes];
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let (messages, bytes) = c.prepare_cached(sql)?.query_row(values, read)?;
    if messages.unsigned_abs() > WAITING_MESSAGES_MAX || bytes.unsigned_abs() > WAITING_BYTES_MAX {
        return Err(FeedError::Full { feed: feed.to_string() });
    }
    let sql = "SELECT sum(bytes) FROM feed_backlog WHERE project = ?1";
    let all: i64 = c.prepare_cached(sql)?.query_row(params![feed.project().uuid()], |row| row.get(0))?;
    if all.unsigned_abs() > PROJECT_BYTES_MAX {
        return Err(FeedError::ProjectFull);
    }
    let sql = "INSERT INTO feed_messages (project, feed, published_ms, body) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = c.prepare_cached(sql)?;
    for body in bodies {
        insert.execute(params![feed.project().uuid(), feed.uuid(), at_ms, body])?;
    }
    Ok(())
}

fn place(c: &Connection, of: FeedSubscriptionId) -> Result<i64, FeedError> {
    let sql = "SELECT place FROM feed_cursors WHERE project = ?1 AND subscription = ?2";
    let found = c.prepare_cached(sql)?.query_row(params![of.project().uuid(), of.uuid()], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}

fn batch(
    c: &Connection,
    of: FeedSubscriptionId,
    feed: FeedId,
    since_ms: i64,
) -> Result<Vec<Waiting>, FeedError> {
    let sql = "SELECT place, published_ms, body FROM feed_messages WHERE project = ?1 AND feed = ?2 AND place > ?3 \
               AND published_ms >= ?4 ORDER BY place LIMIT ?5";
    let most = number(BATCH_MESSAGES_MAX);
    let values = params![feed.project().uuid(), feed.uuid(), place(c, of)?, since_ms, most];
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    // One more than fits, which is cut off.
    while bytes <= super::BATCH_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let one = Waiting { place: row.get(0)?, published_at: time(row.get(1)?), body: row.get(2)? };
        bytes += one.body.len() + 1;
        found.push(one);
    }
    Ok(cut(found))
}

fn trim(c: &Connection, feed: FeedId, upto: i64) -> Result<usize, FeedError> {
    let sql = "DELETE FROM feed_messages WHERE place IN (SELECT place FROM feed_messages WHERE project = ?1 AND feed = ?2 \
               AND place <= ?3 ORDER BY place LIMIT ?4) RETURNING length(CAST(body AS BLOB))";
    let values = params![feed.project().uuid(), feed.uuid(), upto, number(TRIM_MESSAGES_MAX)];
    let gone: Vec<i64> =
        c.prepare_cached(sql)?.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?;
    let sql = "UPDATE feed_backlog SET messages = messages - ?3, bytes = bytes - ?4 WHERE project = ?1 AND feed = ?2";
    let bytes: i64 = gone.iter().sum();
    c.prepare_cached(sql)?.execute(params![feed.project().uuid(), feed.uuid(), number(gone.len()), bytes])?;
    let sql = "DELETE FROM feed_backlog WHERE project = ?1 AND feed = ?2 AND messages <= 0";
    c.prepare_cached(sql)?.execute(params![feed.project().uuid(), feed.uuid()])?;
    Ok(gone.len())
}

#[async_trait]
impl FeedStore for SqliteFeeds {
    async fn publish(&self, feed: FeedId, bodies: Vec<String>, at: DateTime<Utc>) -> Result<(), FeedError> {
        let at_ms = at.timestamp_millis();
        self.database.write(move |c| publish(c, feed, &bodies, at_ms)).await
    }

    async fn batch(
        &self,
        subscription: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Waiting>, FeedError> {
        let since_ms = since.timestamp_millis();
        self.database.read(move |c| batch(c, subscription, feed, since_ms)).await
    }

    async fn delivered(&self, of: FeedSubscriptionId, place: i64) -> Result<(), FeedError> {
        let sql = "INSERT INTO feed_cursors (project, subscription, place) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (project, subscription) DO UPDATE SET place = max(place, ?3), reason = NULL, again_ms = NULL";
        let job = move |c: &Connection| {
            c.prepare_cached(sql)?.execute(params![of.project().uuid(), of.uuid(), place])?;
            Ok(())
        };
        self.database.write(job).await
    }

    async fn failed(&self, of: FeedSubscriptionId, failure: &Failure) -> Result<(), FeedError> {
        let sql = "INSERT INTO feed_cursors (project, subscription, place, reason, again_ms) VALUES (?1, ?2, 0, ?3, ?4) \
                   ON CONFLICT (project, subscription) DO UPDATE SET reason = ?3, again_ms = ?4";
        let (reason, again_ms) = (failure.reason.clone(), failure.again_at.timestamp_millis());
        let job = move |c: &Connection| {
            c.prepare_cached(sql)?.execute(params![of.project().uuid(), of.uuid(), reason, again_ms])?;
            Ok(())
        };
        self.database.write(job).await
    }

    async fn recovered(&self, of: FeedSubscriptionId) -> Result<(), FeedError> {
        let sql = "UPDATE feed_cursors SET reason = NULL, again_ms = NULL \
                   WHERE project = ?1 AND subscription = ?2 AND reason IS NOT NULL";
        let job = move |c: &Connection| {
            c.prepare_cached(sql)?.execute(params![of.project().uuid(), of.uuid()])?;
            Ok(())
        };
        self.database.write(job).await
    }

    async fn failure(&self, of: FeedSubscriptionId) -> Result<Option<Failure>, FeedError> {
        let sql = "SELECT reason, again_ms FROM feed_cursors WHERE project = ?1 AND subscription = ?2 \
                   AND reason IS NOT NULL";
        let read = |row: &Row<'_>| Ok(Failure { reason: row.get(0)?, again_at: time(row.get(1)?) });
        let job = move |c: &Connection| {
            let found = c.prepare_cached(sql)?.query_row(params![of.project().uuid(), of.uuid()], read);
            Ok(found.optional()?)
        };
        self.database.read(job).await
    }

    async fn skip(
        &self,
        of: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<(), FeedError> {
        let sql = "INSERT INTO feed_cursors (project, subscription, place) \
                   SELECT ?1, ?2, max(place) FROM feed_messages WHERE project = ?1 AND feed = ?3 AND published_ms < ?4 \
                   HAVING max(place) IS NOT NULL \
                   ON CONFLICT (project, subscription) DO UPDATE SET place = EXCLUDED.place WHERE place = 0";
        let since_ms = since.timestamp_millis();
        let job = move |c: &Connection| {
            if place(c, of)? == 0 {
                let values = params![of.project().uuid(), of.uuid(), feed.uuid(), since_ms];
                c.prepare_cached(sql)?.execute(values)?;
            }
            Ok(())
        };
        self.database.write(job).await
    }

    async fn last(&self, feed: FeedId) -> Result<Option<i64>, FeedError> {
        let sql = "SELECT max(place) FROM feed_messages WHERE project = ?1 AND feed = ?2";
        let job = move |c: &Connection| {
            let values = params![feed.project().uuid(), feed.uuid()];
            Ok(c.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
        };
        self.database.read(job).await
    }

    async fn trim(
        &self,
        feed: FeedId,
        subscriptions: &[FeedSubscriptionId],
        upto: i64,
    ) -> Result<usize, FeedError> {
        let all = subscriptions.to_vec();
        let job = move |c: &Connection| {
            let mut upto = upto;
            for one in all {
                upto = upto.min(place(c, one)?);
            }
            trim(c, feed, upto)
        };
        self.database.write(job).await
    }

    async fn forget(&self, of: FeedSubscriptionId) -> Result<(), FeedError> {
        let sql = "DELETE FROM feed_cursors WHERE project = ?1 AND subscription = ?2";
        let job = move |c: &Connection| {
            c.prepare_cached(sql)?.execute(params![of.project().uuid(), of.uuid()])?;
            Ok(())
        };
        self.database.write(job).await
    }

    async fn known(&self) -> Result<(Vec<FeedId>, Vec<FeedSubscriptionId>), FeedError> {
        let job = |c: &Connection| {
            let project = |row: &Row<'_>| row.get(0).map(ProjectId::new);
            let feeds = c
                .prepare_cached("SELECT project, feed FROM feed_backlog")?
                .query_map([], |row| Ok(FeedId::new(project(row)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let cursors = c
                .prepare_cached("SELECT project, subscription FROM feed_cursors")?
                .query_map([], |row| Ok(FeedSubscriptionId::new(project(row)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok((feeds, cursors))
        };
        self.database.read(job).await
    }
}

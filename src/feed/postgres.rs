//! Messages of feeds in Postgres. The row of a feed's backlog is locked while one publishes in it, so that places are
//! given in the order of the commits.

use super::{
    BATCH_MESSAGES_MAX, Failure, FeedError, FeedStore, PROJECT_BYTES_MAX, TRIM_MESSAGES_MAX,
    WAITING_BYTES_MAX, WAITING_MESSAGES_MAX, Waiting, cut, number, time,
};
use crate::id::{FeedId, FeedSubscriptionId, ProjectId};
use crate::store::postgres::Postgres;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Messages in Postgres.
#[derive(Debug)]
pub struct PostgresFeeds {
    store: Arc<Postgres>,
}

const PUBLISH: &str = "INSERT INTO feed_backlog AS b (project, feed, messages, bytes) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (project, feed) DO UPDATE SET messages = b.messages + EXCLUDED.messages, \
    bytes = b.bytes + EXCLUDED.bytes RETURNING messages, bytes";
const INSERT: &str = "INSERT INTO feed_messages (project, feed, published_ms, body) \
    SELECT $1, $2, $3, body FROM unnest($4::text[]) WITH ORDINALITY AS m (body, n) ORDER BY n";
const BATCH: &str = "SELECT place, published_ms, body FROM (SELECT place, published_ms, body, \
    sum(octet_length(body) + 1) OVER (ORDER BY place) - octet_length(body) AS before FROM feed_messages \
    WHERE project = $1 AND feed = $2 AND place > $3 AND published_ms >= $4 ORDER BY place LIMIT $5) AS m \
    WHERE before <= $6 ORDER BY place";
const TRIM: &str = "DELETE FROM feed_messages WHERE project = $1 AND feed = $2 AND place IN \
    (SELECT place FROM feed_messages WHERE project = $1 AND feed = $2 AND place <= $3 ORDER BY place LIMIT $4) \
    RETURNING octet_length(body)::bigint";

impl PostgresFeeds {
    #[must_use]
    pub fn new(store: Arc<Postgres>) -> Self {
        Self { store }
    }

    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, FeedError> {
        let client = self.store.client().await?;
        let failed = |error| self.store.error(&error);
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        Ok(client.query(&statement, values).await.map_err(failed)?)
    }

    async fn place(&self, of: FeedSubscriptionId) -> Result<i64, FeedError> {
        let sql = "SELECT place FROM feed_cursors WHERE project = $1 AND subscription = $2";
        let rows = self.rows(sql, &[&of.project().uuid(), &of.uuid()]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }
}

#[async_trait]
impl FeedStore for PostgresFeeds {
    async fn publish(&self, feed: FeedId, bodies: Vec<String>, at: DateTime<Utc>) -> Result<(), FeedError> {
        let mut client = self.store.client().await?;
        let failed = |error| self.store.error(&error);
        let (publish, insert) = (
            client.prepare_cached(PUBLISH).await.map_err(failed)?,
            client.prepare_cached(INSERT).await.map_err(failed)?,
        );
        let tx = client.transaction().await.map_err(failed)?;
        let (project, id) = (feed.project().uuid(), feed.uuid());
        let (count, bytes) = (number(bodies.len()), number(bodies.iter().map(String::len).sum()));
        let row = tx.query_one(&publish, &[&project, &id, &count, &bytes]).await.map_err(failed)?;
        let (messages, bytes): (i64, i64) = (row.get(0), row.get(1));
        if messages.unsigned_abs() > WAITING_MESSAGES_MAX || bytes.unsigned_abs() > WAITING_BYTES_MAX {
            return Err(FeedError::Full { feed: feed.to_string() });
        }
        let sql = "SELECT sum(bytes)::bigint FROM feed_backlog WHERE project = $1";
        let all: i64 = tx.query_one(sql, &[&project]).await.map_err(failed)?.get(0);
        if all.unsigned_abs() > PROJECT_BYTES_MAX {
            return Err(FeedError::ProjectFull);
        }
        tx.execute(&insert, &[&project, &id, &at.timestamp_millis(), &bodies]).await.map_err(failed)?;
        Ok(tx.commit().await.map_err(failed)?)
    }

    async fn batch(
        &self,
        subscription: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Waiting>, FeedError> {
        let place = self.place(subscription).await?;
        let (since_ms, most) = (since.timestamp_millis(), number(BATCH_MESSAGES_MAX));
        let bytes = number(super::BATCH_BYTES_MAX);
        let rows = self
            .rows(BATCH, &[&feed.project().uuid(), &feed.uuid(), &place, &since_ms, &most, &bytes])
            .await?;
        let read =
            |row: &Row| Waiting { place: row.get(0), published_at: time(row.get(1)), body: row.get(2) };
        Ok(cut(rows.iter().map(read).collect()))
    }

    async fn delivered(&self, of: FeedSubscriptionId, place: i64) -> Result<(), FeedError> {
        let sql = "INSERT INTO feed_cursors AS c (project, subscription, place) VALUES ($1, $2, $3) \
                   ON CONFLICT (project, subscription) DO UPDATE SET place = greatest(c.place, EXCLUDED.place), \
                   reason = NULL, again_ms = NULL";
        self.rows(sql, &[&of.project().uuid(), &of.uuid(), &place]).await.map(drop)
    }

    async fn failed(&self, of: FeedSubscriptionId, failure: &Failure) -> Result<(), FeedError> {
        let sql = "INSERT INTO feed_cursors (project, subscription, place, reason, again_ms) VALUES ($1, $2, 0, $3, $4) \
                   ON CONFLICT (project, subscription) DO UPDATE SET reason = EXCLUDED.reason, \
                   again_ms = EXCLUDED.again_ms";
        let again_ms = failure.again_at.timestamp_millis();
        self.rows(sql, &[&of.project().uuid(), &of.uuid(), &failure.reason, &again_ms]).await.map(drop)
    }

    async fn recovered(&self, of: FeedSubscriptionId) -> Result<(), FeedError> {
        let sql = "UPDATE feed_cursors SET reason = NULL, again_ms = NULL \
                   WHERE project = $1 AND subscription = $2 AND reason IS NOT NULL";
        self.rows(sql, &[&of.project().uuid(), &of.uuid()]).await.map(drop)
    }

    async fn failure(&self, of: FeedSubscriptionId) -> Result<Option<Failure>, FeedError> {
        let sql = "SELECT reason, again_ms FROM feed_cursors WHERE project = $1 AND subscription = $2 \
                   AND reason IS NOT NULL";
        let rows = self.rows(sql, &[&of.project().uuid(), &of.uuid()]).await?;
        Ok(rows.first().map(|row| Failure { reason: row.get(0), again_at: time(row.get(1)) }))
    }

    async fn skip(
        &self,
        of: FeedSubscriptionId,
        feed: FeedId,
        since: DateTime<Utc>,
    ) -> Result<(), FeedError> {
        if self.place(of).await? > 0 {
            return Ok(());
        }
        let sql = "INSERT INTO feed_cursors AS c (project, subscription, place) \
                   SELECT $1::uuid, $2::uuid, max(place) FROM feed_messages WHERE project = $1 AND feed = $3 AND published_ms < $4 \
                   HAVING max(place) IS NOT NULL \
                   ON CONFLICT (project, subscription) DO UPDATE SET place = EXCLUDED.place WHERE c.place = 0";
        let since_ms = since.timestamp_millis();
        self.rows(sql, &[&of.project().uuid(), &of.uuid(), &feed.uuid(), &since_ms]).await.map(drop)
    }

    async fn last(&self, feed: FeedId) -> Result<Option<i64>, FeedError> {
        let sql = "SELECT max(place) FROM feed_messages WHERE project = $1 AND feed = $2";
        let rows = self.rows(sql, &[&feed.project().uuid(), &feed.uuid()]).await?;
        Ok(rows.first().and_then(|row| row.get(0)))
    }

    async fn trim(
        &self,
        feed: FeedId,
        subscriptions: &[FeedSubscriptionId],
        upto: i64,
    ) -> Result<usize, FeedError> {
        let mut upto = upto;
        for one in subscriptions {
            upto = upto.min(self.place(*one).await?);
        }
        let mut client = self.store.client().await?;
        let failed = |error| self.store.error(&error);
        let tx = client.transaction().await.map_err(failed)?;
        let (project, id, most) = (feed.project().uuid(), feed.uuid(), number(TRIM_MESSAGES_MAX));
        // The order in which publishing locks.
        let lock = "SELECT 1 FROM feed_backlog WHERE project = $1 AND feed = $2 FOR UPDATE";
        tx.query(lock, &[&project, &id]).await.map_err(failed)?;
        let gone = tx.query(TRIM, &[&project, &id, &upto, &most]).await.map_err(failed)?;
        let (count, bytes) = (number(gone.len()), gone.iter().map(|row| row.get::<_, i64>(0)).sum::<i64>());
        let sql = "UPDATE feed_backlog SET messages = messages - $3, bytes = bytes - $4 WHERE project = $1 AND feed = $2";
        tx.execute(sql, &[&project, &id, &count, &bytes]).await.map_err(failed)?;
        let sql = "DELETE FROM feed_backlog WHERE project = $1 AND feed = $2 AND messages <= 0";
        tx.execute(sql, &[&project, &id]).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(gone.len())
    }

    async fn forget(&self, of: FeedSubscriptionId) -> Result<(), FeedError> {
        let sql = "DELETE FROM feed_cursors WHERE project = $1 AND subscription = $2";
        self.rows(sql, &[&of.project().uuid(), &of.uuid()]).await.map(drop)
    }

    async fn known(&self) -> Result<(Vec<FeedId>, Vec<FeedSubscriptionId>), FeedError> {
        let feeds = self.rows("SELECT project, feed FROM feed_backlog", &[]).await?;
        let cursors = self.rows("SELECT project, subscription FROM feed_cursors", &[]).await?;
        let feed = |row: &Row| FeedId::new(ProjectId::new(row.get(0)), row.get(1));
        let cursor = |row: &Row| FeedSubscriptionId::new(ProjectId::new(row.get(0)), row.get(1));
        Ok((feeds.iter().map(feed).collect(), cursors.iter().map(cursor).collect()))
    }
}

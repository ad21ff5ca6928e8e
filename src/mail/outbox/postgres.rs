//! The outbox in Postgres, for several servers on one database. Workers pass over rows that others are claiming
//! (`SKIP LOCKED`).

use super::types::{address, count, time};
use super::{
    Attempt, Claimed, Delivery, DeliveryEvent, KEEP_DAYS, Outbox, OutboxError, Outcome, PAGE_MAX, Page,
    Query, Report, SWEEP_MAX, Submission, WAITING_MAX,
};
use crate::clock::{Clock, IdSource};
use crate::id::{MailboxId, ProjectId};
use crate::store::postgres::Postgres;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

/// The outbox in Postgres.
pub struct PostgresOutbox {
    store: Arc<Postgres>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl std::fmt::Debug for PostgresOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOutbox").field("store", &self.store).finish_non_exhaustive()
    }
}

const DELIVERY: &str = "SELECT d.delivery_id, d.submission_id, d.recipient, s.message_id, d.status, s.submitted_at, \
                        d.status_at, d.attempts, d.report \
                        FROM mail_deliveries d JOIN mail_submissions s USING (submission_id)";
/// Mailbox, then filters that are null where they do not apply.
const WHERE: &str = " WHERE d.project = $1 AND d.mailbox = $2 AND ($3::text IS NULL OR d.status = $3) \
                     AND ($4::text IS NULL OR lower(d.recipient) = lower($4)) \
                     AND ($5::text IS NULL OR s.message_id = $5)";

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn delivery(row: &Row) -> Result<Delivery, OutboxError> {
    Ok(Delivery {
        id: row.get(0),
        submission_id: row.get(1),
        recipient: row.get(2),
        message_id: row.get(3),
        status: row.get::<_, String>(4).parse().map_err(OutboxError::Row)?,
        submitted_at: time(row.get(5)),
        status_at: time(row.get(6)),
        attempt_count: count(row.get(7)),
        report: serde_json::from_str(row.get(8))?,
    })
}

fn claimed(row: &Row, nonce: Uuid) -> Result<Claimed, OutboxError> {
    Ok(Claimed {
        id: row.get(0),
        submission: row.get(1),
        mailbox: MailboxId::new(ProjectId::new(row.get(2)), row.get(3)),
        sender: address(row.get(4))?,
        recipient: address(row.get(5))?,
        message_id: row.get(6),
        submitted_at: time(row.get(7)),
        attempt: count(row.get(8)),
        message: row.get::<_, Option<Vec<u8>>>(9).unwrap_or_default().into(),
        nonce,
    })
}

fn uuids(projects: &[ProjectId]) -> Vec<Uuid> {
    projects.iter().map(|project| project.uuid()).collect()
}

fn event(row: &Row, delivery: Uuid) -> Result<DeliveryEvent, OutboxError> {
    Ok(DeliveryEvent {
        id: row.get(0),
        delivery_id: delivery,
        event_type: row.get(1),
        occurred_at: time(row.get(2)),
        attempt: count(row.get(3)),
        report: serde_json::from_str::<Report>(row.get(4))?,
    })
}

impl PostgresOutbox {
    #[must_use]
    pub fn new(store: Arc<Postgres>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, clock, ids }
    }

    async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, OutboxError> {
        let client = self.store.client().await?;
        let failed = |error| OutboxError::from(self.store.error(&error));
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        client.query(&statement, params).await.map_err(failed)
    }

    async fn count(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, OutboxError> {
        let rows = self.rows(sql, params).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }
}

async fn insert(tx: &Transaction<'_>, submission: &Submission) -> Result<(), tokio_postgres::Error> {
    let (project, mailbox) = (submission.mailbox.project().uuid(), submission.mailbox.uuid());
    let (sender, at) = (submission.sender.to_string(), submission.submitted_at.timestamp_millis());
    let sql = "INSERT INTO mail_submissions VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let kept = tx
        .execute(
            sql,
            &[
                &submission.id,
                &project,
                &mailbox,
                &sender,
                &submission.message_id,
                &at,
                &&submission.message[..],
            ],
        )
        .await?;
    if kept == 0 {
        return Ok(());
    }
    for (id, event, recipient) in &submission.recipients {
        let sql = "INSERT INTO mail_deliveries \
                   VALUES ($1, $2, $3, $4, $5, 'accepted', $6, 0, $6, NULL, NULL, '{}')";
        tx.execute(sql, &[id, &submission.id, &project, &mailbox, &recipient.to_string(), &at]).await?;
        let sql = "INSERT INTO mail_delivery_events VALUES ($1, $2, 'accepted', $3, 0, '{}')";
        tx.execute(sql, &[event, id, &at]).await?;
    }
    let before = (submission.submitted_at - chrono::Duration::days(KEEP_DAYS)).timestamp_millis();
    let sql = "WITH old AS (SELECT delivery_id, submission_id FROM mail_deliveries \
                 WHERE due_ms IS NULL AND status_at < $1 ORDER BY status_at LIMIT $2), \
               gone AS (DELETE FROM mail_delivery_events e USING old WHERE e.delivery_id = old.delivery_id) \
               DELETE FROM mail_deliveries d USING old WHERE d.delivery_id = old.delivery_id";
    let swept = tx.execute(sql, &[&before, &number(SWEEP_MAX)]).await?;
    if swept > 0 {
        let sql = "DELETE FROM mail_submissions s WHERE s.submitted_at < $1 AND NOT EXISTS \
                   (SELECT 1 FROM mail_deliveries d WHERE d.submission_id = s.submission_id)";
        tx.execute(sql, &[&before]).await?;
    }
    Ok(())
}

#[async_trait]
impl Outbox for PostgresOutbox {
    async fn submit(&self, submission: Submission) -> Result<(), OutboxError> {
        let project = submission.mailbox.project().uuid();
        let sql = "SELECT count(*) FROM mail_deliveries WHERE project = $1 AND due_ms IS NOT NULL";
        let waiting = self.count(sql, &[&project]).await?;
        if waiting + submission.recipients.len() as u64 > WAITING_MAX {
            return Err(OutboxError::Full { limit: WAITING_MAX });
        }
        let mut client = self.store.client().await?;
        let failed = |error| OutboxError::from(self.store.error(&error));
        let tx = client.transaction().await.map_err(failed)?;
        insert(&tx, &submission).await.map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    async fn claim(
        &self,
        holder: &str,
        until: DateTime<Utc>,
        busy: &[ProjectId],
    ) -> Result<Option<Claimed>, OutboxError> {
        let sql = "WITH due AS (SELECT delivery_id FROM mail_deliveries \
                     WHERE due_ms IS NOT NULL AND due_ms <= $4 AND project <> ALL ($5) \
                     ORDER BY due_ms LIMIT 1 FOR UPDATE SKIP LOCKED), \
                   taken AS (UPDATE mail_deliveries d SET attempts = attempts + 1, due_ms = $1, nonce = $2, holder = $3 \
                     FROM due WHERE d.delivery_id = due.delivery_id RETURNING d.*) \
                   SELECT d.delivery_id, d.submission_id, d.project, d.mailbox, s.sender, d.recipient, s.message_id, \
                     s.submitted_at, d.attempts, s.message FROM taken d JOIN mail_submissions s USING (submission_id)";
        let (nonce, now, until) =
            (self.ids.fresh(), self.clock.now().timestamp_millis(), until.timestamp_millis());
        let rows = self.rows(sql, &[&until, &nonce, &holder, &now, &uuids(busy)]).await?;
        rows.first().map(|row| claimed(row, nonce)).transpose()
    }

    async fn settle(&self, claimed: &Claimed, attempt: Attempt) -> Result<bool, OutboxError> {
        let (status, at) = (attempt.outcome.status(), attempt.at.timestamp_millis());
        let due = match attempt.outcome {
            Outcome::Deferred(at) => Some(at.timestamp_millis()),
            Outcome::Delivered | Outcome::Failed => None,
        };
        let report = serde_json::to_string(&attempt.report)?;
        let mut client = self.store.client().await?;
        let failed = |error| OutboxError::from(self.store.error(&error));
        let tx = client.transaction().await.map_err(failed)?;
        let sql = "UPDATE mail_deliveries SET status = $3, status_at = $4, due_ms = $5, nonce = NULL, holder = NULL, \
                   report = $6 WHERE delivery_id = $1 AND nonce = $2";
        let changed = tx
            .execute(sql, &[&claimed.id, &claimed.nonce, &status.as_str(), &at, &due, &report])
            .await
            .map_err(failed)?;
        if changed == 0 {
            return Ok(false);
        }
        let sql = "INSERT INTO mail_delivery_events VALUES ($1, $2, $3, $4, $5, $6)";
        let number = i64::from(claimed.attempt);
        tx.execute(sql, &[&attempt.id, &claimed.id, &status.event_type(), &at, &number, &report])
            .await
            .map_err(failed)?;
        let sql = "UPDATE mail_submissions SET message = NULL WHERE submission_id = $1 AND NOT EXISTS \
                   (SELECT 1 FROM mail_deliveries d WHERE d.submission_id = $1 AND d.due_ms IS NOT NULL)";
        tx.execute(sql, &[&claimed.submission]).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn resume(&self, holder: &str) -> Result<u64, OutboxError> {
        let sql = "WITH freed AS (UPDATE mail_deliveries SET due_ms = $1, nonce = NULL, holder = NULL \
                   WHERE holder = $2 AND due_ms IS NOT NULL RETURNING 1) SELECT count(*) FROM freed";
        self.count(sql, &[&self.clock.now().timestamp_millis(), &holder]).await
    }

    async fn next_due(&self, busy: &[ProjectId]) -> Result<Option<DateTime<Utc>>, OutboxError> {
        let sql = "SELECT min(due_ms) FROM mail_deliveries WHERE due_ms IS NOT NULL AND project <> ALL ($1)";
        let rows = self.rows(sql, &[&uuids(busy)]).await?;
        Ok(rows.first().and_then(|row| row.get::<_, Option<i64>>(0)).map(time))
    }

    async fn deliveries(&self, mailbox: MailboxId, query: Query) -> Result<Page<Delivery>, OutboxError> {
        let (project, own) = (mailbox.project().uuid(), mailbox.uuid());
        let status = query.status.map(|status| status.to_string());
        let counted = format!(
            "SELECT count(*) FROM mail_deliveries d JOIN mail_submissions s USING (submission_id){WHERE}"
        );
        let filters: [&(dyn ToSql + Sync); 5] =
            [&project, &own, &status, &query.recipient, &query.message_id];
        let total = self.count(&counted, &filters).await?;
        let (limit, offset) = (number(query.count.min(PAGE_MAX)), number(query.offset));
        let sql = format!("{DELIVERY}{WHERE} ORDER BY d.delivery_id DESC LIMIT $6 OFFSET $7");
        let mut params = filters.to_vec();
        params.extend([&limit as &(dyn ToSql + Sync), &offset]);
        let rows = self.rows(&sql, &params).await?;
        Ok(Page { items: rows.iter().map(delivery).collect::<Result<_, _>>()?, total })
    }

    async fn delivery(&self, mailbox: MailboxId, id: Uuid) -> Result<Option<Delivery>, OutboxError> {
        let sql = format!("{DELIVERY} WHERE d.delivery_id = $1 AND d.project = $2 AND d.mailbox = $3");
        let rows = self.rows(&sql, &[&id, &mailbox.project().uuid(), &mailbox.uuid()]).await?;
        rows.first().map(delivery).transpose()
    }

    async fn events(
        &self,
        id: Uuid,
        offset: usize,
        count: usize,
    ) -> Result<Page<DeliveryEvent>, OutboxError> {
        let total =
            self.count("SELECT count(*) FROM mail_delivery_events WHERE delivery_id = $1", &[&id]).await?;
        let sql = "SELECT event_id, event_type, occurred_at, attempt, report FROM mail_delivery_events \
                   WHERE delivery_id = $1 ORDER BY event_id LIMIT $2 OFFSET $3";
        let rows = self.rows(sql, &[&id, &number(count.min(PAGE_MAX)), &number(offset)]).await?;
        Ok(Page { items: rows.iter().map(|row| event(row, id)).collect::<Result<_, _>>()?, total })
    }
}

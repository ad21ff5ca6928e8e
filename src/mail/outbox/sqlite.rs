//! The outbox in the server's SQLite database.

use super::types::{address, count, time};
use super::{
    Attempt, BUSY_MAX, Claimed, Delivery, DeliveryEvent, KEEP_DAYS, Outbox, OutboxError, Outcome, PAGE_MAX,
    Page, Query, SWEEP_MAX, Status, Submission, WAITING_MAX,
};
use crate::clock::{Clock, IdSource};
use crate::id::{MailboxId, ProjectId};
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use std::sync::Arc;
use uuid::Uuid;

/// The outbox in SQLite.
pub struct SqliteOutbox {
    database: Arc<Sqlite>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl std::fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteOutbox").finish_non_exhaustive()
    }
}

impl SqliteOutbox {
    #[must_use]
    pub fn new(database: Arc<Sqlite>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { database, clock, ids }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }
}

fn submit(c: &Connection, submission: &Submission) -> Result<(), OutboxError> {
    let (project, mailbox) = (submission.mailbox.project().uuid(), submission.mailbox.uuid());
    let sql = "SELECT count(*) FROM mail_deliveries WHERE project = ?1 AND due_ms IS NOT NULL";
    let waiting: i64 = c.prepare_cached(sql)?.query_row([project], |row| row.get(0))?;
    if waiting.unsigned_abs() + submission.recipients.len() as u64 > WAITING_MAX {
        return Err(OutboxError::Full { limit: WAITING_MAX });
    }
    let at = submission.submitted_at.timestamp_millis();
    let sql = "INSERT INTO mail_submissions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    let kept = c.prepare_cached(sql)?.execute(params![
        submission.id,
        project,
        mailbox,
        submission.sender.to_string(),
        submission.message_id,
        at,
        &submission.message[..]
    ])?;
    if kept == 0 {
        return Ok(());
    }
    for (id, event, recipient) in &submission.recipients {
        c.prepare_cached(
            "INSERT INTO mail_deliveries VALUES (?1, ?2, ?3, ?4, ?5, 'accepted', ?6, 0, ?6, NULL, NULL, '{}')",
        )?
        .execute(params![id, submission.id, project, mailbox, recipient.to_string(), at])?;
        c.prepare_cached("INSERT INTO mail_delivery_events VALUES (?1, ?2, 'accepted', ?3, 0, '{}')")?
            .execute(params![event, id, at])?;
    }
    sweep(c, submission.submitted_at)
}

/// Forgets deliveries that were over long ago, some at a time.
fn sweep(c: &Connection, now: DateTime<Utc>) -> Result<(), OutboxError> {
    let before = (now - chrono::Duration::days(KEEP_DAYS)).timestamp_millis();
    let limit = i64::try_from(SWEEP_MAX).unwrap_or(i64::MAX);
    let sql = "SELECT delivery_id, submission_id FROM mail_deliveries \
               WHERE due_ms IS NULL AND status_at < ?1 ORDER BY status_at LIMIT ?2";
    let old: Vec<(Uuid, Uuid)> = c
        .prepare_cached(sql)?
        .query_map(params![before, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (delivery, submission) in old {
        c.prepare_cached("DELETE FROM mail_delivery_events WHERE delivery_id = ?1")?.execute([delivery])?;
        c.prepare_cached("DELETE FROM mail_deliveries WHERE delivery_id = ?1")?.execute([delivery])?;
        c.prepare_cached(
            "DELETE FROM mail_submissions WHERE submission_id = ?1 \
             AND NOT EXISTS (SELECT 1 FROM mail_deliveries d WHERE d.submission_id = ?1)",
        )?
        .execute([submission])?;
    }
    Ok(())
}

fn claim(
    c: &Connection,
    holder: &str,
    nonce: Uuid,
    now: i64,
    until: i64,
    busy: [Uuid; BUSY_MAX],
) -> Result<Option<Claimed>, OutboxError> {
    let sql = "UPDATE mail_deliveries SET attempts = attempts + 1, due_ms = ?1, nonce = ?2, holder = ?3 \
               WHERE delivery_id IN (SELECT delivery_id FROM mail_deliveries \
                 WHERE due_ms IS NOT NULL AND due_ms <= ?4 AND project NOT IN (?5, ?6, ?7, ?8) \
                 ORDER BY due_ms LIMIT 1) RETURNING delivery_id";
    let [a, b, d, e] = busy;
    let id: Option<Uuid> = c
        .prepare_cached(sql)?
        .query_row(params![until, nonce, holder, now, a, b, d, e], |row| row.get(0))
        .optional()?;
    id.map(|id| claimed(c, id, nonce)).transpose()
}

/// As many as the statement has places for; no project has the nil id.
fn left_out(busy: &[ProjectId]) -> [Uuid; BUSY_MAX] {
    let mut places = [Uuid::nil(); BUSY_MAX];
    for (place, project) in places.iter_mut().zip(busy) {
        *place = project.uuid();
    }
    places
}

fn claimed(c: &Connection, id: Uuid, nonce: Uuid) -> Result<Claimed, OutboxError> {
    type Parts = (Uuid, Uuid, Uuid, String, String, String, i64, i64, Option<Vec<u8>>);
    let sql = "SELECT s.submission_id, d.project, d.mailbox, s.sender, d.recipient, s.message_id, s.submitted_at, \
               d.attempts, s.message FROM mail_deliveries d JOIN mail_submissions s USING (submission_id) \
               WHERE d.delivery_id = ?1";
    let read = |row: &Row<'_>| -> rusqlite::Result<Parts> {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
            row.get(6)?,
            row.get(7)?,
            row.get(8)?,
        ))
    };
    let (submission, project, mailbox, sender, recipient, message_id, at, attempts, message) =
        c.prepare_cached(sql)?.query_row([id], read)?;
    Ok(Claimed {
        id,
        submission,
        mailbox: MailboxId::new(ProjectId::new(project), mailbox),
        sender: address(&sender)?,
        recipient: address(&recipient)?,
        message_id,
        submitted_at: time(at),
        attempt: count(attempts),
        message: message.unwrap_or_default().into(),
        nonce,
    })
}

fn settle(c: &Connection, claimed: &Claimed, attempt: &Attempt) -> Result<bool, OutboxError> {
    let (status, at) = (attempt.outcome.status(), attempt.at.timestamp_millis());
    let due = match attempt.outcome {
        Outcome::Deferred(at) => Some(at.timestamp_millis()),
        Outcome::Delivered | Outcome::Failed => None,
    };
    let report = serde_json::to_string(&attempt.report)?;
    let sql = "UPDATE mail_deliveries SET status = ?3, status_at = ?4, due_ms = ?5, nonce = NULL, holder = NULL, \
               report = ?6 WHERE delivery_id = ?1 AND nonce = ?2";
    let changed = c.prepare_cached(sql)?.execute(params![
        claimed.id,
        claimed.nonce,
        status.as_str(),
        at,
        due,
        report
    ])?;
    if changed == 0 {
        return Ok(false);
    }
    c.prepare_cached("INSERT INTO mail_delivery_events VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![attempt.id, claimed.id, status.event_type(), at, claimed.attempt, report])?;
    c.prepare_cached(
        "UPDATE mail_submissions SET message = NULL WHERE submission_id = ?1 AND NOT EXISTS \
         (SELECT 1 FROM mail_deliveries d WHERE d.submission_id = ?1 AND d.due_ms IS NOT NULL)",
    )?
    .execute([claimed.submission])?;
    Ok(true)
}

const DELIVERY: &str = "SELECT d.delivery_id, d.submission_id, d.recipient, s.message_id, d.status, s.submitted_at, \
                        d.status_at, d.attempts, d.report \
                        FROM mail_deliveries d JOIN mail_submissions s USING (submission_id)";

fn delivery(row: &Row<'_>) -> rusqlite::Result<(Delivery, String, String)> {
    let (status, report): (String, String) = (row.get(4)?, row.get(8)?);
    let delivery = Delivery {
        id: row.get(0)?,
        submission_id: row.get(1)?,
        recipient: row.get(2)?,
        message_id: row.get(3)?,
        status: Status::Accepted,
        submitted_at: time(row.get(5)?),
        status_at: time(row.get(6)?),
        attempt_count: count(row.get(7)?),
        report: super::Report::default(),
    };
    Ok((delivery, status, report))
}

fn whole((mut delivery, status, report): (Delivery, String, String)) -> Result<Delivery, OutboxError> {
    delivery.status = status.parse().map_err(OutboxError::Row)?;
    delivery.report = serde_json::from_str(&report)?;
    Ok(delivery)
}

fn deliveries(c: &Connection, mailbox: MailboxId, query: &Query) -> Result<Page<Delivery>, OutboxError> {
    let mut clause = " WHERE d.project = ? AND d.mailbox = ?".to_owned();
    let blob = |uuid: Uuid| Value::Blob(uuid.as_bytes().to_vec());
    let mut values = vec![blob(mailbox.project().uuid()), blob(mailbox.uuid())];
    let filters = [
        (" AND d.status = ?", query.status.map(|status| status.to_string())),
        (" AND d.recipient = ? COLLATE NOCASE", query.recipient.clone()),
        (" AND s.message_id = ?", query.message_id.clone()),
    ];
    for (sql, value) in filters {
        if let Some(value) = value {
            clause.push_str(sql);
            values.push(Value::Text(value));
        }
    }
    let counted = format!(
        "SELECT count(*) FROM mail_deliveries d JOIN mail_submissions s USING (submission_id){clause}"
    );
    let total: i64 =
        c.prepare_cached(&counted)?.query_row(params_from_iter(values.iter()), |row| row.get(0))?;
    let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    values.extend([number(query.count.min(PAGE_MAX)), number(query.offset)]);
    let sql = format!("{DELIVERY}{clause} ORDER BY d.delivery_id DESC LIMIT ? OFFSET ?");
    let rows: Vec<_> = c
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values.iter()), delivery)?
        .collect::<Result<_, _>>()?;
    let items = rows.into_iter().map(whole).collect::<Result<_, _>>()?;
    Ok(Page { items, total: total.unsigned_abs() })
}

fn events(c: &Connection, id: Uuid, offset: usize, limit: usize) -> Result<Page<DeliveryEvent>, OutboxError> {
    let sql = "SELECT count(*) FROM mail_delivery_events WHERE delivery_id = ?1";
    let total: i64 = c.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let sql = "SELECT event_id, event_type, occurred_at, attempt, report FROM mail_delivery_events \
               WHERE delivery_id = ?1 ORDER BY event_id LIMIT ?2 OFFSET ?3";
    let read = |row: &Row<'_>| {
        let event = DeliveryEvent {
            id: row.get(0)?,
            delivery_id: id,
            event_type: row.get(1)?,
            occurred_at: time(row.get(2)?),
            attempt: count(row.get(3)?),
            report: super::Report::default(),
        };
        Ok((event, row.get::<_, String>(4)?))
    };
    let rows: Vec<(DeliveryEvent, String)> = c
        .prepare_cached(sql)?
        .query_map(params![id, number(limit.min(PAGE_MAX)), number(offset)], read)?
        .collect::<Result<_, _>>()?;
    let whole = |(event, report): (DeliveryEvent, String)| {
        Ok::<_, OutboxError>(DeliveryEvent { report: serde_json::from_str(&report)?, ..event })
    };
    Ok(Page { items: rows.into_iter().map(whole).collect::<Result<_, _>>()?, total: total.unsigned_abs() })
}

#[async_trait]
impl Outbox for SqliteOutbox {
    async fn submit(&self, submission: Submission) -> Result<(), OutboxError> {
        self.database.write(move |c| submit(c, &submission)).await
    }

    async fn claim(
        &self,
        holder: &str,
        until: DateTime<Utc>,
        busy: &[ProjectId],
    ) -> Result<Option<Claimed>, OutboxError> {
        let (holder, nonce, now) = (holder.to_owned(), self.ids.fresh(), self.now_ms());
        let busy = left_out(busy);
        self.database.write(move |c| claim(c, &holder, nonce, now, until.timestamp_millis(), busy)).await
    }

    async fn settle(&self, claimed: &Claimed, attempt: Attempt) -> Result<bool, OutboxError> {
        let claimed = claimed.clone();
        self.database.write(move |c| settle(c, &claimed, &attempt)).await
    }

    async fn resume(&self, holder: &str) -> Result<u64, OutboxError> {
        let (holder, now) = (holder.to_owned(), self.now_ms());
        let job = move |c: &Connection| {
            let sql = "UPDATE mail_deliveries SET due_ms = ?1, nonce = NULL, holder = NULL \
                       WHERE holder = ?2 AND due_ms IS NOT NULL";
            Ok(c.prepare_cached(sql)?.execute(params![now, holder])? as u64)
        };
        self.database.write(job).await
    }

    async fn next_due(&self, busy: &[ProjectId]) -> Result<Option<DateTime<Utc>>, OutboxError> {
        let sql = "SELECT min(due_ms) FROM mail_deliveries \
                   WHERE due_ms IS NOT NULL AND project NOT IN (?1, ?2, ?3, ?4)";
        let busy = left_out(busy);
        let job = move |c: &Connection| Ok(c.prepare_cached(sql)?.query_row(busy, |row| row.get(0))?);
        let due: Option<i64> = self.database.read::<_, OutboxError, _>(job).await?;
        Ok(due.map(time))
    }

    async fn deliveries(&self, mailbox: MailboxId, query: Query) -> Result<Page<Delivery>, OutboxError> {
        self.database.read(move |c| deliveries(c, mailbox, &query)).await
    }

    async fn delivery(&self, mailbox: MailboxId, id: Uuid) -> Result<Option<Delivery>, OutboxError> {
        let job = move |c: &Connection| {
            let sql = format!("{DELIVERY} WHERE d.delivery_id = ?1 AND d.project = ?2 AND d.mailbox = ?3");
            let values = params![id, mailbox.project().uuid(), mailbox.uuid()];
            c.prepare_cached(&sql)?.query_row(values, delivery).optional()?.map(whole).transpose()
        };
        self.database.read(job).await
    }

    async fn events(
        &self,
        delivery: Uuid,
        offset: usize,
        count: usize,
    ) -> Result<Page<DeliveryEvent>, OutboxError> {
        self.database.read(move |c| events(c, delivery, offset, count)).await
    }
}

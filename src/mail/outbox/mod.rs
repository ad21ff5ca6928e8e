//! Mail that goes out: the port of the outbox and its adapters (SQLite, Postgres).
//!
//! What was submitted is on disk before its sender hears so. A delivery is claimed by one worker at a time; a claim
//! that its holder lets run out comes back. Every attempt is an event of its delivery.

mod postgres;
mod sqlite;
mod types;

pub use postgres::PostgresOutbox;
pub use sqlite::SqliteOutbox;
pub use types::{
    Attempt, Claimed, Delivery, DeliveryEvent, OutboxError, Outcome, Page, Query, Report, Status, Submission,
};

use crate::id::{MailboxId, ProjectId};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::fmt;
use uuid::Uuid;

/// Deliveries of one project that may wait at once.
pub const WAITING_MAX: u64 = 10_000;
/// Projects that a claim can leave out.
pub const BUSY_MAX: usize = 4;
/// Deliveries, or events, on one page.
pub const PAGE_MAX: usize = 1_000;
/// Days for which deliveries that are over can be looked up.
pub const KEEP_DAYS: i64 = 30;
/// Old deliveries that one submission sweeps away.
const SWEEP_MAX: usize = 200;

/// The durable outbox. A call that has returned is on disk.
#[async_trait]
pub trait Outbox: Send + Sync + fmt::Debug + 'static {
    /// Keeps a message with its recipients, all or none; [`OutboxError::Full`] where too many wait. A submission whose
    /// id is known changes nothing.
    async fn submit(&self, submission: Submission) -> Result<(), OutboxError>;

    /// Takes the delivery that is due first for `holder`, who has it until `until`. Those of the projects in `busy`, at
    /// most [`BUSY_MAX`], are left alone.
    async fn claim(
        &self,
        holder: &str,
        until: DateTime<Utc>,
        busy: &[ProjectId],
    ) -> Result<Option<Claimed>, OutboxError>;

    /// Records what came of an attempt. False: the claim was over, and somebody else has the delivery.
    async fn settle(&self, claimed: &Claimed, attempt: Attempt) -> Result<bool, OutboxError>;

    /// Gives up the claims of a holder that ended without settling them. Number of deliveries.
    async fn resume(&self, holder: &str) -> Result<u64, OutboxError>;

    /// When the next delivery is due, but for those of the projects in `busy`.
    async fn next_due(&self, busy: &[ProjectId]) -> Result<Option<DateTime<Utc>>, OutboxError>;

    /// Deliveries of a mailbox, newest first, and how many there are.
    async fn deliveries(&self, mailbox: MailboxId, query: Query) -> Result<Page<Delivery>, OutboxError>;

    /// One delivery of a mailbox.
    async fn delivery(&self, mailbox: MailboxId, id: Uuid) -> Result<Option<Delivery>, OutboxError>;

    /// Events of a delivery, oldest first, and how many there are.
    async fn events(
        &self,
        delivery: Uuid,
        offset: usize,
        count: usize,
    ) -> Result<Page<DeliveryEvent>, OutboxError>;
}

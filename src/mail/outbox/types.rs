//! Submissions, deliveries, reports and errors of the outbox.

use crate::id::MailboxId;
use crate::mail::Address;
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

/// One message on its way out.
#[derive(Clone, Debug)]
pub struct Submission {
    pub id: Uuid,
    /// The mailbox that sends it; reports go back there.
    pub mailbox: MailboxId,
    pub sender: Address,
    pub message_id: String,
    pub submitted_at: DateTime<Utc>,
    pub message: Arc<[u8]>,
    /// Identifier of the delivery, of its first event, and whom it is for.
    pub recipients: Vec<(Uuid, Uuid, Address)>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Accepted,
    Deferred,
    Delivered,
    Failed,
}

impl Status {
    const ALL: [Self; 4] = [Self::Accepted, Self::Deferred, Self::Delivered, Self::Failed];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The event that leads here.
    #[must_use]
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "temporary_failed",
            Self::Delivered => "delivered",
            Self::Failed => "permanent_failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no status; there are accepted, deferred, delivered and failed")
        })
    }
}

/// What is known of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp_code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced_smtp_code: Option<String>,
    /// One word or two: `unknown-domain`, `refused`, `unreachable`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the other server, or this one, said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The server that was spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mx_host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_verified: Option<bool>,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// To be tried again then.
    Deferred(DateTime<Utc>),
    Failed,
}

impl Outcome {
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Delivered => Status::Delivered,
            Self::Deferred(_) => Status::Deferred,
            Self::Failed => Status::Failed,
        }
    }
}

/// An attempt, to be recorded.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Identifier of its event.
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub outcome: Outcome,
    pub report: Report,
}

/// A delivery that one worker has for itself.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub submission: Uuid,
    pub mailbox: MailboxId,
    pub sender: Address,
    pub recipient: Address,
    pub message_id: String,
    pub submitted_at: DateTime<Utc>,
    /// 1 for the first.
    pub attempt: u32,
    pub message: Arc<[u8]>,
    pub(super) nonce: Uuid,
}

/// A delivery as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    pub id: Uuid,
    pub submission_id: Uuid,
    pub recipient: String,
    pub message_id: String,
    pub status: Status,
    pub submitted_at: DateTime<Utc>,
    pub status_at: DateTime<Utc>,
    pub attempt_count: u32,
    #[serde(flatten)]
    pub report: Report,
}

/// One thing that happened to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryEvent {
    pub id: Uuid,
    pub delivery_id: Uuid,
    pub event_type: String,
    pub occurred_at: DateTime<Utc>,
    /// 0 for the acceptance.
    pub attempt: u32,
    pub report: Report,
}

/// Which deliveries.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub status: Option<Status>,
    pub recipient: Option<String>,
    pub message_id: Option<String>,
    pub offset: usize,
    pub count: usize,
}

/// Some of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
}

/// Why the outbox did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    #[error("{limit} deliveries of this project wait already; try again when some have gone out")]
    Full { limit: u64 },
    #[error("a row of the outbox cannot be read: {0}")]
    Row(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for OutboxError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<serde_json::Error> for OutboxError {
    fn from(error: serde_json::Error) -> Self {
        Self::Row(error.to_string())
    }
}

pub(super) fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

pub(super) fn address(text: &str) -> Result<Address, OutboxError> {
    text.parse().map_err(|error: crate::mail::InvalidAddress| OutboxError::Row(error.to_string()))
}

pub(super) fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

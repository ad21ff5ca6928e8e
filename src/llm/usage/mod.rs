//! What models were used for whom: sums by hour, in the server's database. Not facts of the log: they are many, and
//! only their sums matter.
//!
//! [`Ledger`] gathers what is used and writes it in batches; [`UsageStore`] is where. Rows older than
//! [`KEPT_DAYS`] are forgotten.

mod ledger;
mod memory;
mod postgres;
mod sqlite;

pub use ledger::{Ledger, WAITING_MAX};
pub use memory::MemoryUsage;
pub use postgres::PostgresUsage;
pub use sqlite::SqliteUsage;

use super::{Provider, Tokens};
use crate::id::ProjectId;
use crate::store::StoreError;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use uuid::Uuid;

/// Days for which sums are kept.
pub const KEPT_DAYS: i64 = 400;
/// Length of the shortest span that is told apart.
pub const HOUR_MS: i64 = 60 * 60 * 1000;
/// Most rows that one question gets; more is an error.
pub const ROWS_MAX: usize = 20_000;
/// Billionths of a dollar in a dollar.
pub const NANOS_PER_DOLLAR: u64 = 1_000_000_000;

/// Who used which model for what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Account {
    pub project: ProjectId,
    /// Start of the hour, milliseconds since 1970.
    pub hour_ms: i64,
    pub provider: Provider,
    /// As the request named it; empty where it named none.
    pub model: String,
    /// Empty outside of rooms.
    pub room: String,
    /// Name of the participant or of the service account.
    pub user: String,
    /// The delegation that was spent of.
    pub delegation: Option<Uuid>,
    pub annotations: BTreeMap<String, String>,
}

/// How much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    pub requests: u64,
    /// Of these: their tokens are a guess, because the provider did not tell.
    pub estimated: u64,
    pub tokens: Tokens,
    /// Billionths of a dollar, for what had a price.
    pub cost_nanos: u64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.requests, other.requests);
        add(&mut self.estimated, other.estimated);
        add(&mut self.tokens.input, other.tokens.input);
        add(&mut self.tokens.cached, other.tokens.cached);
        add(&mut self.tokens.cache_write, other.tokens.cache_write);
        add(&mut self.tokens.output, other.tokens.output);
        add(&mut self.tokens.reasoning, other.tokens.reasoning);
        add(&mut self.cost_nanos, other.cost_nanos);
    }
}

impl Sums {
    /// Tokens read and made.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.tokens.input.saturating_add(self.tokens.output)
    }

    /// In the order of the columns.
    fn columns(&self) -> [i64; 8] {
        let t = &self.tokens;
        [
            self.requests,
            self.estimated,
            t.input,
            t.cached,
            t.cache_write,
            t.output,
            t.reasoning,
            self.cost_nanos,
        ]
        .map(|n| i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn of_columns(columns: [i64; 8]) -> Self {
        let [requests, estimated, input, cached, cache_write, output, reasoning, cost_nanos] =
            columns.map(|n| u64::try_from(n).unwrap_or_default());
        Self {
            requests,
            estimated,
            tokens: Tokens { input, cached, cache_write, output, reasoning },
            cost_nanos,
        }
    }
}

/// Which rows; `None` means all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Filter {
    pub project: ProjectId,
    /// Hours that begin at or after this.
    pub from_ms: i64,
    /// Hours that begin before this.
    pub to_ms: i64,
    pub provider: Option<Provider>,
    /// Exactly, or with a closing `*` what begins so.
    pub model: Option<String>,
    pub room: Option<String>,
    pub user: Option<String>,
    pub delegation: Option<Uuid>,
}

impl Filter {
    /// Everything of a project.
    #[must_use]
    pub const fn all(project: ProjectId) -> Self {
        Self {
            project,
            from_ms: i64::MIN,
            to_ms: i64::MAX,
            provider: None,
            model: None,
            room: None,
            user: None,
            delegation: None,
        }
    }

    #[must_use]
    pub fn takes(&self, account: &Account) -> bool {
        let same = |want: &Option<String>, is: &str| want.as_deref().is_none_or(|want| want == is);
        let model = self.model.as_deref().is_none_or(|want| match want.strip_suffix('*') {
            Some(begin) => account.model.starts_with(begin),
            None => want == account.model,
        });
        account.project == self.project
            && (self.from_ms..self.to_ms).contains(&account.hour_ms)
            && self.provider.is_none_or(|want| want == account.provider)
            && model
            && same(&self.room, &account.room)
            && same(&self.user, &account.user)
            && (self.delegation.is_none() || self.delegation == account.delegation)
    }

    /// Exact model, and beginning of the model, each empty where it is not asked for.
    fn model_columns(&self) -> (Option<String>, String) {
        match self.model.as_deref() {
            None => (None, String::new()),
            Some(text) => match text.strip_suffix('*') {
                Some(begin) => (None, begin.to_owned()),
                None => (Some(text.to_owned()), String::new()),
            },
        }
    }
}

/// Why usage is not known.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("the usage of models cannot be read or kept now: {0}")]
    Store(#[from] StoreError),
    #[error(
        "there are more than {ROWS_MAX} rows of usage; ask for a shorter time, or for one room, model or user"
    )]
    Many,
}

impl From<rusqlite::Error> for UsageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Where the sums are. All servers on one store add to the same.
#[async_trait]
pub trait UsageStore: Send + Sync + fmt::Debug + 'static {
    /// Adds to the sums, all or nothing.
    async fn add(&self, rows: Vec<(Account, Sums)>) -> Result<(), UsageError>;

    /// Rows in order of account, with hours put together to spans of `span_ms`.
    async fn rows(&self, filter: &Filter, span_ms: i64) -> Result<Vec<(Account, Sums)>, UsageError>;

    /// What all rows come to.
    async fn sum(&self, filter: &Filter) -> Result<Sums, UsageError>;

    /// Forgets hours that began before; says how many rows went.
    async fn forget(&self, before_ms: i64) -> Result<u64, UsageError>;
}

/// The start of an hour.
#[must_use]
pub fn hour_ms(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis().div_euclid(HOUR_MS) * HOUR_MS
}

/// How annotations stand in a column.
fn annotations_text(annotations: &BTreeMap<String, String>) -> String {
    serde_json::to_string(annotations).unwrap_or_default()
}

/// A row as databases tell it, without its sums.
struct Columns {
    span_start_ms: i64,
    provider: String,
    model: String,
    room: String,
    user: String,
    delegation: String,
    annotations: String,
}

impl Columns {
    fn account(self, project: ProjectId) -> Account {
        Account {
            project,
            hour_ms: self.span_start_ms,
            provider: Provider::named(&self.provider).unwrap_or(Provider::OpenAi),
            model: self.model,
            room: self.room,
            user: self.user,
            delegation: Uuid::parse_str(&self.delegation).ok(),
            annotations: serde_json::from_str(&self.annotations).unwrap_or_default(),
        }
    }
}

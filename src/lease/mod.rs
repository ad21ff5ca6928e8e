//! Leases: which one server does a thing (hosts a room, runs a controller) until when.
//!
//! Whoever acquires one gets a higher epoch, for ever, also the server that had it before it was killed: whoever acts under
//! an older epoch can be told and refused (fencing). Times are the database's where there is one. Knows nothing of what a lease is for.

mod memory;
mod postgres;
mod sqlite;

pub use memory::MemoryLeases;
pub use postgres::PostgresLeases;
pub use sqlite::SqliteLeases;

use crate::store::StoreError;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::fmt;
use std::time::Duration;

/// Shortest and longest time to live.
pub const TTL: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);

/// A lease that is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// What is leased, such as `room/<uuid>`.
    pub name: String,
    /// Who holds it: the name of a server, the same for every run of it.
    pub holder: String,
    /// Where other servers reach the holder.
    pub url: String,
    /// Grows with every change of holder.
    pub epoch: u64,
    pub until: DateTime<Utc>,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("`{}` is held by `{}` at {} until {}; go there, or try again after that time", .0.name, .0.holder, .0.url, .0.until)]
    Held(Lease),
    #[error("the lease of `{name}` with epoch {epoch} is over; stop acting for it and acquire it anew")]
    Lost { name: String, epoch: u64 },
    #[error("cannot reach the lease of `{name}`: {error}")]
    Store { name: String, error: StoreError },
}

/// The leases of all servers on one store.
#[async_trait]
pub trait LeaseStore: Send + Sync + fmt::Debug + 'static {
    /// Takes the lease if it is free, run out, or the holder's own, with a higher epoch, for `ttl` from now. [`LeaseError::Held`] says who has it. `ttl` is clamped to [`TTL`].
    async fn acquire(&self, name: &str, holder: &str, url: &str, ttl: Duration) -> Result<Lease, LeaseError>;

    /// Moves the end to `ttl` from now. [`LeaseError::Lost`] when it ran out or somebody else has it.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError>;

    /// Gives it up; nothing happens when it is over already.
    async fn release(&self, lease: &Lease) -> Result<(), LeaseError>;

    /// Who has it now.
    async fn current(&self, name: &str) -> Result<Option<Lease>, LeaseError>;

    /// Those in force whose names begin so, by name, at most `max`. `prefix` is plain text.
    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<Lease>, LeaseError>;
}

/// A time to live within [`TTL`], as chrono counts it.
fn clamp_ttl(ttl: Duration) -> chrono::Duration {
    chrono::Duration::from_std(ttl.clamp(*TTL.start(), *TTL.end())).unwrap_or(chrono::Duration::hours(24))
}

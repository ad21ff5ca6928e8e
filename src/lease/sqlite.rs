//! Leases in the server's SQLite database. One server alone uses it, so its clock is the only one.

use super::{Lease, LeaseError, LeaseStore, clamp_ttl};
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::sqlite::Sqlite;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Leases in SQLite.
pub struct SqliteLeases {
    database: Arc<Sqlite>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for SqliteLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLeases").finish_non_exhaustive()
    }
}

impl SqliteLeases {
    #[must_use]
    pub fn new(database: Arc<Sqlite>, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// Moves the end of a lease that is in force; false when it is not.
    async fn move_end(&self, lease: &Lease, until: DateTime<Utc>) -> Result<bool, LeaseError> {
        let (own, now) = (lease.clone(), self.clock.now());
        let moved = self.database.write(move |c| {
            let sql = "UPDATE leases SET until_ms = ?4 WHERE name = ?1 AND holder = ?2 AND epoch = ?3 AND until_ms > ?5";
            let epoch = i64::try_from(own.epoch).unwrap_or(i64::MAX);
            let values = params![own.name, own.holder, epoch, until.timestamp_millis(), now.timestamp_millis()];
            Ok(c.prepare_cached(sql)?.execute(values)? == 1)
        });
        moved.await.map_err(|error: StoreError| LeaseError::Store { name: lease.name.clone(), error })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease {
        name: row.get(0)?,
        holder: row.get(1)?,
        url: row.get(2)?,
        epoch: row.get::<_, i64>(3)?.unsigned_abs(),
        until: DateTime::from_timestamp_millis(row.get(4)?).unwrap_or_default(),
    })
}

fn find(c: &Connection, name: &str) -> Result<Option<Lease>, StoreError> {
    let sql = "SELECT name, holder, url, epoch, until_ms FROM leases WHERE name = ?1";
    Ok(c.prepare_cached(sql)?.query_row([name], read).optional()?)
}

fn begin_with(
    c: &Connection,
    prefix: &str,
    now: DateTime<Utc>,
    max: usize,
) -> Result<Vec<Lease>, StoreError> {
    let sql = "SELECT name, holder, url, epoch, until_ms FROM leases \
               WHERE substr(name, 1, length(?1)) = ?1 AND until_ms > ?2 ORDER BY name LIMIT ?3";
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map(params![prefix, now.timestamp_millis(), max], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// `Err` inside is the lease of somebody else.
fn acquire(c: &Connection, mut lease: Lease, now: DateTime<Utc>) -> Result<Result<Lease, Lease>, StoreError> {
    match find(c, &lease.name)? {
        Some(held) if held.until > now && held.holder != lease.holder => return Ok(Err(held)),
        over => lease.epoch = over.map_or(0, |lease| lease.epoch) + 1,
    }
    let sql =
        "INSERT OR REPLACE INTO leases (name, holder, url, epoch, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    let epoch = i64::try_from(lease.epoch).unwrap_or(i64::MAX);
    let values = params![lease.name, lease.holder, lease.url, epoch, lease.until.timestamp_millis()];
    c.prepare_cached(sql)?.execute(values)?;
    Ok(Ok(lease))
}

#[async_trait]
impl LeaseStore for SqliteLeases {
    async fn acquire(&self, name: &str, holder: &str, url: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        let now = self.clock.now();
        let (name, holder, url) = (name.to_owned(), holder.to_owned(), url.to_owned());
        let wanted = Lease { name: name.clone(), holder, url, epoch: 0, until: now + clamp_ttl(ttl) };
        let acquired = self.database.write(move |c| acquire(c, wanted, now)).await;
        acquired.map_err(|error| LeaseError::Store { name, error })?.map_err(LeaseError::Held)
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        let until = self.clock.now() + clamp_ttl(ttl);
        if self.move_end(lease, until).await? {
            return Ok(Lease { until, ..lease.clone() });
        }
        Err(LeaseError::Lost { name: lease.name.clone(), epoch: lease.epoch })
    }

    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.move_end(lease, self.clock.now()).await.map(drop)
    }

    async fn current(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        let (own, now) = (name.to_owned(), self.clock.now());
        let found = self.database.read(move |c| find(c, &own)).await;
        let found = found.map_err(|error: StoreError| LeaseError::Store { name: name.to_owned(), error })?;
        Ok(found.filter(|lease| lease.until > now))
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<Lease>, LeaseError> {
        let (own, now) = (prefix.to_owned(), self.clock.now());
        let found = self.database.read(move |c| begin_with(c, &own, now, max)).await;
        found.map_err(|error: StoreError| LeaseError::Store { name: prefix.to_owned(), error })
    }
}

//! Leases in Postgres: one statement each, on the database's own time, so that servers' clocks do not matter.

use super::{Lease, LeaseError, LeaseStore, clamp_ttl};
use crate::store::StoreError;
use crate::store::postgres::Postgres;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Tries to learn who holds a lease that changes hands just now.
const ACQUIRE_TRIES: u32 = 4;

/// Leases in Postgres.
#[derive(Debug)]
pub struct PostgresLeases {
    store: Arc<Postgres>,
}

fn lease(row: &Row) -> Lease {
    Lease {
        name: row.get(0),
        holder: row.get(1),
        url: row.get(2),
        epoch: row.get::<_, i64>(3).unsigned_abs(),
        until: row.get(4),
    }
}

fn epoch(lease: &Lease) -> i64 {
    i64::try_from(lease.epoch).unwrap_or(i64::MAX)
}

fn millis(ttl: Duration) -> f64 {
    clamp_ttl(ttl).to_std().unwrap_or_default().as_secs_f64() * 1000.0
}

impl PostgresLeases {
    #[must_use]
    pub fn new(store: Arc<Postgres>) -> Self {
        Self { store }
    }

    async fn one(
        &self,
        name: &str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Lease>, LeaseError> {
        let work = async {
            let client = self.store.client().await?;
            let failed = |error| self.store.error(&error);
            let statement = client.prepare_cached(sql).await.map_err(failed)?;
            client.query_opt(&statement, params).await.map_err(failed)
        };
        let row =
            work.await.map_err(|error: StoreError| LeaseError::Store { name: name.to_owned(), error })?;
        Ok(row.as_ref().map(lease))
    }
}

#[async_trait]
impl LeaseStore for PostgresLeases {
    async fn acquire(&self, name: &str, holder: &str, url: &str, ttl: Duration) -> Result<Lease, LeaseError> {
        let sql = "INSERT INTO leases AS l (name, holder, url, epoch, until_at) \
                   VALUES ($1, $2, $3, 1, clock_timestamp() + $4::float8 * interval '1 millisecond') \
                   ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, url = EXCLUDED.url, \
                     epoch = l.epoch + 1, until_at = EXCLUDED.until_at \
                   WHERE l.until_at <= clock_timestamp() OR l.holder = EXCLUDED.holder \
                   RETURNING name, holder, url, epoch, until_at";
        for _ in 0..ACQUIRE_TRIES {
            if let Some(lease) = self.one(name, sql, &[&name, &holder, &url, &millis(ttl)]).await? {
                return Ok(lease);
            }
            if let Some(held) = self.current(name).await? {
                return Err(LeaseError::Held(held));
            }
        }
        let reason = "it changes hands all the time; retry".to_owned();
        let error = StoreError::Unavailable { place: self.store.place().to_owned(), reason };
        Err(LeaseError::Store { name: name.to_owned(), error })
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, LeaseError> {
        let sql = "UPDATE leases SET until_at = clock_timestamp() + $4::float8 * interval '1 millisecond' \
                   WHERE name = $1 AND holder = $2 AND epoch = $3 AND until_at > clock_timestamp() \
                   RETURNING name, holder, url, epoch, until_at";
        let params: [&(dyn ToSql + Sync); 4] = [&lease.name, &lease.holder, &epoch(lease), &millis(ttl)];
        let lost = || LeaseError::Lost { name: lease.name.clone(), epoch: lease.epoch };
        self.one(&lease.name, sql, &params).await?.ok_or_else(lost)
    }

    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        let sql = "UPDATE leases SET until_at = clock_timestamp() \
                   WHERE name = $1 AND holder = $2 AND epoch = $3 AND until_at > clock_timestamp() \
                   RETURNING name, holder, url, epoch, until_at";
        self.one(&lease.name, sql, &[&lease.name, &lease.holder, &epoch(lease)]).await.map(drop)
    }

    async fn current(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        let sql = "SELECT name, holder, url, epoch, until_at FROM leases WHERE name = $1 AND until_at > clock_timestamp()";
        self.one(name, sql, &[&name]).await
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<Lease>, LeaseError> {
        let sql = "SELECT name, holder, url, epoch, until_at FROM leases \
                   WHERE starts_with(name, $1) AND until_at > clock_timestamp() ORDER BY name LIMIT $2";
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let work = async {
            let client = self.store.client().await?;
            let failed = |error| self.store.error(&error);
            let statement = client.prepare_cached(sql).await.map_err(failed)?;
            client.query(&statement, &[&prefix, &max]).await.map_err(failed)
        };
        let rows =
            work.await.map_err(|error: StoreError| LeaseError::Store { name: prefix.to_owned(), error })?;
        Ok(rows.iter().map(lease).collect())
    }
}

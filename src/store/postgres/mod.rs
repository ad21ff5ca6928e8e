//! Postgres: a bounded pool of connections, the schema brought up to date under a lock, and one connection that hears
//! notifications.
//!
//! Knows connections, durability and migrations. It may not know what the tables hold.

mod listen;
mod schema;

pub use listen::{NOTICE_CHANNELS, Notice};

use super::StoreError;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use std::error::Error as _;
use std::fmt;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};

/// Most connections of one server, besides the one that listens.
const CONNECTIONS_MAX: usize = 16;
/// Longest wait for a free connection.
const POOL_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for a new connection, unless the URL says otherwise (`connect_timeout`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Every statement of ours is served by an index. Postgres keeps the plan of a prepared statement, and one that was
/// made while a table was tiny would go on reading the whole of it, until the table is analysed.
const SETTINGS: &str = "SET enable_seqscan = off";
/// A peer that is silently gone is noticed after about this.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Probes before a silent peer is given up.
const KEEPALIVE_PROBES: u32 = 2;

/// An open database. Every store of the server shares one.
pub struct Postgres {
    place: String,
    pool: Pool,
    notices: broadcast::Sender<Notice>,
    listener: AbortHandle,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects, checks that acknowledged writes are durable, and brings the schema up to date.
    ///
    /// `url` is `postgres://user:password@host:port/database?…` or `host=… dbname=…`; its password is in no error.
    /// Refused when the server cannot be reached, does not promise durability, or holds the data of a newer version.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let unreadable = |_| StoreError::Open {
            place: "postgres".to_owned(),
            reason: "the database URL cannot be read; write postgres://user@host:5432/database".to_owned(),
        };
        let mut config: Config = url.parse().map_err(unreadable)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("meshagent");
        }
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(KEEPALIVE_PROBES);
        let place = place(&config);
        let open = |reason: String| StoreError::Open { place: place.clone(), reason };
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config.clone(), NoTls, manager))
            .max_size(CONNECTIONS_MAX)
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(SETTINGS).await.map_err(HookError::Backend) })
            }))
            .wait_timeout(Some(POOL_WAIT))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|e| open(e.to_string()))?;
        let mut client = pool.get().await.map_err(|e| open(unreachable(&e)))?;
        schema::assert_durable(&client).await.map_err(|e| open(explain(&e)))?.map_err(open)?;
        schema::migrate(&mut client, &place).await?;
        drop(client);
        let (notices, listener) =
            listen::start(config, place.clone()).await.map_err(|e| open(explain(&e)))?;
        Ok(Self { place, pool, notices, listener })
    }

    /// Host and database, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A connection of the pool; it goes back when dropped. Use `prepare_cached`, and run every transaction to its
    /// end: a dropped one is rolled back.
    pub async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => self.unavailable(format!(
                "all {CONNECTIONS_MAX} connections were busy for {} s; retry",
                POOL_WAIT.as_secs()
            )),
            other => self.unavailable(unreachable(&other)),
        })
    }

    /// What other servers (and this one) said on [`NOTICE_CHANNELS`]. Notices only wake: some are lost while the
    /// connection is down, which [`Notice::Resumed`] tells; a receiver that lags must look for itself, too.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// What a failed statement means.
    pub fn error(&self, error: &tokio_postgres::Error) -> StoreError {
        statement_error(&self.place, error)
    }

    fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable { place: self.place.clone(), reason }
    }

    /// Closes all connections. Later calls are refused.
    pub fn close(&self) {
        self.listener.abort();
        self.pool.close();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.close();
    }
}

fn unreachable(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => explain(error),
        PoolError::Closed => "it was closed; start again".to_owned(),
        other => format!("{other}; retry"),
    }
}

/// The whole chain of causes, and what to look at.
fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(refused) = error.as_db_error() {
        return format!("{}; check user, password and database in the URL", refused.message());
    }
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}; check that Postgres runs there and that the URL is right")
}

fn statement_error(place: &str, error: &tokio_postgres::Error) -> StoreError {
    let place = place.to_owned();
    let Some(cause) = error.as_db_error() else {
        let lost =
            error.is_closed() || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        if lost {
            return StoreError::Unavailable { place, reason: "the connection was lost; retry".to_owned() };
        }
        return StoreError::Statement { place, reason: error.to_string() };
    };
    let reason = format!("{} ({})", cause.message(), cause.code().code());
    match cause.code().code() {
        "53100" => StoreError::Full { place },
        "XX001" | "XX002" => StoreError::Damaged { place, reason },
        // Connection, resources, operator intervention, read-only, serialisation, deadlock: may pass.
        code if ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class)) || code == "25006" => {
            StoreError::Unavailable { place, reason: format!("{reason}; retry") }
        }
        _ => StoreError::Statement { place, reason },
    }
}

fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().map(|port| format!(":{port}")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres {host}{port}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_server_is_named_without_its_password() {
        let error = Postgres::open("postgres://me:hunter2@127.0.0.1:1/mesh").await.unwrap_err().to_string();
        assert!(
            error.contains("postgres 127.0.0.1:1/mesh") && error.contains("check that Postgres runs"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
        let error = Postgres::open("postgres//hunter2").await.unwrap_err().to_string();
        assert!(error.contains("write postgres://") && !error.contains("hunter2"), "{error}");
    }
}

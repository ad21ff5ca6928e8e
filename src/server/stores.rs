//! The ports on the store that the operator chose.

use super::memory::MemoryStore;
use super::options::Options;
use super::start::StartError;
use crate::clock::{Clock, IdSource};
use crate::dataset::SqliteDatasets;
use crate::eventlog::EventLog;
use crate::eventlog::postgres::PostgresLog;
use crate::eventlog::sqlite::SqliteLog;
use crate::feed::{Feeds, PostgresFeeds, SqliteFeeds};
use crate::lease::{LeaseStore, PostgresLeases, SqliteLeases};
use crate::llm::usage::{PostgresUsage, SqliteUsage, UsageStore};
use crate::mail::outbox::{Outbox, PostgresOutbox, SqliteOutbox};
use crate::queue::{Limits, PostgresQueues, QueueStore, SqliteQueues};
use crate::sqlite_db::SqliteDatabases;
use crate::store::postgres::Postgres;
use crate::store::sqlite::Sqlite;
use crate::vault::{PostgresSecrets, SecretStore, SqliteSecrets};
use crate::volume::Volume;
use std::sync::Arc;
use std::time::Duration;

/// A server that is alone on its store renews its leases this seldom.
const ALONE_TTL: Duration = Duration::from_hours(24);
/// Among several servers, a dead one's rooms are free after this long.
const SHARED_TTL: Duration = Duration::from_secs(15);

/// Everything durable.
pub(super) struct Stores {
    pub log: Arc<dyn EventLog>,
    pub queues: Arc<dyn QueueStore>,
    pub leases: Arc<dyn LeaseStore>,
    pub secrets: Arc<dyn SecretStore>,
    pub usage: Arc<dyn UsageStore>,
    pub outbox: Arc<dyn Outbox>,
    pub feeds: Arc<Feeds>,
    pub datasets: Arc<SqliteDatasets>,
    pub databases: Arc<SqliteDatabases>,
    pub memories: MemoryStore,
    pub lease_ttl: Duration,
    database: Database,
}

enum Database {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl Stores {
    pub async fn open(
        options: &Options,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn IdSource>,
    ) -> Result<Self, StartError> {
        match &options.database_url {
            None => Self::sqlite(options, clock, ids).await,
            Some(url) => Self::postgres(url, options, clock, ids).await,
        }
    }

    async fn sqlite(
        options: &Options,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn IdSource>,
    ) -> Result<Self, StartError> {
        let store = Arc::new(Sqlite::open(&options.data_dir)?);
        let log = SqliteLog::open(Arc::clone(&store), Arc::clone(clock)).await?;
        let limits = Limits::default();
        let queues =
            SqliteQueues::open(Arc::clone(&store), limits, Arc::clone(clock), Arc::clone(ids)).await?;
        Ok(Self {
            log: Arc::new(log),
            queues,
            leases: Arc::new(SqliteLeases::new(Arc::clone(&store), Arc::clone(clock))),
            secrets: Arc::new(SqliteSecrets::new(Arc::clone(&store))),
            usage: Arc::new(SqliteUsage::new(Arc::clone(&store))),
            outbox: Arc::new(SqliteOutbox::new(Arc::clone(&store), Arc::clone(clock), Arc::clone(ids))),
            feeds: Arc::new(Feeds::new(Arc::new(SqliteFeeds::new(Arc::clone(&store))), Arc::clone(clock))),
            datasets: datasets(options, clock, ids),
            databases: databases(options, clock, ids),
            memories: MemoryStore::new(options, clock, ids),
            lease_ttl: ALONE_TTL,
            database: Database::Sqlite(store),
        })
    }

    async fn postgres(
        url: &str,
        options: &Options,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn IdSource>,
    ) -> Result<Self, StartError> {
        let store = Arc::new(Postgres::open(url).await?);
        let log = PostgresLog::open(Arc::clone(&store), Arc::clone(clock)).await?;
        let queues = PostgresQueues::open(Arc::clone(&store), Limits::default(), Arc::clone(ids)).await?;
        Ok(Self {
            log: Arc::new(log),
            queues,
            leases: Arc::new(PostgresLeases::new(Arc::clone(&store))),
            secrets: Arc::new(PostgresSecrets::new(Arc::clone(&store))),
            usage: Arc::new(PostgresUsage::new(Arc::clone(&store))),
            outbox: Arc::new(PostgresOutbox::new(Arc::clone(&store), Arc::clone(clock), Arc::clone(ids))),
            feeds: Arc::new(Feeds::new(Arc::new(PostgresFeeds::new(Arc::clone(&store))), Arc::clone(clock))),
            datasets: datasets(options, clock, ids),
            databases: databases(options, clock, ids),
            memories: MemoryStore::new(options, clock, ids),
            lease_ttl: SHARED_TTL,
            database: Database::Postgres(store),
        })
    }

    /// Whether other servers may use the same database.
    pub fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// Writes out what is to be written and closes the store.
    pub async fn close(&self) {
        self.datasets.close().await;
        self.memories.close().await;
        match &self.database {
            Database::Sqlite(store) => store.close().await,
            Database::Postgres(store) => store.close(),
        }
    }
}

/// The datasets of all rooms, on their volume.
fn datasets(options: &Options, clock: &Arc<dyn Clock>, ids: &Arc<dyn IdSource>) -> Arc<SqliteDatasets> {
    let volume = Volume::new(options.shared_dir());
    Arc::new(SqliteDatasets::new(volume, Arc::clone(clock), Arc::clone(ids)))
}

/// The SQLite databases of all rooms, on their volume.
fn databases(options: &Options, clock: &Arc<dyn Clock>, ids: &Arc<dyn IdSource>) -> Arc<SqliteDatabases> {
    let volume = Volume::new(options.shared_dir());
    Arc::new(SqliteDatabases::new(volume, Arc::clone(clock), Arc::clone(ids)))
}

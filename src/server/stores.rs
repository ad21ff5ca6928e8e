//! The ports on the store that the operator chose.

use super::options::Options;
use super::start::StartError;
use crate::clock::{Clock, IdSource};
use crate::eventlog::EventLog;
use crate::eventlog::sqlite::SqliteLog;
use crate::lease::{LeaseStore, SqliteLeases};
use crate::queue::{Limits, QueueStore, SqliteQueues};
use crate::store::sqlite::Sqlite;
use crate::vault::{SecretStore, SqliteSecrets};
use std::sync::Arc;
use std::time::Duration;

/// A server that is alone on its store renews its leases this seldom.
const ALONE_TTL: Duration = Duration::from_hours(24);

/// Everything durable.
pub(super) struct Stores {
    pub log: Arc<dyn EventLog>,
    pub queues: Arc<dyn QueueStore>,
    pub leases: Arc<dyn LeaseStore>,
    pub secrets: Arc<dyn SecretStore>,
    pub lease_ttl: Duration,
    sqlite: Option<Arc<Sqlite>>,
}

impl Stores {
    pub async fn open(
        options: &Options,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn IdSource>,
    ) -> Result<Self, StartError> {
        match &options.database_url {
            None => Self::sqlite(options, clock, ids).await,
            Some(_) => Err(StartError::Option("`--database-url` is not in this build yet".to_owned())),
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
            lease_ttl: ALONE_TTL,
            sqlite: Some(store),
        })
    }

    /// Writes out what is to be written and closes the store.
    pub async fn close(&self) {
        if let Some(store) = &self.sqlite {
            store.close().await;
        }
    }
}

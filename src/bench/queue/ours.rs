//! Our queues under measurement.

use super::{Drained, Figure, Manner};
use crate::bench::BenchError;
use crate::bench::measure::Cpu;
use crate::clock::{IdSource as _, System};
use crate::id::{ProjectId, RoomId};
use crate::name::QueueName;
use crate::queue::{
    BATCH_MAX, Limits, NewItem, PostgresQueues, QueueError, QueueKey, QueueStore, SqliteQueues, lease_wait,
    take,
};
use crate::store::postgres::Postgres;
use crate::store::sqlite::Sqlite;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

const SQLITE: &str = "meshagent, SQLite";
pub(super) const POSTGRES: &str = "meshagent, Postgres";
/// Longer than a measurement.
const LEASE_MS: u64 = 600_000;

pub(super) struct Ours {
    name: &'static str,
    store: Arc<dyn QueueStore>,
    database: Option<Arc<Sqlite>>,
}

impl Ours {
    pub(super) async fn sqlite(dir: &Path) -> Result<Self, BenchError> {
        let database = Arc::new(Sqlite::open(dir).map_err(|error| failed(SQLITE, error))?);
        let (clock, ids) = (Arc::new(System), Arc::new(System));
        let store = SqliteQueues::open(Arc::clone(&database), Limits::default(), clock, ids).await;
        let store = store.map_err(|error| failed(SQLITE, error))?;
        Ok(Self { name: SQLITE, store, database: Some(database) })
    }

    pub(super) async fn postgres(store: Arc<Postgres>) -> Result<Self, BenchError> {
        let store = PostgresQueues::open(store, Limits::default(), Arc::new(System)).await;
        Ok(Self { name: POSTGRES, store: store.map_err(|error| failed(POSTGRES, error))?, database: None })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) async fn close(self) {
        drop(self.store);
        if let Some(database) = self.database {
            database.close().await;
        }
    }

    /// A queue that nobody has used.
    async fn fresh(&self) -> Result<QueueKey, BenchError> {
        let room = RoomId::new(ProjectId::PLATFORM, System.fresh());
        let name = QueueName::new("bench").map_err(|error| failed(self.name, error))?;
        let key = QueueKey::new(room, name);
        self.store.create(&key).await.map_err(|error| failed(self.name, error))?;
        Ok(key)
    }

    /// Fills a queue, then times its consumers until every item was acknowledged.
    pub(super) async fn drain(
        &self,
        manner: Manner,
        items: usize,
        bytes: usize,
    ) -> Result<Drained, BenchError> {
        let key = self.fresh().await?;
        let body = body(bytes);
        for begin in (0..items).step_by(BATCH_MAX) {
            let batch = vec![NewItem::new(body.clone()); BATCH_MAX.min(items - begin)];
            self.store.send_many(&key, batch, false).await.map_err(|error| failed(self.name, error))?;
        }
        let (begun, cpu) = (Instant::now(), Cpu::now());
        let mut consumers = JoinSet::new();
        for n in 0..manner.consumers {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            consumers
                .spawn(async move { consume(&*store, &key, &format!("consumer-{n}"), manner.batch).await });
        }
        let mut done = 0;
        while let Some(consumed) = consumers.join_next().await {
            let consumed = consumed.map_err(|error| failed(self.name, error))?;
            done += consumed.map_err(|error| failed(self.name, error))?;
        }
        let drained = Drained::new(items, begun.elapsed(), Cpu::now().since(cpu));
        if done != items {
            return Err(failed(self.name, format!("{items} items were sent and {done} consumed")));
        }
        self.store.delete_room(key.room).await.map_err(|error| failed(self.name, error))?;
        Ok(drained)
    }

    /// Times single items from their sending to their receiver, by removal and by lease.
    pub(super) async fn wake(
        &self,
        rounds: usize,
        bytes: usize,
        figure: &mut Figure,
    ) -> Result<(), BenchError> {
        let key = self.fresh().await?;
        let body = body(bytes);
        for round in 0..rounds {
            let (store, own) = (Arc::clone(&self.store), key.clone());
            let by_lease = round % 2 == 1;
            let receiver = tokio::spawn(async move {
                if by_lease {
                    let leased = lease_wait(&store, &own, "consumer", LEASE_MS, 1).await?;
                    let at = Instant::now();
                    for item in leased {
                        store.ack(&own, item.token).await?;
                    }
                    return Ok::<_, QueueError>(at);
                }
                let taken = take(&store, &own, true).await?;
                let at = Instant::now();
                taken.map(crate::queue::Taken::accept);
                Ok(at)
            });
            let begun = Instant::now();
            let sent = self.store.send(&key, NewItem::new(body.clone()), false).await;
            sent.map_err(|error| failed(self.name, error))?;
            let acknowledged = Instant::now();
            let started = receiver.await.map_err(|error| failed(self.name, error))?;
            let started = started.map_err(|error| failed(self.name, error))?;
            figure.wake(started - begun, Some(started.saturating_duration_since(acknowledged)));
        }
        self.store.delete_room(key.room).await.map_err(|error| failed(self.name, error))
    }
}

fn failed(name: &str, reason: impl Display) -> BenchError {
    BenchError::Failed { name: name.to_owned(), reason: reason.to_string() }
}

fn body(bytes: usize) -> String {
    format!("{{\"text\":\"{}\"}}", "x".repeat(bytes.saturating_sub(11)))
}

/// Until the queue is empty. Number of items.
async fn consume(
    store: &dyn QueueStore,
    key: &QueueKey,
    holder: &str,
    batch: usize,
) -> Result<usize, QueueError> {
    let mut done = 0;
    loop {
        let items = store.lease_many(key, holder, LEASE_MS, batch).await?;
        if items.is_empty() {
            return Ok(done);
        }
        let tokens: Vec<_> = items.iter().map(|item| item.token).collect();
        store.ack_many(key, &tokens).await?;
        done += items.len();
    }
}

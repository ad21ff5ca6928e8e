//! Keeps the newest [`World`]: opens it from snapshot and tail, follows the log, lets writers read their own writes.

use super::world::{ApplyError, World};
use crate::eventlog::{EventLog, Filter, LogError, Recorded, Snapshot};
use crate::id::Position;
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Name of the snapshot in the log's store.
pub const SNAPSHOT_NAME: &str = "world";
/// Events between two snapshots.
pub const SNAPSHOT_EVERY: u64 = 10_000;
/// Events read in one page.
pub const PAGE_EVENTS: usize = 2_000;

/// Why the projection cannot be opened or brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot read the event log: {0}")]
    Log(#[from] LogError),
    #[error("cannot fold the event log: {0}; `meshagent log verify` tells more")]
    Apply(#[from] ApplyError),
}

/// The live fold.
pub struct Projection {
    log: Arc<dyn EventLog>,
    world: ArcSwap<World>,
    advanced: watch::Sender<Position>,
    /// Held while the world is moved forward; guards the position of the last snapshot.
    advance: Mutex<Position>,
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projection").field("position", &self.world().position).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    world: World,
}

impl Projection {
    /// Opens from the newest usable snapshot and the tail after it.
    pub async fn open(log: Arc<dyn EventLog>) -> Result<Arc<Self>, OpenError> {
        let world = load(&*log).await?.unwrap_or_default();
        let from = world.position;
        let this = Arc::new(Self {
            log,
            advanced: watch::Sender::new(world.position),
            world: ArcSwap::from_pointee(world),
            advance: Mutex::new(from),
        });
        this.catch_up().await?;
        Ok(this)
    }

    /// The newest state. Cheap; hold it for one decision, not for longer.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Wakes whenever the world moved. A wake-up only: read [`Self::world`].
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Position> {
        self.advanced.subscribe()
    }

    /// Folds in all that the log has.
    pub async fn catch_up(&self) -> Result<(), OpenError> {
        let mut snapshot_at = self.advance.lock().await;
        self.pull(&mut snapshot_at).await
    }

    /// Folds in events just appended, reading the log only where others wrote in between.
    pub async fn absorb(&self, recorded: &[Recorded]) -> Result<(), OpenError> {
        let mut snapshot_at = self.advance.lock().await;
        let now = self.world.load_full();
        let fresh: Vec<&Recorded> = recorded.iter().filter(|r| r.position > now.position).collect();
        let contiguous = fresh.first().is_none_or(|r| r.position.0 == now.position.0 + 1);
        if !contiguous {
            return self.pull(&mut snapshot_at).await;
        }
        if !fresh.is_empty() {
            let mut next = World::clone(&now);
            for event in fresh {
                next.apply(event)?;
            }
            self.publish(next);
        }
        Ok(())
    }

    async fn pull(&self, snapshot_at: &mut Position) -> Result<(), OpenError> {
        loop {
            let now = self.world.load_full();
            let page = self.log.read(now.position, &Filter::default(), PAGE_EVENTS).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut next = World::clone(&now);
            for event in &page {
                next.apply(event)?;
            }
            let position = next.position;
            self.publish(next);
            if position.0 >= snapshot_at.0 + SNAPSHOT_EVERY && page.len() < PAGE_EVENTS {
                *snapshot_at = position;
                self.save().await;
            }
        }
    }

    fn publish(&self, next: World) {
        let position = next.position;
        self.world.store(Arc::new(next));
        self.advanced.send_replace(position);
    }

    /// Follows the log until it is dropped. Run once, as a task of the server.
    pub async fn follow(self: Arc<Self>) {
        let mut changes = self.log.changes();
        loop {
            if let Err(error) = self.catch_up().await {
                tracing::error!(%error, "the projection cannot follow the log");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes a snapshot now. A failed one costs only time at the next start.
    pub async fn save(&self) {
        let world = self.world();
        let position = world.position;
        let stored = Stored { version: World::VERSION, world: World::clone(&world) };
        let data = match serde_json::to_vec(&stored) {
            Ok(data) => data,
            Err(error) => return tracing::warn!(%error, "cannot write a snapshot"),
        };
        let snapshot = Snapshot { name: SNAPSHOT_NAME.to_owned(), format: World::VERSION, position, data };
        if let Err(error) = self.log.save_snapshot(snapshot).await {
            tracing::warn!(%error, "cannot store a snapshot");
        }
    }
}

/// The stored world, where there is one of this version that the log reaches.
async fn load(log: &dyn EventLog) -> Result<Option<World>, LogError> {
    let Some(snapshot) = log.load_snapshot(SNAPSHOT_NAME).await? else { return Ok(None) };
    let read = (snapshot.format == World::VERSION)
        .then(|| serde_json::from_slice::<Stored>(&snapshot.data).ok())
        .flatten()
        .filter(|s| s.version == World::VERSION && s.world.position == snapshot.position);
    match read {
        Some(stored) if stored.world.position <= log.head().await? => Ok(Some(stored.world)),
        _ => {
            tracing::info!("a snapshot of another version was discarded; replaying the log");
            log.delete_snapshot(SNAPSHOT_NAME).await?;
            Ok(None)
        }
    }
}

//! Waking across servers: what this one changed is told in one statement per burst, what others tell calls the line.
//!
//! The telling comes after the commit, because a `NOTIFY` within it would make all commits of the database wait for
//! one another. A server that dies in between told nobody; but then its sender got no answer either, and the repeat
//! of the send wakes, also where the item turns out to be there already.

use crate::id::{ProjectId, RoomId};
use crate::name::QueueName;
use crate::queue::{Line, QueueKey};
use crate::store::postgres::{Notice, Postgres};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use uuid::Uuid;

pub(super) const CHANNEL: &str = "meshagent_queue";
/// Pause after a telling that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Tellings in one statement.
const TELL_MAX: usize = 500;

/// The payload of a notification.
#[derive(Serialize, Deserialize)]
struct Told {
    /// The server that says it, which need not hear it.
    from: Uuid,
    project: Uuid,
    room: Uuid,
    queue: String,
    /// Items that came.
    count: usize,
}

/// Collects what is to be told to the other servers.
pub(super) struct Teller {
    own: Uuid,
    /// Items that came, by queue.
    untold: Mutex<HashMap<QueueKey, usize>>,
    some: Notify,
}

impl Teller {
    pub(super) fn new(own: Uuid) -> Self {
        Self { own, untold: Mutex::default(), some: Notify::new() }
    }

    pub(super) fn items(&self, key: &QueueKey, count: usize) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = untold.entry(key.clone()).or_default();
        *sum = sum.saturating_add(count);
        drop(untold);
        self.some.notify_one();
    }

    fn payloads(&self, untold: &HashMap<QueueKey, usize>) -> Vec<String> {
        let told = untold.iter().map(|(key, count)| Told {
            from: self.own,
            project: key.room.project().uuid(),
            room: key.room.uuid(),
            queue: key.name.to_string(),
            count: *count,
        });
        told.filter_map(|told| serde_json::to_string(&told).ok()).collect()
    }

    /// Tells, until aborted.
    pub(super) async fn run(self: Arc<Self>, store: Arc<Postgres>) {
        loop {
            self.some.notified().await;
            let untold = std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner));
            if untold.is_empty() {
                continue;
            }
            if let Err(error) = tell(&store, &self.payloads(&untold)).await {
                tracing::warn!(%error, "other servers could not be told of queue items, trying again");
                tokio::time::sleep(RETRY_AFTER).await;
                for (key, count) in &untold {
                    self.items(key, *count);
                }
            }
        }
    }
}

async fn tell(store: &Postgres, payloads: &[String]) -> Result<(), crate::store::StoreError> {
    let client = store.client().await?;
    for some in payloads.chunks(TELL_MAX) {
        let sql = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload";
        let told = client.query(sql, &[&CHANNEL, &some]).await;
        told.map_err(|error| store.error(&error))?;
    }
    Ok(())
}

/// Listens, until aborted.
pub(super) async fn listen(own: Uuid, mut notices: broadcast::Receiver<Notice>, line: Arc<Line>) {
    loop {
        match notices.recv().await {
            Ok(Notice::Said { channel, payload }) if channel == CHANNEL => hear(own, &payload, &line),
            Ok(Notice::Said { .. }) => {}
            // What was said meanwhile is not known: everyone tries.
            Ok(Notice::Resumed) | Err(broadcast::error::RecvError::Lagged(_)) => {
                line.call_all();
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn hear(own: Uuid, payload: &str, line: &Line) {
    match serde_json::from_str::<Told>(payload) {
        Ok(told) if told.from == own => {}
        Ok(told) => {
            if let Ok(name) = QueueName::new(told.queue) {
                let room = RoomId::new(ProjectId::new(told.project), told.room);
                line.call(&QueueKey::new(room, name), told.count);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "a notification about queues cannot be read; is another version running?");
        }
    }
}

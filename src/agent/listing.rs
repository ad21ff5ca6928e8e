//! Keeps the list of threads beside the turns: every look and change, one after another, in the order they were asked for.

use super::message::{Message, ThreadEntry, timestamp};
use super::storage::{Index, sorted};
use super::supervisor::{Listed, ToHub};
use crate::client::room::RoomError;
use crate::clock::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; more are dropped, with a word in the log.
pub const JOBS_MAX: usize = 1024;

/// Something to do with the list.
#[derive(Debug)]
pub(super) enum Job {
    /// A thread began; `stored` hears when it is in the list.
    Put {
        entry: ThreadEntry,
        stored: Option<oneshot::Sender<()>>,
    },
    /// A turn began on the thread, which is listed where it was not.
    Bump {
        path: String,
        name: String,
    },
    Rename {
        path: String,
        name: String,
        by: Option<String>,
    },
    /// Only what is listed is deleted.
    Delete {
        path: String,
        by: String,
    },
    /// A participant said something about a thread that may be none of the agent's: is it listed?
    Admit {
        by: String,
        message: Box<Message>,
    },
    List {
        to: String,
        message_id: String,
        limit: usize,
        offset: usize,
    },
}

/// The list of an agent's threads: in the room, or in memory where threads are not stored.
pub(super) struct Listing {
    index: Option<Index>,
    memory: BTreeMap<String, ThreadEntry>,
    clock: Arc<dyn Clock>,
}

impl Listing {
    pub fn new(index: Option<Index>, clock: Arc<dyn Clock>) -> Self {
        Self { index, memory: BTreeMap::new(), clock }
    }

    pub async fn work(mut self, mut jobs: mpsc::Receiver<Job>, hub: mpsc::Sender<ToHub>) {
        while let Some(job) = jobs.recv().await {
            let answer = match self.run(job).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "the list of threads cannot be kept");
                    None
                }
            };
            if let Some(answer) = answer
                && hub.send(ToHub::Listed(answer)).await.is_err()
            {
                return;
            }
        }
    }

    async fn run(&mut self, job: Job) -> Result<Option<Listed>, RoomError> {
        match job {
            Job::Put { entry, stored } => {
                self.put(entry).await?;
                if let Some(stored) = stored {
                    // The channel that asked may be gone.
                    let _ = stored.send(());
                }
                Ok(None)
            }
            Job::Bump { path, name } => self.bump(path, name).await,
            Job::Rename { path, name, by } => self.rename(path, name, by).await,
            Job::Delete { path, by } => {
                if !self.has(&path).await? {
                    tracing::warn!(path, participant = by, "what is no thread of the list is not deleted");
                    return Ok(None);
                }
                self.memory.remove(&path);
                if let Some(index) = &self.index {
                    index.delete(&path).await?;
                }
                Ok(Some(Listed::Deleted { path, by }))
            }
            Job::Admit { by, message } => {
                let path = message.body.thread_id().unwrap_or_default();
                let listed = self.has(path).await?;
                Ok(Some(Listed::Admitted { by, message, listed }))
            }
            Job::List { to, message_id, limit, offset } => {
                let all = sorted(self.all().await?);
                let total = all.len();
                let threads = all.into_iter().skip(offset).take(limit).collect();
                Ok(Some(Listed::Page { to, message_id, threads, total, offset, limit }))
            }
        }
    }

    async fn has(&self, path: &str) -> Result<bool, RoomError> {
        Ok(self.all().await?.iter().any(|entry| entry.path == path))
    }

    async fn all(&self) -> Result<Vec<ThreadEntry>, RoomError> {
        match &self.index {
            Some(index) => index.all().await,
            None => Ok(self.memory.values().cloned().collect()),
        }
    }

    async fn put(&mut self, entry: ThreadEntry) -> Result<(), RoomError> {
        match &self.index {
            Some(index) => index.put(&entry).await,
            None => {
                self.memory.insert(entry.path.clone(), entry);
                Ok(())
            }
        }
    }

    /// The time always moves on, whatever the clock does.
    async fn bump(&mut self, path: String, name: String) -> Result<Option<Listed>, RoomError> {
        let now = self.clock.now();
        let known = self.all().await?.into_iter().find(|entry| entry.path == path);
        let Some(mut entry) = known else {
            let now = timestamp(now);
            let entry = ThreadEntry { path, name, created_at: now.clone(), modified_at: now };
            self.put(entry.clone()).await?;
            return Ok(Some(Listed::Created(entry)));
        };
        let last = entry.modified_at.parse::<chrono::DateTime<chrono::Utc>>().unwrap_or_default();
        entry.modified_at = timestamp(now.max(last + chrono::Duration::microseconds(1)));
        match &self.index {
            Some(index) => index.set(&entry.path, &[("modified_at", &entry.modified_at)]).await?,
            None => {
                self.memory.insert(entry.path.clone(), entry.clone());
            }
        }
        Ok(Some(Listed::Updated { thread: entry, by: None }))
    }

    async fn rename(
        &mut self,
        path: String,
        name: String,
        by: Option<String>,
    ) -> Result<Option<Listed>, RoomError> {
        let modified_at = timestamp(self.clock.now());
        let known = self.all().await?.into_iter().find(|entry| entry.path == path);
        let Some(mut entry) = known else { return Ok(None) };
        (entry.name, entry.modified_at) = (name, modified_at);
        match &self.index {
            Some(index) => {
                index.set(&entry.path, &[("name", &entry.name), ("modified_at", &entry.modified_at)]).await?;
            }
            None => {
                self.memory.insert(entry.path.clone(), entry.clone());
            }
        }
        Ok(Some(Listed::Updated { thread: entry, by }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Fixed;

    #[tokio::test]
    async fn only_what_is_listed_is_deleted() {
        let mut listing = Listing::new(None, Arc::new(Fixed::at(chrono::DateTime::UNIX_EPOCH)));
        let delete = || Job::Delete { path: "dataset://t/1".into(), by: "ann".into() };
        assert!(listing.run(delete()).await.unwrap().is_none(), "nobody listed it");
        listing.run(Job::Bump { path: "dataset://t/1".into(), name: "one".into() }).await.unwrap();
        let deleted = listing.run(delete()).await.unwrap();
        assert!(matches!(deleted, Some(Listed::Deleted { path, .. }) if path == "dataset://t/1"));
        assert!(listing.run(delete()).await.unwrap().is_none());
    }
}

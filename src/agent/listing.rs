//! Keeps the list of threads beside the turns: every look and change, one after another, in the order they were asked for.

use super::config::ThreadsConfig;
use super::message::{Message, ThreadEntry, timestamp};
use super::storage::{Index, sorted};
use super::supervisor::{Listed, ToHub};
use crate::client::room::{RoomClient, RoomError};
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
        /// Whose list.
        folder: String,
        limit: usize,
        offset: usize,
    },
}

/// The list of an agent's threads, one for each folder: in the room, or in memory where threads are not stored.
pub(super) struct Listing {
    room: Option<RoomClient>,
    threads: ThreadsConfig,
    memory: BTreeMap<String, ThreadEntry>,
    clock: Arc<dyn Clock>,
}

impl Listing {
    /// `room` keeps the lists, where threads are stored.
    pub fn new(room: Option<RoomClient>, threads: &ThreadsConfig, clock: Arc<dyn Clock>) -> Self {
        Self { room, threads: threads.clone(), memory: BTreeMap::new(), clock }
    }

    /// The list of a folder, where it is stored.
    fn index(&self, folder: &str) -> Option<Index> {
        Index::new(self.room.clone()?, folder).ok()
    }

    /// The list in which a thread is, where it is stored.
    fn index_of(&self, path: &str) -> Option<Index> {
        self.index(&self.threads.folder_of(path))
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
                if let Some(index) = self.index_of(&path) {
                    index.delete(&path).await?;
                }
                Ok(Some(Listed::Deleted { path, by }))
            }
            Job::Admit { by, message } => {
                let path = message.body.thread_id().unwrap_or_default();
                let listed = self.has(path).await?;
                Ok(Some(Listed::Admitted { by, message, listed }))
            }
            Job::List { to, message_id, folder, limit, offset } => {
                let all = sorted(self.all(&folder).await?);
                let total = all.len();
                let threads = all.into_iter().skip(offset).take(limit).collect();
                Ok(Some(Listed::Page { to, message_id, threads, total, offset, limit }))
            }
        }
    }

    async fn has(&self, path: &str) -> Result<bool, RoomError> {
        Ok(self.entry(path).await?.is_some())
    }

    async fn entry(&self, path: &str) -> Result<Option<ThreadEntry>, RoomError> {
        let all = self.all(&self.threads.folder_of(path)).await?;
        Ok(all.into_iter().find(|entry| entry.path == path))
    }

    async fn all(&self, folder: &str) -> Result<Vec<ThreadEntry>, RoomError> {
        if let Some(index) = self.index(folder) {
            return index.all().await;
        }
        let here = |entry: &&ThreadEntry| self.threads.folder_of(&entry.path) == folder;
        Ok(self.memory.values().filter(here).cloned().collect())
    }

    async fn put(&mut self, entry: ThreadEntry) -> Result<(), RoomError> {
        if let Some(index) = self.index_of(&entry.path) {
            index.put(&entry).await
        } else {
            self.memory.insert(entry.path.clone(), entry);
            Ok(())
        }
    }

    /// The time always moves on, whatever the clock does.
    async fn bump(&mut self, path: String, name: String) -> Result<Option<Listed>, RoomError> {
        let now = self.clock.now();
        let Some(mut entry) = self.entry(&path).await? else {
            let now = timestamp(now);
            let entry = ThreadEntry { path, name, created_at: now.clone(), modified_at: now };
            self.put(entry.clone()).await?;
            return Ok(Some(Listed::Created(entry)));
        };
        let last = entry.modified_at.parse::<chrono::DateTime<chrono::Utc>>().unwrap_or_default();
        entry.modified_at = timestamp(now.max(last + chrono::Duration::microseconds(1)));
        match self.index_of(&entry.path) {
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
        let Some(mut entry) = self.entry(&path).await? else { return Ok(None) };
        (entry.name, entry.modified_at) = (name, modified_at);
        match self.index_of(&entry.path) {
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

    fn listing(by_participant: bool) -> Listing {
        let dir = "dataset://t".into();
        let threads = ThreadsConfig { dir, single: false, stored: false, by_participant };
        Listing::new(None, &threads, Arc::new(Fixed::at(chrono::DateTime::UNIX_EPOCH)))
    }

    #[tokio::test]
    async fn each_folder_has_its_list() {
        let mut listing = listing(true);
        for path in ["dataset://t/ann/1", "dataset://t/ann/2", "dataset://t/bob/1"] {
            listing.run(Job::Bump { path: path.into(), name: path.into() }).await.unwrap();
        }
        let list = Job::List {
            to: "x".into(),
            message_id: "m".into(),
            folder: "dataset://t/ann".into(),
            limit: 9,
            offset: 0,
        };
        let Some(Listed::Page { threads, total, .. }) = listing.run(list).await.unwrap() else {
            panic!("a page was asked for")
        };
        assert_eq!((threads.len(), total), (2, 2));
        assert!(threads.iter().all(|thread| thread.path.contains("/ann/")));
    }

    #[tokio::test]
    async fn only_what_is_listed_is_deleted() {
        let mut listing = listing(false);
        let delete = || Job::Delete { path: "dataset://t/1".into(), by: "ann".into() };
        assert!(listing.run(delete()).await.unwrap().is_none(), "nobody listed it");
        listing.run(Job::Bump { path: "dataset://t/1".into(), name: "one".into() }).await.unwrap();
        let deleted = listing.run(delete()).await.unwrap();
        assert!(matches!(deleted, Some(Listed::Deleted { path, .. }) if path == "dataset://t/1"));
        assert!(listing.run(delete()).await.unwrap().is_none());
    }
}

//! An open document kept in memory, in step with the room: what others do comes in by itself, and a change of one's own
//! is done when the room has it on disk.

use super::{Documents, NewDocument, OpenDocument};
use crate::client::room::RoomError;
use crate::yjs::{ApplyError, EditError, MeshSchema, Replica};
use bytes::Bytes;
use futures_util::FutureExt;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Changes and looks that may wait for their turn; callers wait beyond it.
const WORK_MAX: usize = 32;
/// How long the room may take to put a change on disk.
const KEEP_MAX: Duration = Duration::from_secs(30);
/// How long the room may take to let a document go.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// Largest document that is kept in memory, bytes of its state.
const STATE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a document was not looked at or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LiveError {
    /// The document is as it was.
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Room(#[from] RoomError),
    /// It was closed before; nothing was done.
    #[error("the document is closed: {0}")]
    Ended(String),
}

/// Looks at the document or changes it; gives the update of what it changed.
type Work = Box<dyn FnOnce(&mut Replica, &MeshSchema) -> Option<Bytes> + Send>;

struct Job {
    work: Work,
    done: oneshot::Sender<Result<(), RoomError>>,
}

/// An open document. Dropped, it is closed without waiting.
pub struct LiveDocument {
    /// MeshSchema of the document.
    pub schema: Arc<MeshSchema>,
    jobs: mpsc::Sender<Job>,
    why: Arc<OnceLock<String>>,
    following: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for LiveDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveDocument").field("ended", &self.why.get()).finish_non_exhaustive()
    }
}

impl Documents<'_> {
    /// Opens a document and keeps it in memory; with `new` it is made where there is none, else that is error 1003.
    /// `seed` makes the identifier under which this side writes.
    pub async fn live(
        &self,
        path: &str,
        new: Option<&NewDocument>,
        seed: u128,
    ) -> Result<LiveDocument, RoomError> {
        let mut document = self.open(path, new).await?;
        let state = std::mem::take(&mut document.state);
        if state.len() > STATE_BYTES_MAX {
            return Err(RoomError::TooMuch {
                what: "the size of the document in bytes",
                max: STATE_BYTES_MAX,
                advice: "move a part of it to another",
            });
        }
        let schema = MeshSchema::parse(document.schema.take());
        let schema = Arc::new(schema.map_err(failed)?);
        // A large document takes a while.
        let read = tokio::task::spawn_blocking(move || {
            let mut replica = Replica::empty(seed);
            replica.replay(&state).map(|()| replica)
        });
        let replica = match read.await {
            Ok(Ok(replica)) => replica,
            Ok(Err(error)) => return Err(failed(error)),
            Err(error) => return Err(failed(error)),
        };
        let (jobs, waiting) = mpsc::channel(WORK_MAX);
        let why = Arc::new(OnceLock::new());
        let follower = Follower { document, replica, schema: schema.clone(), why: why.clone() };
        let following = tokio::spawn(follower.run(waiting));
        Ok(LiveDocument { schema, jobs, why, following })
    }
}

impl LiveDocument {
    /// Looks at the document as it is now.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica, &MeshSchema) -> T + Send + 'static,
    ) -> Result<T, LiveError> {
        self.edit(|replica, schema| Ok((look(replica, schema), None))).await
    }

    /// Changes the document; returns what `change` gave once the room has its update on disk.
    pub async fn edit<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Replica, &MeshSchema) -> Result<(T, Option<Bytes>), EditError> + Send + 'static,
    ) -> Result<T, LiveError> {
        let (tell, mut told) = oneshot::channel();
        let work: Work = Box::new(move |replica, schema| {
            let (given, update) = match change(replica, schema) {
                Ok((value, update)) => (Ok(value), update),
                Err(error) => (Err(error), None),
            };
            // Nobody waits any more; the change stays.
            let _ = tell.send(given);
            update
        });
        let (done, wait) = oneshot::channel();
        if self.jobs.send(Job { work, done }).await.is_err() {
            return Err(self.ended());
        }
        match wait.await {
            Ok(kept) => kept?,
            Err(_) => return Err(self.ended()),
        }
        Ok(told.try_recv().map_err(|_| self.ended())??)
    }

    /// Whether it is closed: the document or the connection is gone, or a change was refused.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.following.is_finished()
    }

    /// Closes it and returns when everything is on the server's disk.
    pub async fn close(self) {
        drop(self.jobs);
        if tokio::time::timeout(CLOSE_MAX, self.following).await.is_err() {
            tracing::debug!("the room did not let a document go in time");
        }
    }

    fn ended(&self) -> LiveError {
        LiveError::Ended(self.why.get().cloned().unwrap_or_else(|| "its connection ended".to_owned()))
    }
}

fn failed(why: impl fmt::Display) -> RoomError {
    RoomError::Failed { request: "sync.open".to_owned(), text: why.to_string(), code: None }
}

/// The task that owns the document.
struct Follower {
    document: OpenDocument,
    replica: Replica,
    schema: Arc<MeshSchema>,
    why: Arc<OnceLock<String>>,
}

impl Follower {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let end = loop {
            tokio::select! {
                change = self.document.next() => {
                    if let Err(end) = self.take(change) {
                        break end;
                    }
                }
                job = jobs.recv() => if let Some(job) = job {
                    if let Err(end) = self.work(job).await {
                        break end;
                    }
                } else {
                    if let Err(error) = self.document.close().await {
                        tracing::debug!(%error, "a document was closed");
                    }
                    return;
                },
            }
        };
        let _ = self.why.set(end.to_string());
    }

    async fn work(&mut self, job: Job) -> Result<(), RoomError> {
        let Some(update) = (job.work)(&mut self.replica, &self.schema) else {
            // Nobody waits any more.
            let _ = job.done.send(Ok(()));
            return Ok(());
        };
        let mut kept = match tokio::time::timeout(KEEP_MAX, self.document.keep(&update)).await {
            Ok(kept) => kept,
            Err(_) => {
                Err(failed(format!("the room did not store the change within {} s", KEEP_MAX.as_secs())))
            }
        };
        // What came meanwhile, a refusal among it.
        while kept.is_ok() {
            let Some(change) = tokio::task::unconstrained(self.document.next()).now_or_never() else { break };
            kept = self.take(change);
        }
        let _ = job.done.send(kept.clone());
        kept
    }

    /// Takes a change by others.
    fn take(&mut self, change: Result<Option<Vec<u8>>, RoomError>) -> Result<(), RoomError> {
        let Some(update) = change? else { return Err(failed("the room closed the document")) };
        match self.replica.apply(&Bytes::from(update)) {
            Ok(_) => Ok(()),
            Err(ApplyError::Refused(error) | ApplyError::Broken(error)) => {
                Err(failed(format!("a change of the document cannot be read: {error}")))
            }
        }
    }
}

//! A document that somebody has open. Changes are applied in memory at once, in one order; they are seen by the
//! others and acknowledged when the journal says that they are on disk, in the same order.

use super::error::DocumentError;
use super::journal::{Journal, JournalError, Stored};
use super::{DOCUMENT_BYTES_MAX, OPENERS_MAX};
use crate::yjs::{Applied, ApplyError, MeshSchema, Replica, SchemaError, UpdateError};
use bytes::Bytes;
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};
use uuid::Uuid;

/// Updates and documents up to this size are worked on where they come in; larger ones on a thread that may block.
const QUICK_BYTES: usize = 64 * 1024;
/// The log is folded into a snapshot when it has this many updates …
const FOLD_UPDATES: u64 = 2_000;
/// … or more bytes than the snapshot and this.
const FOLD_BYTES: u64 = 256 * 1024;

/// What an update changed, on its way to the others.
#[derive(Debug)]
pub struct Change {
    /// A Yjs v1 update that holds the change and nothing else.
    pub update: Bytes,
    text: OnceLock<Bytes>,
}

impl Change {
    fn new(update: Bytes) -> Self {
        Self { update, text: OnceLock::new() }
    }

    /// The change as it is written out; the first listener's spelling serves them all.
    pub fn text(&self, spell: impl FnOnce(&[u8]) -> Bytes) -> &Bytes {
        self.text.get_or_init(|| spell(&self.update))
    }
}

/// Somebody who has the document open. Called on the journal's thread: must not block.
pub trait Listener: Send + Sync + 'static {
    /// The state at the moment it came in; always first.
    fn opened(&self, state: Bytes);
    /// A change made by somebody else after that.
    fn changed(&self, change: &Change);
    /// Nothing more comes.
    fn ended(&self, error: &DocumentError);
}

/// Called once, when what it stands for is on disk, or is known not to be.
pub type Acknowledge = Box<dyn FnOnce(Result<(), DocumentError>) + Send>;

/// Who listens, and from which change on.
struct Listening {
    id: u64,
    after: i64,
    listener: Arc<dyn Listener>,
}

/// What is changed under the lock, in one order.
struct State {
    /// Nothing: it is to be read from disk again.
    replica: Option<Replica>,
    /// Number of the newest change.
    seq: i64,
    /// Size of the snapshot, and of the log after it.
    snapshot_bytes: u64,
    log_bytes: u64,
    log_updates: u64,
}

/// An open document.
pub struct Document {
    pub id: Uuid,
    pub schema: Arc<MeshSchema>,
    path: Mutex<String>,
    seed: u128,
    journal: Arc<Journal>,
    state: Arc<tokio::sync::Mutex<State>>,
    listeners: Mutex<Vec<Listening>>,
    next_listener: AtomicU64,
    /// Pieces of work handed to the journal and not called back.
    under_way: AtomicU64,
    /// The document in memory and the one on disk are not the same any more.
    dead: AtomicBool,
    /// A notice of changes is on its way.
    noticed: AtomicBool,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("id", &self.id).field("path", &self.path()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Document {
    /// A document as it was read from disk. Works on all of it; may take a while.
    pub(super) fn load(
        stored: Stored,
        seed: u128,
        journal: Arc<Journal>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, DocumentError> {
        let json: Value = serde_json::from_str(&stored.row.schema).map_err(|error| {
            DocumentError::Schema(SchemaError { place: "$".to_owned(), reason: error.to_string() })
        })?;
        let schema = Arc::new(MeshSchema::parse(json)?);
        let state = State::read(&stored, seed)
            .map_err(|error| DocumentError::Update { path: stored.row.path.clone(), error })?;
        Ok(Self {
            id: stored.row.id,
            schema,
            path: Mutex::new(stored.row.path),
            seed,
            journal,
            state: Arc::new(tokio::sync::Mutex::new(state)),
            listeners: Mutex::default(),
            next_listener: AtomicU64::new(1),
            under_way: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            noticed: AtomicBool::new(false),
            _place: place,
        })
    }

    /// Where it is in room storage.
    #[must_use]
    pub fn path(&self) -> String {
        lock(&self.path).clone()
    }

    pub(super) fn set_path(&self, path: &str) {
        path.clone_into(&mut lock(&self.path));
    }

    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// True for the first who asks after [`Document::notice_given`]: that one is to tell of the changes.
    pub fn notice_due(&self) -> bool {
        !self.noticed.swap(true, Ordering::AcqRel)
    }

    pub fn notice_given(&self) {
        self.noticed.store(false, Ordering::Release);
    }

    /// Lets somebody listen, from the state on that they are told first. Gives what to leave with.
    pub(super) async fn join(
        self: &Arc<Self>,
        vector: Option<&[u8]>,
        listener: Arc<dyn Listener>,
    ) -> Result<u64, DocumentError> {
        let mut state = self.usable().await?;
        let vector_wrong = |error| DocumentError::Vector { path: self.path(), error };
        let update = state.replica()?.state(vector).map_err(vector_wrong)?;
        let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
        {
            let mut listeners = lock(&self.listeners);
            if listeners.len() >= OPENERS_MAX {
                return Err(DocumentError::TooManyOpeners { path: self.path() });
            }
            listeners.push(Listening { id, after: state.seq, listener: Arc::clone(&listener) });
        }
        if self.under_way.load(Ordering::Acquire) == 0 {
            listener.opened(update);
        } else {
            let done = self.called_back(move |_, outcome| match outcome {
                Ok(()) => listener.opened(update),
                Err(error) => listener.ended(&error),
            });
            self.journal.barrier(done).await;
        }
        drop(state);
        Ok(id)
    }

    pub(super) fn leave(&self, listener: u64) {
        lock(&self.listeners).retain(|listening| listening.id != listener);
    }

    /// Applies an update that `from` sent. Returns when it was taken or refused; `acknowledge` is called when it is
    /// on disk. True: it changed the document.
    pub(super) async fn apply(
        self: &Arc<Self>,
        from: u64,
        update: Bytes,
        acknowledge: Acknowledge,
    ) -> Result<bool, DocumentError> {
        let mut state = self.usable().await?;
        if state.snapshot_bytes + state.log_bytes + update.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge { path: self.path() });
        }
        let applied;
        if update.len() <= QUICK_BYTES {
            applied = state.apply(&update);
        } else {
            let bytes = update.clone();
            (state, applied) = blocking(state, move |state| state.apply(&bytes)).await?;
        }
        let applied = applied.map_err(|error| DocumentError::Update { path: self.path(), error })?;
        let changed = applied.change.is_some();
        // What waits for others is kept as it came.
        let record = if applied.waits { Some(update) } else { applied.change.clone() };
        let Some(record) = record else {
            self.acknowledge_after_others(acknowledge).await;
            return Ok(false);
        };
        state.seq += 1;
        state.log_bytes += record.len() as u64;
        state.log_updates += 1;
        let seq = state.seq;
        let change = applied.change.map(Change::new);
        let done = self.called_back(move |document, outcome| {
            if let (Ok(()), Some(change)) = (&outcome, change) {
                document.tell(from, seq, &change);
            }
            acknowledge(outcome);
        });
        self.journal.append(self.id, seq, record, self.wanted(), done).await;
        if state.is_to_be_folded() {
            self.fold(state).await?;
        }
        Ok(changed)
    }

    /// Whether an update holds anything new.
    pub(super) async fn would_change(self: &Arc<Self>, update: &[u8]) -> Result<bool, DocumentError> {
        let mut state = self.usable().await?;
        let answer = state.replica()?.would_change(update);
        answer.map_err(|error| DocumentError::Update { path: self.path(), error })
    }

    /// The whole state as one update.
    pub(super) async fn whole(self: &Arc<Self>) -> Result<Bytes, DocumentError> {
        let mut state = self.usable().await?;
        let whole = state.replica()?.state(None);
        whole.map_err(|error| DocumentError::Update { path: self.path(), error })
    }

    /// The document as JSON.
    pub(super) async fn render(self: &Arc<Self>) -> Result<Value, DocumentError> {
        let mut state = self.usable().await?;
        let rendered = state.replica()?.render(&self.schema);
        rendered.map_err(|error| DocumentError::Update { path: self.path(), error })
    }

    /// Calls back when everything that was taken before is on disk.
    pub(super) async fn acknowledge_after_others(self: &Arc<Self>, acknowledge: Acknowledge) {
        if self.under_way.load(Ordering::Acquire) == 0 {
            return acknowledge(Ok(()));
        }
        self.journal.barrier(self.called_back(move |_, outcome| acknowledge(outcome))).await;
    }

    /// Ends it for everybody who has it open.
    pub fn end(&self, error: &DocumentError) {
        self.dead.store(true, Ordering::Release);
        let listeners = std::mem::take(&mut *lock(&self.listeners));
        for listening in listeners {
            listening.listener.ended(error);
        }
    }

    /// Replaces the log by a snapshot.
    async fn fold(self: &Arc<Self>, state: OwnedMutexGuard<State>) -> Result<(), DocumentError> {
        let (mut state, snapshot) = blocking(state, |state| state.replica().map(|r| r.state(None))).await?;
        let Ok(Ok(snapshot)) = snapshot else { return Ok(()) };
        state.snapshot_bytes = snapshot.len() as u64;
        (state.log_bytes, state.log_updates) = (0, 0);
        let done = self.called_back(|_, _| {});
        self.journal.fold(self.id, state.seq, snapshot, self.wanted(), done).await;
        Ok(())
    }

    /// The state, read from disk again where that is needed.
    async fn usable(self: &Arc<Self>) -> Result<OwnedMutexGuard<State>, DocumentError> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        if self.is_dead() {
            return Err(DocumentError::Closed { path: self.path() });
        }
        if state.replica.is_none() {
            let failed = |error| DocumentError::Journal { path: self.path(), error };
            let stored = self.journal.load(self.id).await.map_err(failed)?;
            let stored = stored.ok_or_else(|| DocumentError::Deleted { path: self.path() })?;
            let seed = self.seed;
            let read;
            (state, read) =
                blocking(state, move |state| State::read(&stored, seed).map(|fresh| *state = fresh)).await?;
            read.map_err(|error| DocumentError::Update { path: self.path(), error })?;
        }
        Ok(state)
    }

    /// Counts one piece of work until the journal calls back, and sees to a failure.
    fn called_back(
        self: &Arc<Self>,
        then: impl FnOnce(&Self, Result<(), DocumentError>) + Send + 'static,
    ) -> impl FnOnce(Result<(), JournalError>) + Send + 'static {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let document = Arc::clone(self);
        move |outcome| {
            let path = || document.path();
            let outcome = match outcome {
                Ok(()) if document.is_dead() => Err(DocumentError::Closed { path: path() }),
                Ok(()) => Ok(()),
                Err(error) => {
                    let failure = DocumentError::Journal { path: path(), error };
                    document.end(&failure);
                    Err(failure)
                }
            };
            then(&document, outcome);
            document.under_way.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Nothing of a dead document is written any more.
    fn wanted(self: &Arc<Self>) -> impl FnOnce() -> bool + Send + 'static {
        let document = Arc::clone(self);
        move || !document.is_dead()
    }

    fn tell(&self, from: u64, seq: i64, change: &Change) {
        for listening in lock(&self.listeners).iter() {
            if listening.id != from && listening.after < seq {
                listening.listener.changed(change);
            }
        }
    }
}

impl State {
    fn read(stored: &Stored, seed: u128) -> Result<Self, UpdateError> {
        let mut replica = Replica::empty(seed);
        replica.replay(&stored.snapshot)?;
        let mut log_bytes = 0;
        for (_, update) in &stored.updates {
            replica.replay(update)?;
            log_bytes += update.len() as u64;
        }
        Ok(Self {
            replica: Some(replica),
            seq: stored.updates.last().map_or(stored.folded, |(seq, _)| *seq),
            snapshot_bytes: stored.snapshot.len() as u64,
            log_bytes,
            log_updates: stored.updates.len() as u64,
        })
    }

    fn replica(&mut self) -> Result<&mut Replica, DocumentError> {
        self.replica.as_mut().ok_or_else(|| DocumentError::Closed { path: String::new() })
    }

    fn apply(&mut self, update: &Bytes) -> Result<Applied, UpdateError> {
        let Some(replica) = &mut self.replica else {
            return Err(UpdateError::Unfit("the document is being read again".to_owned()));
        };
        match replica.apply(update) {
            Ok(applied) => Ok(applied),
            Err(ApplyError::Refused(error)) => Err(error),
            Err(ApplyError::Broken(error)) => {
                self.replica = None;
                Err(error)
            }
        }
    }

    fn is_to_be_folded(&self) -> bool {
        self.log_updates >= FOLD_UPDATES || self.log_bytes > FOLD_BYTES + self.snapshot_bytes
    }
}

/// Works on the state on a thread that may block.
async fn blocking<T: Send + 'static>(
    mut state: OwnedMutexGuard<State>,
    work: impl FnOnce(&mut State) -> T + Send + 'static,
) -> Result<(OwnedMutexGuard<State>, T), DocumentError> {
    let task = tokio::task::spawn_blocking(move || {
        let result = work(&mut state);
        (state, result)
    });
    task.await.map_err(|_| DocumentError::Closed { path: String::new() })
}

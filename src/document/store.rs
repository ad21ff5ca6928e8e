//! The documents of all rooms: finds, makes, opens and deletes them, and keeps those that are open.

use super::LOADED_MAX;
use super::card::{self, At};
use super::error::DocumentError;
use super::journal::{Journal, JournalError, Row};
use super::live::{Acknowledge, Document, Listener};
use super::tidy;
use crate::blob::{Blobs, FilePath, RoomFiles};
use crate::clock::{Clock, IdSource};
use crate::id::RoomId;
use crate::volume::Volume;
use crate::yjs::{MeshSchema, Replica};
use bytes::Bytes;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often making a document looks again when somebody else makes one at the same path.
const TRIES_MAX: usize = 4;
/// The kind of data in the room's folder.
const FOLDER: &str = "documents";
/// Folder of room storage with schemas, one `<extension>.json` per kind of document.
const SCHEMAS_FOLDER: &str = ".schemas";

/// Where a new document's schema is.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaSource {
    Given(Value),
    /// A file in room storage.
    File(String),
    /// The file in room storage that goes with the document's extension.
    ByExtension,
}

/// What a document is made of, when there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDocument {
    pub schema: SchemaSource,
    /// `{"<root tag>": {...}}`; empty without it.
    pub json: Option<Value>,
}

type Slot = Arc<OnceCell<Arc<Document>>>;

struct Room {
    files: RoomFiles,
    journal: Arc<Journal>,
    /// The open ones, with how many handles each has.
    open: Mutex<HashMap<Uuid, (Slot, usize)>>,
    /// Its session ended; `gone` is told when nothing of it is written any more.
    closing: AtomicBool,
    gone: CancellationToken,
}

/// The documents of all rooms.
pub struct Documents {
    volume: Volume,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    rooms: Mutex<HashMap<RoomId, Arc<OnceCell<Arc<Room>>>>>,
    /// One permit for each document in memory.
    places: Arc<Semaphore>,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("loaded", &self.loaded()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open document; dropped, it is closed. What was taken is written nevertheless.
pub struct Handle {
    document: Arc<Document>,
    room: Arc<Room>,
    listener: Option<u64>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("document", &self.document).finish_non_exhaustive()
    }
}

impl Documents {
    #[must_use]
    pub fn new(volume: Volume, blobs: Blobs, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self {
            volume,
            blobs,
            clock,
            ids,
            rooms: Mutex::default(),
            places: Arc::new(Semaphore::new(LOADED_MAX)),
        }
    }

    /// Opens the document at `path`; makes it from `new` where that is given and there is none.
    pub async fn open(
        &self,
        room: RoomId,
        path: &str,
        new: Option<&NewDocument>,
    ) -> Result<Handle, DocumentError> {
        let path = FilePath::parse_file(path)?.to_string();
        let room = self.room(room).await?;
        for _ in 0..TRIES_MAX {
            match (card::look(&room.files, &path).await?, new) {
                (At::Document(id), _) => {
                    if let Some(handle) = self.open_known(&room, &path, id).await? {
                        return Ok(handle);
                    }
                }
                (At::SomethingElse, _) => return Err(DocumentError::NotADocument { path }),
                (At::Nothing, None) => return Err(DocumentError::NotFound { path }),
                (At::Nothing, Some(new)) => drop(self.make(&room, &path, new).await?),
            }
        }
        Err(DocumentError::Deleted { path })
    }

    /// Makes a document where there is none.
    pub async fn create(&self, room: RoomId, path: &str, new: &NewDocument) -> Result<(), DocumentError> {
        let path = FilePath::parse_file(path)?.to_string();
        let room = self.room(room).await?;
        match card::look(&room.files, &path).await? {
            At::Nothing if self.make(&room, &path, new).await? => Ok(()),
            At::SomethingElse => Err(DocumentError::NotADocument { path }),
            At::Nothing | At::Document(_) => Err(DocumentError::AlreadyExists { path }),
        }
    }

    /// The document as JSON.
    pub async fn describe(&self, room: RoomId, path: &str) -> Result<Value, DocumentError> {
        let handle = self.open(room, path, None).await?;
        handle.document.render().await
    }

    /// Whether `document` is still the one at its path.
    pub async fn is_there(&self, room: RoomId, document: &Document) -> Result<bool, DocumentError> {
        let room = self.room(room).await?;
        Ok(card::look(&room.files, &document.path()).await? == At::Document(document.id))
    }

    /// Lets go of a room whose session ended here: ends what is still open and returns when nothing more is written.
    pub async fn close_room(&self, room: RoomId) {
        let cell = lock(&self.rooms).get(&room).map(Arc::clone);
        let Some(open) = cell.as_ref().and_then(|cell| cell.get()) else { return };
        if open.closing.swap(true, Ordering::AcqRel) {
            return open.gone.cancelled().await;
        }
        let documents: Vec<Arc<Document>> =
            lock(&open.open).values().filter_map(|(slot, _)| slot.get().map(Arc::clone)).collect();
        for document in documents {
            document.end(&DocumentError::Closed { path: document.path() });
        }
        if let Err(error) = tidy::up(&open.files, &open.journal).await {
            tracing::warn!(%error, %room, "documents that were deleted still take space");
        }
        open.journal.close().await;
        lock(&self.rooms).remove(&room);
        open.gone.cancel();
    }

    /// Removes all documents of a deleted room.
    pub async fn delete_room(&self, room: RoomId) -> Result<(), DocumentError> {
        self.close_room(room).await;
        let folder = self.volume.folder(room, FOLDER);
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        });
        let outcome = removed.await.unwrap_or_else(|error| Err(error.to_string()));
        outcome.map_err(|error| DocumentError::Journal {
            path: room.to_string(),
            error: JournalError::Failed(error),
        })
    }

    /// Number of documents in memory.
    #[must_use]
    pub fn loaded(&self) -> usize {
        LOADED_MAX - self.places.available_permits()
    }

    async fn room(&self, id: RoomId) -> Result<Arc<Room>, DocumentError> {
        loop {
            let cell = Arc::clone(lock(&self.rooms).entry(id).or_default());
            let opened = cell.get_or_try_init(|| self.open_room(id)).await;
            let room = opened.map_err(|error| DocumentError::Journal { path: id.to_string(), error })?;
            if !room.closing.load(Ordering::Acquire) {
                return Ok(Arc::clone(room));
            }
            room.gone.cancelled().await;
        }
    }

    async fn open_room(&self, id: RoomId) -> Result<Arc<Room>, JournalError> {
        let folder = self.volume.folder(id, FOLDER);
        let journal = tokio::task::spawn_blocking(move || Journal::open(&folder)).await;
        let journal = journal.unwrap_or_else(|error| Err(JournalError::Failed(error.to_string())))?;
        Ok(Arc::new(Room {
            files: self.blobs.room(id),
            journal: Arc::new(journal),
            open: Mutex::default(),
            closing: AtomicBool::new(false),
            gone: CancellationToken::new(),
        }))
    }

    /// Opens the document that the card at `path` names; nothing when the card was replaced meanwhile.
    async fn open_known(
        &self,
        room: &Arc<Room>,
        path: &str,
        id: Uuid,
    ) -> Result<Option<Handle>, DocumentError> {
        let slot = {
            let mut open = lock(&room.open);
            let (slot, handles) = open.entry(id).or_default();
            *handles += 1;
            Arc::clone(slot)
        };
        // Undoes the count where the opening fails or is given up.
        let mut opening = Opening { room, id, done: false };
        let document = slot.get_or_try_init(|| self.load(room, path, id)).await?;
        let here = document.path();
        if here != path && !self.moved(room, document, &here, path).await? {
            return Ok(None);
        }
        opening.done = true;
        Ok(Some(Handle { document: Arc::clone(document), room: Arc::clone(room), listener: None }))
    }

    async fn load(&self, room: &Room, path: &str, id: Uuid) -> Result<Arc<Document>, DocumentError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| DocumentError::TooManyDocuments)?;
        let failed = |error| DocumentError::Journal { path: path.to_owned(), error };
        let stored = room.journal.load(id).await.map_err(failed)?;
        let stored = stored.ok_or_else(|| DocumentError::Elsewhere { path: path.to_owned() })?;
        let (journal, seed) = (Arc::clone(&room.journal), self.ids.fresh().as_u128());
        let document =
            tokio::task::spawn_blocking(move || Document::load(stored, seed, journal, place)).await;
        document.map_err(|error| failed(JournalError::Failed(error.to_string())))?.map(Arc::new)
    }

    /// The card of a document known at `from` was found at `to`: the document was moved, or its card copied, and
    /// then the copy becomes a document of its own. False: look again.
    async fn moved(
        &self,
        room: &Room,
        document: &Arc<Document>,
        from: &str,
        to: &str,
    ) -> Result<bool, DocumentError> {
        let failed = |error| DocumentError::Journal { path: to.to_owned(), error };
        if card::look(&room.files, from).await? != At::Document(document.id) {
            room.journal.rename(document.id, to.to_owned()).await.map_err(failed)?;
            document.set_path(to);
            return Ok(true);
        }
        let whole = document.whole().await?;
        let id = self.ids.fresh();
        let row = self.row(id, to, &document.schema);
        room.journal.create(row, whole).await.map_err(failed)?;
        card::put(&room.files, to, id, true).await?;
        Ok(false)
    }

    /// Makes a document; false when something else is at the path by now.
    async fn make(&self, room: &Room, path: &str, new: &NewDocument) -> Result<bool, DocumentError> {
        let failed = |error| DocumentError::Journal { path: path.to_owned(), error };
        let schema = self.schema(room, path, &new.schema).await?;
        let seed = self.ids.fresh().as_u128();
        let replica = match &new.json {
            Some(json) => Replica::create(seed, &schema, json, &|| self.ids.fresh().to_string())?,
            None => Replica::empty(seed),
        };
        let whole = replica.state(None);
        let whole = whole.map_err(|error| DocumentError::Update { path: path.to_owned(), error })?;
        let id = self.ids.fresh();
        room.journal.create(self.row(id, path, &schema), whole).await.map_err(failed)?;
        let made = card::put(&room.files, path, id, false).await;
        if !matches!(made, Ok(true)) {
            room.journal.delete(id).await.map_err(failed)?;
        }
        made
    }

    fn row(&self, id: Uuid, path: &str, schema: &MeshSchema) -> Row {
        Row {
            id,
            path: path.to_owned(),
            schema: schema.json().to_string(),
            created_at: self.clock.now().to_rfc3339(),
        }
    }

    async fn schema(
        &self,
        room: &Room,
        path: &str,
        source: &SchemaSource,
    ) -> Result<MeshSchema, DocumentError> {
        let json = match source {
            SchemaSource::Given(json) => json.clone(),
            SchemaSource::File(file) => self.schema_file(room, path, file).await?,
            SchemaSource::ByExtension => {
                let name = path.rsplit('/').next().unwrap_or(path);
                let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
                if extension.is_empty() {
                    let place = format!("{SCHEMAS_FOLDER}/<extension>.json");
                    return Err(DocumentError::NoSchema { path: path.to_owned(), place });
                }
                self.schema_file(room, path, &format!("{SCHEMAS_FOLDER}/{extension}.json")).await?
            }
        };
        Ok(MeshSchema::parse(json)?)
    }

    async fn schema_file(&self, room: &Room, path: &str, file: &str) -> Result<Value, DocumentError> {
        let missing = || DocumentError::NoSchema { path: path.to_owned(), place: file.to_owned() };
        card::schema(&room.files, file).await?.ok_or_else(missing)
    }
}

impl Handle {
    #[must_use]
    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    /// Tells `listener` the state (what `vector` lacks of it, a Yjs v1 state vector), then every change by others.
    pub async fn listen(
        &mut self,
        vector: Option<&[u8]>,
        listener: Arc<dyn Listener>,
    ) -> Result<(), DocumentError> {
        self.listener = Some(self.document.join(vector, listener).await?);
        Ok(())
    }

    /// Takes a Yjs v1 update. `acknowledge` is called once it is on disk and the others were told; it is dropped
    /// without a call where this returns an error. True: it changed the document.
    pub async fn apply(&self, update: Bytes, acknowledge: Acknowledge) -> Result<bool, DocumentError> {
        self.document.apply(self.listener.unwrap_or(0), update, acknowledge).await
    }

    /// Whether an update holds anything that the document does not have.
    pub async fn would_change(&self, update: &[u8]) -> Result<bool, DocumentError> {
        self.document.would_change(update).await
    }

    /// Returns when everything taken so far is on disk.
    pub async fn settled(&self) -> Result<(), DocumentError> {
        let (done, settled) = tokio::sync::oneshot::channel();
        self.document.acknowledge_after_others(Box::new(move |outcome| drop(done.send(outcome)))).await;
        settled.await.unwrap_or_else(|_| Err(DocumentError::Closed { path: self.document.path() }))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(listener) = self.listener {
            self.document.leave(listener);
        }
        release(&self.room, self.document.id);
    }
}

/// An opening under way.
struct Opening<'a> {
    room: &'a Room,
    id: Uuid,
    done: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.done {
            release(self.room, self.id);
        }
    }
}

/// Gives one handle back; with the last one the document leaves memory.
fn release(room: &Room, id: Uuid) {
    let mut open = lock(&room.open);
    let Some((_, handles)) = open.get_mut(&id) else { return };
    *handles = handles.saturating_sub(1);
    if *handles == 0 {
        open.remove(&id);
    }
}

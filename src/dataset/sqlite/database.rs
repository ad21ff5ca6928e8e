//! One open namespace, and the transaction that the rest of the adapter works in.

use super::catalog::TableSchema;
use super::guard::{self, Cancel};
use crate::clock::Clock;
use crate::dataset::sql::functions;
use crate::dataset::{DatasetError, TableAt};
use crate::store::StoreError;
use crate::store::migrations::Migration;
use crate::store::sqlite::{Setup, Sqlite};
use rusqlite::Connection;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Most schemas kept decoded per namespace.
const SCHEMAS_KEPT_MAX: usize = 256;
/// Most tables whose heads are kept per namespace.
const HEADS_KEPT_MAX: usize = 1_024;
/// The folder of rows on their way in, inside the namespace's.
pub(super) const STAGE_DIR: &str = "staged";

const MIGRATIONS: &[Migration] =
    &[Migration { name: "0001_datasets", sqlite: include_str!("schema.sql"), postgres: "" }];

fn setup(clock: &Arc<dyn Clock>) -> Setup {
    let clock = Arc::clone(clock);
    Setup {
        file: "data.db",
        migrations: MIGRATIONS,
        writer_cache_kib: 8 * 1024,
        reader_cache_kib: 2 * 1024,
        connected: Arc::new(move |connection| {
            guard::connect(connection)?;
            functions::register(connection, Arc::clone(&clock))
        }),
    }
}

/// A namespace that is open.
pub(super) struct Database {
    pub dir: PathBuf,
    sqlite: Sqlite,
    shared: Arc<Shared>,
    watches: Mutex<HashMap<i64, watch::Sender<u64>>>,
    heads: Mutex<Heads>,
}

/// Where writers of rows begin, known from earlier ones: what single appends would otherwise look up each time.
#[derive(Default)]
struct Heads {
    /// Counts the commits that may have made them wrong.
    generation: u64,
    known: HashMap<(Option<String>, String), (i64, Arc<TableSchema>)>,
}

/// What transactions know beside the database.
pub(super) struct Shared {
    pub clock: Arc<dyn Clock>,
    schemas: Mutex<HashMap<i64, Arc<TableSchema>>>,
    /// What readers have open, by a number of their own: lines and the versions they read.
    pins: Mutex<HashMap<u64, Vec<(i64, u64)>>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A transaction, or a read of one moment.
pub(super) struct Tx<'a> {
    pub c: &'a Connection,
    pub shared: &'a Shared,
    cancelled: Arc<AtomicBool>,
}

impl Tx<'_> {
    /// Runs queries of a user's making; for reads inside a write. (What writes is not ended half way: that would take
    /// the others in its transaction with it.)
    pub fn bounded<R>(&self, run: impl FnOnce() -> R) -> R {
        guard::bounded(Arc::clone(&self.cancelled), run)
    }
}

impl Database {
    /// Blocking.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, DatasetError> {
        let sqlite = Sqlite::open_as(dir, &setup(&clock))?;
        // What an earlier run did not finish.
        let staged = dir.join(STAGE_DIR);
        if staged.exists() {
            std::fs::remove_dir_all(&staged)
                .map_err(|e| DatasetError::failed(format!("cannot clear {}: {e}", staged.display())))?;
        }
        let shared = Shared { clock, schemas: Mutex::default(), pins: Mutex::default() };
        Ok(Self {
            dir: dir.to_owned(),
            sqlite,
            shared: Arc::new(shared),
            watches: Mutex::default(),
            heads: Mutex::default(),
        })
    }

    /// Runs a job in the transaction of the next commit; it is on disk when this returns. A line and version that it
    /// gives back goes to those who watch.
    pub async fn write<R, F>(self: &Arc<Self>, job: F) -> Result<R, DatasetError>
    where
        F: FnOnce(&Tx<'_>) -> Result<(R, Option<(i64, u64)>), DatasetError> + Send + 'static,
        R: Send + 'static,
    {
        self.run(job, true).await
    }

    /// As [`Database::write`], for a job that changes neither which tables there are nor their columns.
    pub async fn write_rows<R, F>(self: &Arc<Self>, job: F) -> Result<R, DatasetError>
    where
        F: FnOnce(&Tx<'_>) -> Result<(R, Option<(i64, u64)>), DatasetError> + Send + 'static,
        R: Send + 'static,
    {
        self.run(job, false).await
    }

    async fn run<R, F>(self: &Arc<Self>, job: F, alters: bool) -> Result<R, DatasetError>
    where
        F: FnOnce(&Tx<'_>) -> Result<(R, Option<(i64, u64)>), DatasetError> + Send + 'static,
        R: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let watched = Arc::clone(self);
        let cancel = Cancel::default();
        let flag = cancel.flag();
        let run = move |c: &Connection| job(&Tx { c, shared: &shared, cancelled: flag });
        let committed = move |(_, moved): &(R, Option<(i64, u64)>)| {
            if alters {
                let mut heads = watched.heads();
                heads.generation += 1;
                heads.known.clear();
            }
            if let Some((line, version)) = moved {
                watched.saw(*line, *version);
            }
        };
        let done = self.sqlite.write_then(run, committed).await;
        drop(cancel);
        done.map(|(result, _)| result)
    }

    /// Runs a job that sees one moment. Dropping the future ends it.
    pub async fn read<R, F>(&self, job: F) -> Result<R, DatasetError>
    where
        F: FnOnce(&Tx<'_>) -> Result<R, DatasetError> + Send + 'static,
        R: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let cancel = Cancel::default();
        let flag = cancel.flag();
        let done = self.sqlite.read(move |c: &Connection| {
            c.execute_batch("BEGIN")?;
            let tx = Tx { c, shared: &shared, cancelled: flag };
            let result = tx.bounded(|| job(&tx));
            let ended = c.execute_batch("ROLLBACK");
            let value = result?;
            ended.map_err(StoreError::from)?;
            Ok(value)
        });
        let result = done.await;
        drop(cancel);
        result
    }

    /// The line and columns of a table at its newest version: known, or looked up.
    pub async fn head(&self, at: &TableAt) -> Result<(i64, Arc<TableSchema>), DatasetError> {
        let key = (at.place.branch.clone(), at.table.clone());
        let generation = {
            let heads = self.heads();
            if let Some((line, schema)) = heads.known.get(&key) {
                return Ok((*line, Arc::clone(schema)));
            }
            heads.generation
        };
        let asked = at.clone();
        let head = self.read(move |tx| tx.head(&asked)).await?;
        let mut heads = self.heads();
        // Unless something was altered since it was looked up.
        if heads.generation == generation {
            if heads.known.len() >= HEADS_KEPT_MAX {
                heads.known.clear();
            }
            heads.known.insert(key, (head.line, Arc::clone(&head.schema)));
        }
        Ok((head.line, head.schema))
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn close(&self) {
        self.sqlite.close().await;
        self.watches().clear();
    }

    /// Follows a line. It starts at 0; whoever knows the newest version says so with [`Database::saw`].
    pub fn watch(&self, line: i64) -> watch::Receiver<u64> {
        let mut watches = self.watches();
        watches.retain(|_, sender| !sender.is_closed());
        watches.entry(line).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Tells those who watch of a version, if it is news to them.
    pub fn saw(&self, line: i64, version: u64) {
        if let Some(sender) = self.watches().get(&line) {
            sender.send_if_modified(|newest| {
                let news = version > *newest;
                *newest = version.max(*newest);
                news
            });
        }
    }

    /// Whether somebody follows one of its tables.
    pub fn is_watched(&self) -> bool {
        self.watches().values().any(|sender| !sender.is_closed())
    }

    /// Nobody will hear of this line again.
    pub fn forget(&self, line: i64) {
        self.watches().remove(&line);
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<i64, watch::Sender<u64>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub fn schema(&self, id: i64) -> Option<Arc<TableSchema>> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub fn keep_schema(&self, schema: &Arc<TableSchema>) {
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if schemas.len() >= SCHEMAS_KEPT_MAX {
            schemas.clear();
        }
        schemas.insert(schema.id, Arc::clone(schema));
    }

    /// Keeps `optimize` from removing what a reader is about to read.
    pub fn pin(self: &Arc<Self>, versions: Vec<(i64, u64)>) -> Pin {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let number = pins.keys().max().map_or(0, |last| last + 1);
        pins.insert(number, versions);
        Pin { number, shared: Arc::clone(self) }
    }

    pub fn pinned(&self, line: i64) -> Vec<u64> {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.values().flatten().filter(|(of, _)| *of == line).map(|(_, version)| *version).collect()
    }
}

/// A reader's claim on versions; ends with it.
pub(super) struct Pin {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.pins.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

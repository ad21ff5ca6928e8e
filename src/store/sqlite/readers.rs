//! A few read-only connections, opened when first needed.

use super::Setup;
use super::open::open_reader;
use crate::store::StoreError;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Most reads at one time; more wait their turn.
const READERS_MAX: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    setup: Setup,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, setup: Setup) -> Self {
        Self { path, setup, permits: Arc::new(Semaphore::new(READERS_MAX)), idle: Arc::default() }
    }

    pub(super) async fn run<R, E, F>(&self, job: F) -> Result<R, E>
    where
        F: FnOnce(&Connection) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let unavailable =
            |reason: String| StoreError::Unavailable { place: self.path.display().to_string(), reason };
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("it was closed".to_owned()))?;
        let (path, setup, idle) = (self.path.clone(), self.setup.clone(), Arc::clone(&self.idle));
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = kept.map_or_else(|| open_reader(&path, &setup), Ok)?;
            let result = job(&connection);
            // A job that panics loses its connection; the next one opens another.
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        work.await.map_err(|e| unavailable(format!("the read was broken off: {e}")))?
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

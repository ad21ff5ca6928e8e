//! Which namespaces are open: opened when first used, the longest unused closed when there are many.

use super::database::Database;
use crate::clock::Clock;
use crate::dataset::{DatasetError, Place};
use crate::id::RoomId;
use crate::volume::Volume;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most namespaces open at one time, unless more are in use.
const OPEN_MAX: usize = 64;
/// Most names in the path of a namespace, and most bytes of one.
const NAMESPACE_DEPTH_MAX: usize = 32;
const NAMESPACE_NAME_BYTES_MAX: usize = 255;
/// The folder of a room on its volume.
const FOLDER: &str = "datasets";

type Key = (RoomId, Vec<String>);

pub(super) struct Pool {
    volume: Volume,
    clock: Arc<dyn Clock>,
    open: Mutex<Opened>,
    /// Held while anything is opened or closed.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Opened {
    databases: HashMap<Key, (Arc<Database>, u64)>,
    /// Counts uses.
    now: u64,
}

impl Pool {
    pub fn new(volume: Volume, clock: Arc<dyn Clock>) -> Self {
        Self { volume, clock, open: Mutex::default(), changing: tokio::sync::Mutex::new(()) }
    }

    /// The namespace's database; `None` when it has none and `make` is false.
    pub async fn get(&self, place: &Place, make: bool) -> Result<Option<Arc<Database>>, DatasetError> {
        let key = (place.room, place.namespace.clone());
        if let Some(found) = self.find(&key) {
            return Ok(Some(found));
        }
        check_namespace(&place.namespace)?;
        let dir = self.volume.folder(place.room, FOLDER).join(folder_name(&place.namespace));
        let _changing = self.changing.lock().await;
        if let Some(found) = self.find(&key) {
            return Ok(Some(found));
        }
        while let Some(idle) = self.too_many() {
            idle.close().await;
        }
        let clock = Arc::clone(&self.clock);
        let opened = tokio::task::spawn_blocking(move || {
            if !make && !dir.is_dir() {
                return Ok(None);
            }
            Database::open(&dir, clock).map(Some)
        });
        let opened =
            opened.await.map_err(|e| DatasetError::failed(format!("opening a dataset broke off: {e}")))?;
        Ok(opened?.map(|database| {
            let database = Arc::new(database);
            let mut open = self.open();
            open.now += 1;
            let now = open.now;
            open.databases.insert(key, (Arc::clone(&database), now));
            database
        }))
    }

    /// Closes what a room has open.
    pub async fn close_room(&self, room: RoomId) {
        let _changing = self.changing.lock().await;
        for database in self.take(|key| key.0 == room) {
            database.close().await;
        }
    }

    pub async fn delete_room(&self, room: RoomId) -> Result<(), DatasetError> {
        let _changing = self.changing.lock().await;
        for database in self.take(|key| key.0 == room) {
            database.close().await;
        }
        let dir = self.volume.folder(room, FOLDER);
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DatasetError::failed(format!("cannot remove {}: {error}", dir.display())))
            }
            _ => Ok(()),
        });
        removed.await.map_err(|e| DatasetError::failed(format!("removing datasets broke off: {e}")))?
    }

    /// Closes everything; for the end of the server.
    pub async fn close(&self) {
        let _changing = self.changing.lock().await;
        for database in self.take(|_| true) {
            database.close().await;
        }
    }

    fn find(&self, key: &Key) -> Option<Arc<Database>> {
        let mut open = self.open();
        open.now += 1;
        let now = open.now;
        let (database, used) = open.databases.get_mut(key)?;
        *used = now;
        Some(Arc::clone(database))
    }

    /// The longest unused of too many, taken out.
    fn too_many(&self) -> Option<Arc<Database>> {
        let mut open = self.open();
        if open.databases.len() < OPEN_MAX {
            return None;
        }
        let is_idle = |database: &Arc<Database>| Arc::strong_count(database) == 1 && !database.is_watched();
        let idle = open.databases.iter().filter(|(_, (database, _))| is_idle(database));
        let key = idle.min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone())?;
        open.databases.remove(&key).map(|(database, _)| database)
    }

    fn take(&self, which: impl Fn(&Key) -> bool) -> Vec<Arc<Database>> {
        let mut open = self.open();
        let keys: Vec<Key> = open.databases.keys().filter(|key| which(key)).cloned().collect();
        keys.iter().filter_map(|key| open.databases.remove(key)).map(|(database, _)| database).collect()
    }

    fn open(&self) -> MutexGuard<'_, Opened> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_namespace(namespace: &[String]) -> Result<(), DatasetError> {
    if namespace.len() > NAMESPACE_DEPTH_MAX {
        return Err(DatasetError::invalid(format!("a namespace has at most {NAMESPACE_DEPTH_MAX} names")));
    }
    match namespace.iter().find(|name| name.is_empty() || name.len() > NAMESPACE_NAME_BYTES_MAX) {
        Some(name) => Err(DatasetError::invalid(format!(
            "`{}` cannot name a namespace: names have 1 to {NAMESPACE_NAME_BYTES_MAX} bytes",
            name.chars().take(40).collect::<String>()
        ))),
        None => Ok(()),
    }
}

/// A name for the file system out of any strings: the same only for the same namespace.
fn folder_name(namespace: &[String]) -> String {
    if namespace.is_empty() {
        return "room".to_owned();
    }
    let mut hash = Sha256::new();
    for name in namespace {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
    }
    format!("n-{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_have_safe_folders_of_their_own() {
        let folder = |names: &[&str]| folder_name(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(folder(&[]), "room");
        let all = [folder(&["a", "b"]), folder(&["ab"]), folder(&["a", "b", ""]), folder(&["../.."])];
        for (index, name) in all.iter().enumerate() {
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
            assert!(!all[..index].contains(name));
        }
        assert!(check_namespace(&[String::new()]).is_err());
        assert!(check_namespace(&["x".repeat(256)]).is_err());
    }
}

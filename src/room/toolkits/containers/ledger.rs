//! Which room brought an image onto this machine, where the image itself cannot say so: what was pulled or loaded.
//! An image that nobody brought is the operator's, and every room may run it.

use crate::containers::labels::Owner;
use crate::id::RoomId;
use crate::room::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const FILE: &str = "images.json";
/// Most images remembered.
const IMAGES_MAX: usize = 10_000;

/// Image ids, and the rooms that brought each.
type Brought = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug)]
pub(super) struct Ledger {
    folder: PathBuf,
    brought: Mutex<Brought>,
}

/// Whose an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The room brought or built it.
    Own,
    /// On this machine for everybody.
    Shared,
    /// Another room's.
    Foreign,
}

fn key(room: RoomId) -> String {
    format!("{}/{}", room.project(), room.uuid())
}

impl Ledger {
    /// Reads what an earlier run knew.
    pub fn open(folder: &Path) -> Self {
        let brought = match fs::read(folder.join(FILE)) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(%error, folder = %folder.display(), "which room brought which image is unreadable");
                Brought::new()
            }),
            Err(_) => Brought::new(),
        };
        Self { folder: folder.to_owned(), brought: Mutex::new(brought) }
    }

    /// What the room may do with an image.
    pub fn standing(&self, room: RoomId, id: &str, built: Option<&Owner>) -> Standing {
        if let Some(owner) = built {
            return if owner.room == room { Standing::Own } else { Standing::Foreign };
        }
        match lock(&self.brought).get(id) {
            None => Standing::Shared,
            Some(rooms) if rooms.contains(&key(room)) => Standing::Own,
            Some(_) => Standing::Foreign,
        }
    }

    /// The room brought this image.
    pub fn add(&self, room: RoomId, id: &str) {
        let mut brought = lock(&self.brought);
        if brought.len() < IMAGES_MAX || brought.contains_key(id) {
            brought.entry(id.to_owned()).or_default().insert(key(room));
        }
        self.write(&brought);
    }

    /// The image is gone.
    pub fn forget(&self, id: &str) {
        let mut brought = lock(&self.brought);
        brought.remove(id);
        self.write(&brought);
    }

    /// The room is gone; what it brought stays hidden until somebody brings it again.
    pub fn forget_room(&self, room: RoomId) {
        let (mut brought, own) = (lock(&self.brought), key(room));
        for rooms in brought.values_mut() {
            rooms.remove(&own);
        }
        self.write(&brought);
    }

    fn write(&self, brought: &Brought) {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let draft = self.folder.join(format!(".{FILE}.new"));
            fs::write(&draft, serde_json::to_vec(brought)?)?;
            fs::rename(draft, self.folder.join(FILE))
        };
        if let Err(error) = write() {
            tracing::error!(%error, folder = %self.folder.display(), "which room brought which image is not on disk");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use uuid::Uuid;

    fn room(n: u128) -> RoomId {
        RoomId::new(ProjectId::new(Uuid::from_u128(1)), Uuid::from_u128(n))
    }

    #[test]
    fn what_a_room_brought_is_its_own_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path());
        assert_eq!(ledger.standing(room(1), "i", None), Standing::Shared);
        ledger.add(room(1), "i");
        let ledger = Ledger::open(folder.path());
        assert_eq!(ledger.standing(room(1), "i", None), Standing::Own);
        assert_eq!(ledger.standing(room(2), "i", None), Standing::Foreign);
        ledger.add(room(2), "i");
        ledger.forget_room(room(1));
        assert_eq!(ledger.standing(room(1), "i", None), Standing::Foreign);
        assert_eq!(ledger.standing(room(2), "i", None), Standing::Own);
        ledger.forget("i");
        assert_eq!(ledger.standing(room(3), "i", None), Standing::Shared);
    }

    #[test]
    fn what_a_room_built_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path());
        let owner = Owner { server: "s".into(), room: room(1), session: None, service: None };
        assert_eq!(ledger.standing(room(1), "i", Some(&owner)), Standing::Own);
        assert_eq!(ledger.standing(room(2), "i", Some(&owner)), Standing::Foreign);
    }
}

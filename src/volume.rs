//! Where a room keeps what is neither in the log nor in its database: one folder per room on the volume.
//!
//! `<root>/rooms/<project>/<room>/` holds one folder per kind of data: `files`, `datasets`, `databases`, `documents`, …
//! The session's lease makes its host the only writer. Each engine owns the folder it asks for and nothing else.
//!
//! Knows nothing of what is in the folders, of sessions or of grants.

use crate::id::RoomId;
use std::path::{Path, PathBuf};

/// The folders of all rooms.
#[derive(Debug, Clone)]
pub struct Volume {
    rooms: PathBuf,
}

impl Volume {
    /// `root` is the data directory, or the directory that several servers share.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self { rooms: root.as_ref().join("rooms") }
    }

    /// Of all rooms.
    #[must_use]
    pub fn rooms(&self) -> &Path {
        &self.rooms
    }

    /// The folder of `room` for data of `kind`, a plain name such as `documents`. It may not exist yet.
    #[must_use]
    pub fn folder(&self, room: RoomId, kind: &'static str) -> PathBuf {
        self.room(room).join(kind)
    }

    /// Everything a room has on this volume.
    #[must_use]
    pub fn room(&self, room: RoomId) -> PathBuf {
        self.rooms.join(room.project().to_string()).join(room.uuid().to_string())
    }
}

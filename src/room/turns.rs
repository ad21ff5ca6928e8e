//! Rooms' sessions open and end one after another: what the end of one lets go of is not the next one's.

use super::lock;
use crate::id::RoomId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Longest wait for a turn.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// Who opens or ends a session, by room.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Of those who work or wait; the others' are removed with the next.
    rooms: Mutex<HashMap<RoomId, Weak<tokio::sync::Mutex<()>>>>,
}

/// Dropped, it is the next one's turn.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// `None` where it did not come within [`TURN_WAIT`].
    pub async fn take(&self, room: RoomId) -> Option<Turn> {
        let turn = self.of(room);
        tokio::time::timeout(TURN_WAIT, turn.lock_owned()).await.ok()
    }

    fn of(&self, room: RoomId) -> Arc<tokio::sync::Mutex<()>> {
        let mut rooms = lock(&self.rooms);
        if let Some(turn) = rooms.get(&room).and_then(Weak::upgrade) {
            return turn;
        }
        rooms.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        rooms.insert(room, Arc::downgrade(&turn));
        turn
    }
}

//! Rooms that are woken: something waits in a queue of theirs, and one of their services may be who takes it.

use super::App;
use super::host::RoomHost;
use crate::id::RoomId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often opening a room is tried for what waits in it, and the pauses between: each is twice the last.
const TRIES_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes rooms, one try of a room at a time.
pub struct Wake {
    app: Arc<App>,
    host: Arc<dyn RoomHost>,
    /// Rooms that a task is still going to open.
    due: Mutex<HashSet<RoomId>>,
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake").finish_non_exhaustive()
    }
}

impl Wake {
    #[must_use]
    pub fn new(app: Arc<App>, host: Arc<dyn RoomHost>) -> Arc<Self> {
        Arc::new(Self { app, host, due: Mutex::default() })
    }

    /// Has a room opened that has services. The host is asked also where the room seems to run: it may be ending. To be called when
    /// the item is stored. Does not wait; call within the async runtime.
    pub fn wake(self: &Arc<Self>, room: RoomId) {
        if self.serves(room) && self.due().insert(room) {
            let own = Arc::clone(self);
            tokio::spawn(async move { own.open(room).await });
        }
    }

    async fn open(&self, room: RoomId) {
        let mut pause = PAUSE;
        for tries in 1..=TRIES_MAX {
            // An item that is stored from here on asks for a try of its own.
            self.due().remove(&room);
            let Err(error) = self.host.open(room).await else { return };
            let again = tries < TRIES_MAX;
            tracing::warn!(%error, %room, tries, again, "a room does not start; what came for it waits in its queue");
            // Another try may be due already.
            if !again || !self.serves(room) || !self.due().insert(room) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    fn serves(&self, room: RoomId) -> bool {
        let world = self.app.world();
        let enabled = world.room(room).is_some_and(|room| room.enabled);
        enabled && world.services(room.project()).any(|(_, service)| service.room.is_none_or(|of| of == room))
    }

    /// Nothing panics while it is held.
    fn due(&self) -> MutexGuard<'_, HashSet<RoomId>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

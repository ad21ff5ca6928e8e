//! Rooms with fresh items in their queues: opened, where something would take them.

use super::{ControlParts, Outcome, backoff, service};
use crate::id::RoomId;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The rooms that are still to be opened: how often that failed, and when to try again.
#[derive(Debug, Default)]
pub(super) struct Fresh(Mutex<HashMap<RoomId, (u32, DateTime<Utc>)>>);

impl Fresh {
    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, (u32, DateTime<Utc>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a room has an item now.
    pub fn add(&self, room: RoomId, now: DateTime<Utc>) {
        self.rooms().entry(room).or_insert((0, now));
    }

    /// Opens those that are due. What a killed server forgets here is found in the queues at its next start.
    pub async fn open_rooms(&self, parts: &ControlParts, outcome: &mut Outcome) {
        let (world, now) = (parts.app.world(), parts.app.clock.now());
        let waiting: Vec<(RoomId, (u32, DateTime<Utc>))> =
            self.rooms().iter().map(|(room, tries)| (*room, *tries)).collect();
        for (room, (failures, again)) in waiting {
            let of_use =
                world.room(room).is_some_and(|room| room.enabled) && service::runs_something(&world, room);
            if again > now && of_use {
                outcome.due(again);
                continue;
            }
            let opened = if of_use { parts.host.open(room).await.map(|_| ()) } else { Ok(()) };
            match opened {
                Ok(()) => {
                    self.rooms().remove(&room);
                }
                Err(error) => {
                    let failures = failures.saturating_add(1);
                    let wait = backoff::delay(failures, room.uuid().as_u128());
                    let again = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                    tracing::warn!(%room, %error, %again, "the room of a fresh item cannot be opened");
                    self.rooms().insert(room, (failures, again));
                    outcome.due(again);
                }
            }
        }
    }
}

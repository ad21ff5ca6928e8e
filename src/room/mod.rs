//! The room edge: the WebSocket at `/rooms/{room}`, the live state of sessions, the tool bus and the toolkits the
//! server itself offers. Room protocol §1–4, §6, §8.
//!
//! ```text
//! socket   upgrade, read loop, write loop          outbox   bounded line of what is to be written
//! hub      live sessions by room                   session  participants, registrations, hosted calls
//! connection → invoke → guard → toolkits/*         hosted   calls relayed to a participant's toolkit (stream: its machine)
//! agents   conversations with managed agents
//! tunnel   TCP connections to ports of containers
//! world    what the edge needs from the outside, as traits
//! ```
//!
//! May not know the log, SQL, the REST edge or how a service is started: it asks for those through [`world`].

pub mod agents;
pub mod bus;
pub mod call_out;
pub mod connection;
pub mod dialled;
pub mod early;
pub mod forward;
pub mod fuzzing;
pub mod guard;
pub mod hosted;
pub mod hub;
pub mod input;
pub mod invoke;
pub mod limits;
pub mod listing;
pub mod mcp;
pub mod near;
pub mod outbox;
pub mod session;
pub mod socket;
pub mod spans;
pub mod stream;
pub mod toolkit;
pub mod toolkits;
pub mod tunnel;
pub mod world;

pub use bus::{Bus, BusParts};
pub use hub::{Hub, JoinError};
pub use limits::Limits;
pub use socket::{RoomEdge, router};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a small state. Nothing awaits or panics half way through a change while it holds one, so a poisoned
/// lock is still a good one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The log folded into memory: what is wanted and what was seen, of every project.
//!
//! A [`World`] is an immutable value; readers take the newest one without a lock and see one instant of it.
//! [`Projection`] keeps it current from the log. Nothing here decides or acts.

mod live;
mod view;
mod world;

pub use live::{OpenError, Projection};
pub use view::{ProjectView, SESSIONS_KEPT, Slot, Table};
pub use world::{ApplyError, World};

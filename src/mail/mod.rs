//! Mail itself: addresses, what of a message the server reads, the lines it adds, signatures, the outbox of what goes
//! out, and the way to other mail servers.
//!
//! Knows nothing of SMTP sessions that others open, rooms, mailboxes or who may write to whom.

pub mod address;
pub mod bounce;
pub mod carrier;
pub mod dkim;
pub mod message;
pub mod outbox;
pub mod proof;
pub mod retry;

pub use address::{Address, InvalidAddress};
pub use message::{Facts, Trace, Unreadable};

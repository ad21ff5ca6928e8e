//! Synchronised documents of rooms: Yjs documents with a MeshSchema, kept as an append-only log of updates and a
//! snapshot, edited by many at once (room protocol §3.5, §5).
//!
//! ```text
//! journal  the room's log of updates and snapshots, one sync for many
//! card     the file in room storage that stands for a document
//! live     a document that somebody has open (its state is [`crate::yjs::Replica`])
//! store    finds, makes, opens and deletes documents (tidy: the deleted)
//! ```
//!
//! A change is seen by others, and acknowledged to who made it, only once it is on disk. A document is in memory
//! while somebody has it open. In room storage it is a small file, so that it is listed, moved and deleted like one.
//!
//! Knows nothing of sockets, streams of the room protocol or grants.

mod card;
mod error;
pub mod journal;
mod live;
mod store;
mod tidy;

pub use error::DocumentError;
pub use live::{Acknowledge, Change, Document, Listener};
pub use store::{Documents, Handle, NewDocument, SchemaSource};

/// Largest document, bytes of its snapshot and the updates after it.
pub const DOCUMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most documents in memory on one server.
pub const LOADED_MAX: usize = 10_000;
/// Most openers of one document.
pub const OPENERS_MAX: usize = 10_000;

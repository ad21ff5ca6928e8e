//! Synchronised documents of rooms: Yjs documents with a MeshSchema, kept as an append-only log of updates and a
//! snapshot, edited by many at once (room protocol §3.5, §5).
//!
//! ```text
//! update   looks a stranger's update over        journal  the room's log of updates and snapshots, one sync for many
//! schema   MeshSchema, pure                      card     the file in room storage that stands for a document
//! tree     JSON form ⇄ XML tree                  live     a document that somebody has open
//! replica  the state, on `yrs`                   store    finds, makes, opens and deletes documents (tidy: the deleted)
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
mod replica;
mod schema;
mod store;
mod tidy;
mod tree;
mod update;

pub use error::DocumentError;
pub use live::{Acknowledge, Change, Document, Listener};
pub use replica::{MISSING_BYTES_MAX, ROOT, Replica};
pub use schema::{MeshSchema, SchemaError};
pub use store::{Documents, Handle, NewDocument, SchemaSource};
pub use tree::TreeError;
pub use update::{DEPTH_MAX, UPDATE_BYTES_MAX, UpdateError};

/// Largest document, bytes of its snapshot and the updates after it.
pub const DOCUMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most documents in memory on one server.
pub const LOADED_MAX: usize = 10_000;
/// Most openers of one document.
pub const OPENERS_MAX: usize = 10_000;

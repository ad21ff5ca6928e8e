//! Yjs documents with a MeshSchema, in memory (room protocol §5): what the server keeps and what a client edits.
//!
//! ```text
//! schema   what elements a document may hold      replica  the state, on the library `yrs`
//! tree     JSON form ⇄ XML tree                   edit     changes to single elements
//! update   looks a stranger's update over
//! ```
//!
//! Knows nothing of files, rooms or connections. What comes from outside is looked over before the library sees it.

mod edit;
mod replica;
mod schema;
mod tree;
mod update;

pub use edit::EditError;
pub use replica::{Applied, ApplyError, MISSING_BYTES_MAX, ROOT, Replica};
pub use schema::{ElementType, MeshSchema, SCHEMA_BYTES_MAX, SchemaError, ValueKind, ValueProperty};
pub use tree::TreeError;
pub use update::{DEPTH_MAX, UPDATE_BYTES_MAX, UpdateError};

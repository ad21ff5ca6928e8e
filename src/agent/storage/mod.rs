//! Where threads are kept: a table of the room's datasets each, and one that lists them (process agents §12, §13). The
//! official agent reads and writes the same tables.
//!
//! Knows the room client and the form of rows; nothing of turns.

mod index;
mod place;
mod rows;
mod table;

pub use index::{Index, sorted};
pub use place::{InvalidPlace, Place};
pub use rows::Stored;
pub use table::{ThreadTable, read_thread};

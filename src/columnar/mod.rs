//! Tables outside a database: Arrow IPC streams, typed JSON rows (room protocol §3.8), and the one mapping of Arrow
//! types to SQLite values. Shared by datasets, SQLite databases, memory and the command line.
//!
//! Knows no stores, sockets or grants.

pub mod cell;
pub mod files;
pub mod ipc;
pub mod typed;

//! The databases under the ports: one SQLite file with one writer thread, or a pool of Postgres connections.
//!
//! Knows connections, transactions, durability, migrations and what goes wrong with them. It may not know what any
//! table holds: the event log, queues, leases and the vault bring their own statements.

mod error;
pub mod migrations;
pub mod postgres;
pub mod sqlite;

pub use error::StoreError;

//! What integration tests share: servers under test, programs beside them, and the public clients.

pub mod clients;
pub mod mcp;
pub mod postgres;
pub mod script;
pub mod server;

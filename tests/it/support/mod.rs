//! What integration tests share: servers under test and the public clients.

pub mod clients;

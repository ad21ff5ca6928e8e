//! What agents remember.

pub mod cypher;

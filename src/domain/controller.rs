//! What is recorded of the controllers themselves.

use crate::id::StreamId;
use serde::{Deserialize, Serialize};

/// Fact: one run of a controller took longer than it may; it goes on, and somebody should look why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stalled {
    /// Server that the controller runs on.
    pub server: String,
    /// Name of the controller, with the object it was at where there is one.
    pub controller: String,
    /// The limit that was passed.
    pub limit_seconds: u64,
}

/// Category of the streams, one per server.
pub const CATEGORY: &str = "controller";

/// The stream of one server's controllers.
#[must_use]
pub fn stream(server: &str) -> StreamId {
    StreamId::new(CATEGORY, server)
}

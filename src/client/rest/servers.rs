//! The servers that share a store.

use super::{Rest, RestError};
use serde_json::{Value, json};

impl Rest {
    /// `{servers: [{name, url, state, rooms, drained_by}]}`; `state` is `active` or `draining`.
    pub async fn servers(&self) -> Result<Value, RestError> {
        self.get(&["v1", "servers"], &[]).await
    }

    /// Has a server give its rooms to the others; answers before it has.
    pub async fn drain_server(&self, name: &str) -> Result<Value, RestError> {
        self.post(&["v1", "servers", name, "drain"], &json!({})).await
    }

    /// Has a server take rooms again.
    pub async fn resume_server(&self, name: &str) -> Result<Value, RestError> {
        self.post(&["v1", "servers", name, "resume"], &json!({})).await
    }
}

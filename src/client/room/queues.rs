//! Queues of the room (room protocol §3.7), and the lease tools that our own server adds.

use super::call::Target;
use super::link::unexpected;
use super::{RoomClient, RoomError};
use crate::wire::Content;
use serde::Deserialize;
use serde_json::{Value, json};

/// Queue requests of one client.
#[derive(Debug)]
pub struct Queues<'a> {
    client: &'a RoomClient,
}

/// An item taken under a lease: it comes back unless it is acknowledged in time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Leased {
    pub item_id: String,
    pub lease_token: String,
    /// 1 for the first delivery.
    #[serde(default)]
    pub attempt: u32,
    pub message: Value,
}

impl<'a> Queues<'a> {
    pub(super) fn new(client: &'a RoomClient) -> Self {
        Self { client }
    }

    /// Puts a message in a queue; makes the queue where `create` says so, else error 5001.
    pub async fn send(&self, name: &str, create: bool, message: Value) -> Result<(), RoomError> {
        self.call("send", json!({"name": name, "create": create, "message": message})).await.map(|_| ())
    }

    /// Takes the oldest message away. With `wait` it waits for one, without limit; else `None` when there is none.
    pub async fn receive(&self, name: &str, create: bool, wait: bool) -> Result<Option<Value>, RoomError> {
        self.call("receive", json!({"name": name, "create": create, "wait": wait})).await
    }

    /// Whether the server has lease, ack, nack and extend.
    pub async fn can_lease(&self) -> Result<bool, RoomError> {
        self.client.offers("queues", "lease").await
    }

    /// Takes the oldest free message for `lease_ms`; waits as `receive` does.
    pub async fn lease(
        &self,
        name: &str,
        create: bool,
        wait: bool,
        lease_ms: u64,
    ) -> Result<Option<Leased>, RoomError> {
        let input = json!({"name": name, "create": create, "wait": wait, "lease_ms": lease_ms});
        let Some(item) = self.call("lease", input).await? else { return Ok(None) };
        serde_json::from_value(item).map(Some).map_err(|error| RoomError::Failed {
            request: "queues.lease".into(),
            text: format!("the answer is no leased item: {error}"),
            code: None,
        })
    }

    /// The work is done: removes the item.
    pub async fn ack(&self, name: &str, item: &Leased) -> Result<(), RoomError> {
        self.call("ack", lease_input(name, item)).await.map(|_| ())
    }

    /// Gives the item back, to be offered again after `delay_ms`; after too many attempts the server moves it to
    /// the dead letters.
    pub async fn nack(
        &self,
        name: &str,
        item: &Leased,
        reason: &str,
        delay_ms: u64,
    ) -> Result<(), RoomError> {
        let mut input = lease_input(name, item);
        input["reason"] = json!(reason);
        input["delay_ms"] = json!(delay_ms);
        self.call("nack", input).await.map(|_| ())
    }

    /// Keeps the item for `lease_ms` from now.
    pub async fn extend(&self, name: &str, item: &Leased, lease_ms: u64) -> Result<(), RoomError> {
        let mut input = lease_input(name, item);
        input["lease_ms"] = json!(lease_ms);
        self.call("extend", input).await.map(|_| ())
    }

    /// Names and sizes of the room's queues.
    pub async fn list(&self) -> Result<Value, RoomError> {
        self.call("list", json!({})).await.map(Option::unwrap_or_default)
    }

    async fn call(&self, tool: &str, input: Value) -> Result<Option<Value>, RoomError> {
        match self.client.invoke(&Target::new("queues", tool), Content::Json(input)).await? {
            Content::Json(value) => Ok(Some(value)),
            Content::Text(text) => Ok(Some(Value::String(text))),
            Content::Empty => Ok(None),
            other => Err(unexpected(&format!("queues.{tool}"), &other, "json, text or empty")),
        }
    }
}

fn lease_input(name: &str, item: &Leased) -> Value {
    json!({"name": name, "item_id": item.item_id, "lease_token": item.lease_token})
}

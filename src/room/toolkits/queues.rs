//! `queues`: durable queues of the room (room protocol §3.7), and the lease tools for consumers that acknowledge.

use crate::id::RoomId;
use crate::name::QueueName;
use crate::queue::{self, ItemId, LeaseToken, LeasedItem, NewItem, QueueError, QueueKey, QueueStore};
use crate::room::lock;
use crate::room::session::{LiveSession, Peer};
use crate::room::toolkit::{Call, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::wire::Content;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// Lease of a caller that names none, milliseconds.
const LEASE_MS_DEFAULT: u64 = 60_000;
/// Marks the holder of a lease that outlives its connection.
const DETACHED: &str = "/detached";
/// Dead letters on a page of a caller that names no limit.
const DEAD_PAGE_DEFAULT: usize = 100;

/// The toolkit.
#[derive(Debug)]
pub struct Queues {
    store: Arc<dyn QueueStore>,
    info: ToolkitInfo,
    /// Participants that took a lease.
    holders: Mutex<HashSet<String>>,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Named {
    name: QueueName,
}

#[derive(Deserialize, JsonSchema)]
struct Send {
    name: QueueName,
    /// Makes the queue when it is missing.
    #[serde(default)]
    create: Option<bool>,
    /// Any JSON; comes back as it is.
    message: Value,
}

#[derive(Deserialize, JsonSchema)]
struct Receive {
    name: QueueName,
    #[serde(default)]
    create: Option<bool>,
    /// Answers only when there is an item.
    #[serde(default)]
    wait: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(clippy::struct_field_names, reason = "the name on the wire")]
struct Lease {
    name: QueueName,
    #[serde(default)]
    create: Option<bool>,
    #[serde(default)]
    wait: Option<bool>,
    #[serde(default)]
    lease_ms: Option<u64>,
    /// The lease outlives the connection; else its end gives the item back at once.
    #[serde(default)]
    detached: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
struct Leased {
    name: QueueName,
    /// As `lease` returned it.
    lease_token: String,
    /// `nack`: why the work failed.
    #[serde(default)]
    reason: Option<String>,
    /// `nack`: the item is offered again after this time.
    #[serde(default)]
    delay_ms: Option<u64>,
    /// `extend`: the lease ends this long from now.
    #[serde(default)]
    lease_ms: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
struct DeadLetters {
    name: QueueName,
    /// `next` of the page before.
    #[serde(default)]
    after: Option<i64>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
struct Replay {
    name: QueueName,
    /// Ids of dead letters; all of them when empty.
    #[serde(default)]
    item_ids: Option<Vec<String>>,
}

impl Queues {
    pub fn new(store: Arc<dyn QueueStore>) -> Self {
        let (json, empty) = (["json"], ["empty"]);
        let tools = vec![
            ToolInfo::unary::<Nothing>(
                "list",
                &json,
                "Lists the room's queues and how many items wait in each.",
            ),
            ToolInfo::unary::<Named>("open", &empty, "Makes a queue unless it is there."),
            ToolInfo::unary::<Send>("send", &empty, "Puts one item at the end of a queue."),
            ToolInfo::unary::<Named>("drain", &empty, "Removes all items of a queue."),
            ToolInfo::unary::<Named>("close", &empty, "Deletes a queue with everything in it."),
            ToolInfo::unary::<Receive>(
                "receive",
                &["json", "text", "empty"],
                "Takes the oldest item out of a queue.",
            )
            .waiting(),
            ToolInfo::unary::<Lease>(
                "lease",
                &["json", "empty"],
                "Takes the oldest item for a while; `ack` removes it.",
            )
            .waiting(),
            ToolInfo::unary::<Leased>("ack", &empty, "Removes a leased item: the work is done."),
            ToolInfo::unary::<Leased>("nack", &json, "Gives a leased item back: the work failed."),
            ToolInfo::unary::<Leased>("extend", &empty, "Moves the end of a lease."),
            ToolInfo::unary::<DeadLetters>(
                "dead_letters",
                &json,
                "Lists the items that failed too often, with the reason.",
            ),
            ToolInfo::unary::<Replay>("replay", &json, "Puts dead letters back in the queue."),
        ];
        let info = ToolkitInfo {
            name: "queues",
            title: "Queues",
            description: "Durable queues of this room. First in, first out; one consumer gets each item.",
            tools,
        };
        Self { store, info, holders: Mutex::default() }
    }

    async fn send(&self, room: RoomId, args: Send) -> Result<Content, ToolError> {
        let key = QueueKey::new(room, args.name);
        let item = NewItem::new(args.message.to_string());
        self.store.send(&key, item, args.create.unwrap_or(false)).await?;
        Ok(Content::Empty)
    }

    /// An item that cannot be delivered goes back to its place.
    async fn receive(&self, call: &mut Call, args: Receive) -> Result<Content, ToolError> {
        let key = QueueKey::new(call.session.room.id, args.name);
        if args.create.unwrap_or(false) {
            self.store.ensure(&key).await?;
        }
        let Some(taken) = queue::take(&self.store, &key, args.wait.unwrap_or(false)).await? else {
            return Ok(Content::Empty);
        };
        let content = message(taken.body());
        call.on_delivery(move || drop(taken.accept()));
        Ok(content)
    }

    async fn lease(&self, call: &Call, args: Lease) -> Result<Content, ToolError> {
        let key = QueueKey::new(call.session.room.id, args.name);
        if args.create.unwrap_or(false) {
            self.store.ensure(&key).await?;
        }
        let lease_ms = args.lease_ms.unwrap_or(LEASE_MS_DEFAULT);
        let mut holder = call.caller.id.clone();
        if args.detached.unwrap_or(false) {
            holder.push_str(DETACHED);
        } else {
            // Before the lease, so that one that comes while the participant goes is given back too.
            lock(&self.holders).insert(holder.clone());
        }
        let item = if args.wait.unwrap_or(false) {
            queue::lease_wait(&self.store, &key, &holder, lease_ms, 1).await?.pop()
        } else {
            self.store.lease(&key, &holder, lease_ms).await?
        };
        let Some(item) = item else { return Ok(Content::Empty) };
        let (room, queue, by) = (&call.session.room.name, key.name.as_str(), &call.caller.name);
        tracing::info!(target: "meshagent::work", room, queue, by, attempt = item.attempt, "job taken");
        Ok(Content::Json(leased(&item)))
    }

    async fn settle(&self, call: &Call, args: Leased) -> Result<Content, ToolError> {
        let token: LeaseToken = match args.lease_token.parse() {
            Ok(token) => token,
            Err(error) => return Err(ToolError::invalid(format!("{error}"))),
        };
        let key = QueueKey::new(call.session.room.id, args.name);
        match call.tool {
            "ack" => {
                self.store.ack(&key, token).await?;
                let (room, queue, by) = (&call.session.room.name, key.name.as_str(), &call.caller.name);
                tracing::info!(target: "meshagent::work", room, queue, by, "job done");
            }
            "nack" => {
                let reason = args.reason.as_deref().unwrap_or("the consumer gave no reason");
                let dead = self.store.nack(&key, token, reason, args.delay_ms.unwrap_or(0)).await?;
                return Ok(Content::Json(json!({"dead": dead})));
            }
            _ => self.store.extend(&key, token, args.lease_ms.unwrap_or(LEASE_MS_DEFAULT)).await?,
        }
        Ok(Content::Empty)
    }

    async fn dead_letters(&self, room: RoomId, args: DeadLetters) -> Result<Content, ToolError> {
        let key = QueueKey::new(room, args.name);
        let limit = args.limit.unwrap_or(DEAD_PAGE_DEFAULT).clamp(1, queue::DEAD_PAGE_MAX);
        let page = self.store.dead_letters(&key, args.after.unwrap_or(0), limit).await?;
        let items: Vec<Value> = page
            .items
            .iter()
            .map(|item| {
                json!({
                    "item_id": item.id,
                    "message": body(&item.body),
                    "attempts": item.attempt,
                    "reason": item.reason,
                    "dead_at": item.dead_at,
                })
            })
            .collect();
        Ok(Content::Json(json!({"items": items, "next": page.next})))
    }

    async fn replay(&self, room: RoomId, args: Replay) -> Result<Content, ToolError> {
        let ids: Result<Vec<ItemId>, _> =
            args.item_ids.unwrap_or_default().iter().map(|id| item_id(id)).collect();
        let replayed = self.store.replay_dead(&QueueKey::new(room, args.name), &ids?).await?;
        Ok(Content::Json(json!({"replayed": replayed})))
    }

    async fn list(&self, room: RoomId) -> Result<Content, ToolError> {
        let queues = self.store.list(room).await?;
        let queues: Vec<Value> = queues.iter().map(|q| json!({"name": q.name, "size": q.size})).collect();
        Ok(Content::Json(json!({"queues": queues})))
    }
}

#[async_trait]
impl Toolkit for Queues {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        let room = call.session.room.id;
        let named = |call: &Call| Ok::<_, ToolError>(QueueKey::new(room, call.args::<Named>()?.name));
        match call.tool {
            "list" => return self.list(room).await,
            "send" => return self.send(room, call.args()?).await,
            "receive" => {
                let args = call.args()?;
                return self.receive(call, args).await;
            }
            "lease" => return self.lease(call, call.args()?).await,
            "ack" | "nack" | "extend" => return self.settle(call, call.args()?).await,
            "dead_letters" => return self.dead_letters(room, call.args()?).await,
            "replay" => return self.replay(room, call.args()?).await,
            "open" => drop(self.store.ensure(&named(call)?).await?),
            "drain" => drop(self.store.drain(&named(call)?).await?),
            _ => self.store.close(&named(call)?).await?,
        }
        Ok(Content::Empty)
    }

    fn holds(&self, peer: &Peer) -> bool {
        lock(&self.holders).contains(&peer.id)
    }

    /// Its leased items are offered again at once, as failed attempts.
    async fn left(&self, session: &LiveSession, peer: &Peer) {
        lock(&self.holders).remove(&peer.id);
        let reason = format!("the consumer `{}` lost its connection", peer.name);
        match self.store.nack_holder(session.room.id, &peer.id, &reason).await {
            Ok(0) => {}
            Ok(items) => {
                tracing::info!(room = %session.room.name, name = %peer.name, items, "leases given back");
            }
            Err(error) => {
                tracing::warn!(room = %session.room.name, name = %peer.name, %error, "leases run out by themselves");
            }
        }
    }
}

/// An item's JSON text as the content a receiver gets.
fn message(text: &str) -> Content {
    match body(text) {
        Value::String(text) => Content::Text(text),
        value => Content::Json(value),
    }
}

/// What the store holds is JSON that we wrote; anything else comes out as text rather than not at all.
fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn leased(item: &LeasedItem) -> Value {
    json!({
        "item_id": item.id,
        "lease_token": item.token.to_string(),
        "attempt": item.attempt,
        "message": body(&item.body),
        "until": item.until,
    })
}

fn item_id(text: &str) -> Result<ItemId, ToolError> {
    uuid::Uuid::parse_str(text)
        .map(ItemId)
        .map_err(|_| ToolError::invalid(format!("`{text}` is not an item id; `dead_letters` shows them")))
}

impl From<QueueError> for ToolError {
    fn from(error: QueueError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

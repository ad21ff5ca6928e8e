//! The objects of REST answers, field by field as the wire spells them. Members a client does not know are ignored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

type Annotations = BTreeMap<String, String>;

/// `GET /config`: what every client asks first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub domains: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Project {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub owner_user_id: Option<String>,
    #[serde(default)]
    pub project_key: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
}

/// A durable workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Room {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    #[serde(default)]
    pub annotations: Annotations,
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// Is a server running this room?
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomStatus {
    /// `Allocated` or `Unallocated`.
    pub status: String,
    #[serde(default)]
    pub allocated_at: Option<String>,
    #[serde(default)]
    pub running_for_seconds: Option<f64>,
    /// Its limits, and what it uses of them.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Something that happened to a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomEvent {
    pub id: Value,
    #[serde(default)]
    pub room_name: Option<String>,
    #[serde(default)]
    pub session_id: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub severity: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
}

/// What a participant needs to dial a room.
#[derive(Clone, Serialize, Deserialize)]
pub struct Connection {
    /// The participant token. Secret.
    pub jwt: String,
    pub room_name: String,
    pub project_id: String,
    /// Dialled as it is.
    pub room_url: String,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("room_url", &self.room_url).finish_non_exhaustive()
    }
}

/// One run of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub id: String,
    #[serde(default)]
    pub room_id: Option<String>,
    #[serde(default)]
    pub room_name: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub is_active: bool,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Mail to `address` goes into `queue` of `room`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mailbox {
    pub address: String,
    pub room: String,
    #[serde(default)]
    pub room_id: Option<String>,
    pub queue: String,
    #[serde(default)]
    pub public: bool,
    #[serde(default)]
    pub annotations: Annotations,
}

/// A scheduled task with its last firing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub id: String,
    #[serde(default)]
    pub room_id: Option<String>,
    #[serde(default)]
    pub room_name: Option<String>,
    /// A `ScheduledTask` document.
    pub spec: Value,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One firing of a scheduled task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub id: Value,
    pub status: String,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An identity that is not a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceAccount {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    #[serde(default)]
    pub annotations: Annotations,
    #[serde(default)]
    pub project_id: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// An API key of a service account.
#[derive(Clone, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub last_used_at: Option<String>,
    /// The whole key text, only in the answer that creates it. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

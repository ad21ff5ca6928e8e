//! How a participant's secret is kept: one sealed record, found by its room, owner and id.

use crate::id::RoomId;
use crate::room::toolkit::{Call, ToolError};
use crate::room::world::RoomSecrets;
use crate::vault::Secret;
use crate::wire::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;

/// Most secrets that a room keeps for its participants.
pub const SECRETS_MAX: usize = 1_000;
/// Longest value, bytes.
pub const VALUE_BYTES_MAX: usize = 32 * 1024;

/// A secret with its value. Not `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub owner: String,
    pub id: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub delegated_to: Option<String>,
    #[serde(with = "as_base64")]
    pub data: Bytes,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("owner", &self.owner).field("id", &self.id).finish_non_exhaustive()
    }
}

mod as_base64 {
    use super::{Bytes, Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(data: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(data))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

impl Kept {
    pub fn listing(&self) -> Value {
        json!({"id": self.id, "name": self.name, "type": self.kind, "delegated_to": self.delegated_to})
    }

    pub fn is(&self, owner: &str, id: &str, delegated_to: Option<&str>) -> bool {
        self.owner == owner && self.id == id && self.delegated_to.as_deref() == delegated_to
    }

    pub fn may_be_read_by(&self, name: &str) -> bool {
        self.owner == name || self.delegated_to.as_deref() == Some(name)
    }

    pub fn into_file(self) -> Content {
        Content::File { name: self.name, mime_type: self.kind, data: self.data }
    }
}

/// The same for the same owner, id and delegate, and no part of it can be read.
fn key(owner: &str, id: &str, delegated_to: Option<&str>) -> String {
    let text = json!([owner, id, delegated_to]).to_string();
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Whose secrets the call is about: the caller's own, or another identity's for who may change the room's settings.
pub(super) fn owner<'a>(call: &'a Call, for_identity: Option<&'a str>) -> Result<&'a str, ToolError> {
    match for_identity {
        Some(name) if name != call.caller.name => {
            crate::room::guard::configure(&call.caller.api)?;
            Ok(name)
        }
        _ => Ok(&call.caller.name),
    }
}

/// The value that a call brings.
pub(super) fn data(content: &Content) -> Result<Bytes, ToolError> {
    let Content::Binary { data, .. } = content else {
        return Err(ToolError::invalid("the value of a secret comes as binary content"));
    };
    if data.len() > VALUE_BYTES_MAX {
        let text = format!("the value has {} bytes, at most {VALUE_BYTES_MAX} are allowed", data.len());
        return Err(ToolError::invalid(text));
    }
    Ok(data.clone())
}

/// All secrets of the room; the caller filters by who may read.
pub(super) async fn all(port: &dyn RoomSecrets, room: RoomId) -> Result<Vec<Kept>, ToolError> {
    let records = port.all(room).await.map_err(ToolError::failed)?;
    Ok(records.iter().filter_map(|record| serde_json::from_slice(record.expose()).ok()).collect())
}

pub(super) async fn put(port: &dyn RoomSecrets, room: RoomId, kept: &Kept) -> Result<(), ToolError> {
    let key = key(&kept.owner, &kept.id, kept.delegated_to.as_deref());
    let record = serde_json::to_vec(kept).map_err(|error| ToolError::failed(error.to_string()))?;
    port.put(room, &key, Secret::new(record), SECRETS_MAX).await.map_err(ToolError::failed)
}

/// Forgets a secret of the caller's, whether it was there or not.
pub(super) async fn delete(
    port: &dyn RoomSecrets,
    call: &Call,
    id: &str,
    delegated_to: Option<&str>,
) -> Result<Content, ToolError> {
    let key = key(&call.caller.name, id, delegated_to);
    port.delete(call.session.room.id, &key).await.map_err(ToolError::failed)?;
    Ok(Content::Empty)
}

//! `kind: Mailbox`: mail to an address becomes items of a queue.

use super::common::{Annotations, MailboxKind, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mail to `address` goes into `queue` of `room`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: MailboxKind,
    /// `name@domain`, unique on the platform. It is the document's name.
    pub address: String,
    /// Name of the room.
    pub room: String,
    /// Name of the queue; an agent with a `mail:` channel reads the queue named as the address.
    pub queue: String,
    /// `true`: anyone may write; `false`: only members of the project.
    #[serde(default)]
    pub public: bool,
    #[serde(default)]
    pub annotations: Annotations,
}

//! Agents of a service: name, channels, mail address, heartbeat.

use super::common::{Annotations, annotation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Begin of the annotations by which an agent subscribes to events; the value is the queue that gets them.
pub const EVENT_PREFIX: &str = "meshagent.events.";
/// Events that there are to subscribe to.
pub const EVENTS: [&str; 5] = [
    "service.created",
    "service.updated",
    "room.user.grant.create",
    "room.user.grant.delete",
    "room.user.grant.update",
];

/// One agent that a service brings into its room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Participant name of the agent.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Notes by key, e.g. `meshagent.agent.type: ChatBot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// Where the agent takes input from. Informs user interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<AgentChannels>,
    /// The platform keeps a mailbox for this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<AgentEmail>,
    /// A prompt put into a queue every few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
}

impl Agent {
    /// One annotation of the agent.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        annotation(self.annotations.as_ref(), key)
    }
}

/// Inputs of an agent, by kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentChannels {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Vec<EmailChannel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<Vec<MessagingChannel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Vec<QueueChannel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolkit: Option<Vec<ToolkitChannel>>,
}

/// Mail to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChannel {
    pub address: String,
    #[serde(default = "super::common::yes")]
    pub private: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// Messages between participants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagingChannel {
    #[serde(default)]
    pub protocol: MessagingProtocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<Prompt>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// Protocol of a messaging channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MessagingProtocol {
    #[default]
    #[serde(rename = "meshagent.agent-message.v1")]
    AgentMessageV1,
}

/// A prompt offered to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub prompt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// Items of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueChannel {
    pub queue: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threading_mode: Option<ThreadingMode>,
    /// JSON Schema of the items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_schema: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// How items map to threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ThreadingMode {
    #[serde(rename = "default-new")]
    DefaultNew,
}

/// Calls of a toolkit that the agent hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolkitChannel {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// Mail address of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentEmail {
    #[schemars(length(min = 1))]
    pub address: String,
    /// `true`: anyone may write; `false`: only members of the project.
    #[serde(default)]
    pub public: bool,
}

/// A prompt put into a queue every `minutes` minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    #[schemars(length(min = 1))]
    pub queue: String,
    /// Thread of the turn; `{year}{month}{day}{hour}{minute}` are replaced when it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[schemars(length(min = 1))]
    pub prompt: Vec<PromptContent>,
    #[schemars(range(min = 1))]
    pub minutes: u32,
}

/// One piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum PromptContent {
    Text {
        text: String,
    },
    File {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    Audio {
        url: String,
    },
}

//! What clients say to an agent.

use crate::agent::voice::Modality;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// One piece of what was said to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum InputContent {
    Text {
        text: String,
    },
    /// `room:///path`, `https://…` or `data:…;base64,…`.
    File {
        url: String,
        #[serde(default)]
        name: Option<String>,
    },
    Audio {
        url: String,
    },
}

impl InputContent {
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// Leave to use a model on a participant's account. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LlmAuthorization(pub Value);

impl fmt::Debug for LlmAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LlmAuthorization(…)")
    }
}

/// How a turn is to be run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    pub provider: Option<String>,
    pub backend: Option<String>,
    pub model: Option<String>,
    pub voice: Option<String>,
    pub output_modalities: Option<Vec<String>>,
    pub instructions: Option<String>,
    /// `{"servers": […]}`.
    pub mcp: Option<Value>,
    /// `[{name, title?, description?, input_schema}]`.
    pub client_toolkits: Option<Vec<Value>>,
    /// Options of toolkits, by name.
    pub toolkits: Option<Map<String, Value>>,
    pub tool_choice: Option<Value>,
    pub storage: Option<String>,
    pub llm_authorization: Option<LlmAuthorization>,
}

impl Options {
    /// The MCP servers it names: `mcp.servers`, then `toolkits.mcp.client_options.servers`.
    #[must_use]
    pub fn mcp_servers(&self) -> Vec<Value> {
        let own = self.mcp.as_ref().and_then(|mcp| mcp.get("servers"));
        let of_kit = self.toolkits.as_ref().and_then(|all| all.get("mcp"));
        let of_kit = of_kit.and_then(|mcp| mcp.pointer("/client_options/servers"));
        let lists = [own, of_kit].into_iter().flatten().filter_map(Value::as_array);
        lists.flatten().cloned().collect()
    }

    /// What the answer is to be made of: text, where several are named.
    #[must_use]
    pub fn answers(&self) -> Option<Modality> {
        let named: Vec<_> =
            self.output_modalities.iter().flatten().filter_map(|name| Modality::named(name)).collect();
        if named.contains(&Modality::Text) { Some(Modality::Text) } else { named.first().copied() }
    }

    /// The same without what may not be kept: authorizations, and headers, in which they may be too.
    #[must_use]
    pub fn scrubbed(&self) -> Self {
        let mut options = Self { llm_authorization: None, ..self.clone() };
        if let Some(mcp) = &mut options.mcp {
            scrub(mcp.get_mut("servers"));
        }
        if let Some(mcp) = options.toolkits.as_mut().and_then(|all| all.get_mut("mcp")) {
            scrub(mcp.pointer_mut("/client_options/servers"));
        }
        options
    }
}

fn scrub(servers: Option<&mut Value>) {
    for server in servers.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = server.as_object_mut() {
            fields.remove("authorization");
            fields.remove("headers");
        }
    }
}

/// Begins a thread, with a first turn unless `content` is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartThread {
    #[serde(default)]
    pub content: Option<Vec<InputContent>>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub realtime_protocol: Option<String>,
    #[serde(flatten)]
    pub options: Options,
}

/// Begins a turn on a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnStart {
    pub thread_id: String,
    #[serde(default)]
    pub turn_id: Option<String>,
    #[serde(default)]
    pub content: Vec<InputContent>,
    #[serde(flatten)]
    pub options: Options,
}

/// Says more to a running turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steer {
    pub thread_id: String,
    pub turn_id: String,
    pub content: Vec<InputContent>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenThread {
    pub thread_id: String,
    #[serde(default)]
    pub backend: Option<String>,
    /// Whether the stored history is wanted.
    #[serde(default)]
    pub load: Option<bool>,
    /// A message or turn from which on.
    #[serde(default)]
    pub since_turn: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenameThread {
    pub thread_id: String,
    pub name: String,
}

/// `thread.list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadPage {
    #[serde(default = "page")]
    pub limit: i64,
    #[serde(default)]
    pub offset: i64,
}

fn page() -> i64 {
    200
}

/// Puts messages into a thread as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inject {
    pub thread_id: String,
    #[serde(default)]
    pub messages: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelChange {
    pub thread_id: String,
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub backend: Option<String>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub voice: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientToolResponse {
    pub thread_id: String,
    pub turn_id: String,
    pub request_id: String,
    /// The header of a room content.
    pub response: Value,
}

//! `kind: ManagedAgent`: an agent that the server runs by itself, without a room of the project.

use super::common::{ManagedAgentKind, NamedMetadata, SecretRef, Version, yes};
use super::container::{trimmed_lower, trimmed_unique};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most variables of an agent's environment.
pub const ENVIRONMENT_MAX: usize = 64;
/// Longest name of an agent, bytes.
pub const AGENT_NAME_MAX: usize = 63;
/// Largest document, bytes as JSON.
pub const AGENT_BYTES_MAX: usize = 96 * 1024;
/// Variable that tells the process of a managed agent what it is to be: its document, as JSON.
pub const AGENT_VARIABLE: &str = "MESHAGENT_MANAGED_AGENT";
/// The model that needs no provider: it says again what it is told. Written with any provider.
pub const ECHO_MODEL: &str = "builtin/echo";
/// The model that makes images where none is named.
pub const IMAGE_MODEL: &str = "gpt-image-1";
/// What a service account must allow before a variable may come from its secrets.
pub const SECRETS_READ: &str = "secrets:read";

/// An agent that this server runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedAgent {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: ManagedAgentKind,
    /// Given by the server; leave it out when creating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name is in lower case and unique in the project.
    #[serde(deserialize_with = "lower_name")]
    pub metadata: NamedMetadata,
    /// Models that turns may name. The first is used where none is named.
    #[schemars(length(min = 1))]
    pub allowed_models: Vec<AllowedModel>,
    /// Checks of what goes in and out. This version holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<Map<String, Value>>,
    /// The service account whose secrets the agent uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<AgentRunAs>,
    /// Whether whoever talks to the agent pays for its models. This version knows `optional` only.
    #[serde(default)]
    pub llm_delegation: LlmDelegation,
    /// `global`: everybody sees every thread. `participant`: each name sees its own.
    #[serde(default)]
    pub thread_isolation: ThreadIsolation,
    /// What the agent is told before every turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolkits: Option<Vec<AgentToolkit>>,
    /// Tools written in Python. This version runs none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Map<String, Value>>,
    /// HTTP connections of `tools`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connections: BTreeMap<String, Map<String, Value>>,
    /// Variables of the agent's process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<AgentVariable>,
    /// What the agent answers with. This version knows `text` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_modalities: Option<Vec<String>>,
    /// `false`: threads last as long as somebody has them open.
    #[serde(default = "yes")]
    pub store: bool,
}

impl ManagedAgent {
    /// The models in the order of the document, as `PROVIDER/NAME`.
    pub fn models(&self) -> impl Iterator<Item = String> {
        self.allowed_models.iter().map(AllowedModel::selection)
    }

    /// Its toolkits; none when the list is missing.
    pub fn toolkits(&self) -> &[AgentToolkit] {
        self.toolkits.as_deref().unwrap_or_default()
    }

    /// The servers of its MCP toolkits.
    pub fn mcp_servers(&self) -> impl Iterator<Item = &AgentMcpServer> {
        self.toolkits().iter().flat_map(|toolkit| match toolkit {
            AgentToolkit::Mcp { servers } => servers.as_slice(),
            _ => &[],
        })
    }
}

/// A model that turns may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedModel {
    pub provider: ModelProvider,
    /// The provider's name for it; `builtin/echo` is the server's own.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Only for `openai`, and only `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_modalities: Option<Vec<String>>,
}

impl AllowedModel {
    /// The model as it is selected: `PROVIDER/NAME`.
    pub fn selection(&self) -> String {
        match self.model.trim() {
            ECHO_MODEL => ECHO_MODEL.to_owned(),
            model => format!("{}/{model}", self.provider.as_str()),
        }
    }
}

/// Who serves a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelProvider {
    Openai,
    Anthropic,
    Grok,
}

impl ModelProvider {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Grok => "grok",
        }
    }
}

/// Service account that an agent acts as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentRunAs {
    /// Address of the service account; trimmed and lower-cased.
    #[serde(deserialize_with = "trimmed_lower")]
    pub email: String,
    /// What the agent may do as that account; trimmed, without doubles.
    #[serde(default = "run_as_scopes", deserialize_with = "trimmed_unique")]
    pub scopes: Vec<String>,
}

fn run_as_scopes() -> Vec<String> {
    ["secrets:proxy", "llm_proxy"].map(str::to_owned).to_vec()
}

/// Who pays for the models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LlmDelegation {
    Required,
    #[default]
    Optional,
}

/// Who sees which threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThreadIsolation {
    #[default]
    Global,
    Participant,
}

/// Tools that an agent has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentToolkit {
    /// The provider's own search. One of the two lists at most.
    WebSearch {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_domains: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked_domains: Option<Vec<String>>,
    },
    /// Reads public pages.
    WebFetch {},
    /// Makes images by a model of OpenAI's.
    ImageGeneration {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        background: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_image_mask_url: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moderation: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_compression: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_format: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial_images: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quality: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<String>,
    },
    /// Tools of servers that speak the model context protocol.
    Mcp { servers: Vec<AgentMcpServer> },
}

/// A server that speaks the model context protocol.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentMcpServer {
    /// Names the toolkit.
    #[schemars(length(min = 1))]
    pub server_label: String,
    pub server_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<AgentHeader>>,
    /// Whether a person is asked before each call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_approval: Option<super::RequireApproval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always_require_approval: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_require_approval: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai_connector_id: Option<String>,
    /// Id of the secret whose value the server puts into `Authorization`; needs `run_as`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_proxy_secret: Option<String>,
}

impl std::fmt::Debug for AgentMcpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentMcpServer").field("server_label", &self.server_label).finish_non_exhaustive()
    }
}

/// A header of requests to a server. Its value stands in the document: secrets belong into `use_proxy_secret`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentHeader {
    pub name: String,
    pub value: String,
}

impl std::fmt::Debug for AgentHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentHeader").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A variable: a text, or a secret of the service account in `run_as`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentVariable {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

fn lower_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NamedMetadata, D::Error> {
    let metadata = NamedMetadata::deserialize(deserializer)?;
    Ok(NamedMetadata { name: metadata.name.trim().to_lowercase(), ..metadata })
}

/// The JSON of a request in its present form: a name at the top moves into the metadata, and of MCP servers the
/// `authorization` of old goes.
pub(super) fn migrated(mut value: Value) -> Value {
    if let Some(document) = value.as_object_mut()
        && !document.contains_key("metadata")
        && let Some(name) = document.remove("name")
    {
        document.insert("metadata".to_owned(), serde_json::json!({ "name": name }));
    }
    let toolkits = value.get_mut("toolkits").and_then(Value::as_array_mut);
    for toolkit in toolkits.into_iter().flatten() {
        let servers = toolkit.get_mut("servers").and_then(Value::as_array_mut);
        for server in servers.into_iter().flatten().filter_map(Value::as_object_mut) {
            server.remove("authorization");
        }
    }
    value
}

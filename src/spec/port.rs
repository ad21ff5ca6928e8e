//! Ports of a service and what answers behind them.

use super::ApiScope;
use super::common::Annotations;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;

/// The port that every container keeps for the platform.
pub const RESERVED_PORT: u16 = 8078;

/// One port a service listens on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// `"*"` picks a free port (in `MESHAGENT_PORT`), or a number; 8078 is reserved.
    #[serde(default)]
    pub num: PortNumber,
    /// Port on the room's host; implies published unless that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<u16>,
    #[serde(default = "http", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<PortType>,
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// HTTP path; the service is ready when it answers 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<String>,
    /// Routes may lead here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<bool>,
    /// Without it a participant token is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// A port number, or any free port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PortNumber {
    #[default]
    Any,
    Fixed(u16),
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortType {
    Http,
    Tcp,
}

/// A path of a port and what speaks there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub path: String,
    /// The endpoint is called with a room token of this identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meshagent: Option<MeshagentEndpoint>,
    /// The endpoint is a model context protocol server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpEndpoint>,
    /// These win over the port's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshagentEndpoint {
    pub identity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiScope>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpEndpoint {
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<AllowedTools>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Annotations>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_approval: Option<RequireApproval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OauthClient>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai_connector_id: Option<String>,
    /// Id of the secret whose value the proxy adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_proxy_secret: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedTools {
    pub tool_names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RequireApproval {
    Always,
    Never,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthClient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_pkce: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

impl std::fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OauthClient")
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret.as_ref().map(|_| "<hidden>"))
            .finish_non_exhaustive()
    }
}

impl Serialize for PortNumber {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => to.serialize_str("*"),
            Self::Fixed(number) => to.serialize_u16(*number),
        }
    }
}

impl<'de> Deserialize<'de> for PortNumber {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wrong = |found: &Value| {
            de::Error::custom(format!("port number {found} is not one; write \"*\" or 1 to 65535"))
        };
        let value = Value::deserialize(from)?;
        let number = match &value {
            Value::String(text) if text == "*" => return Ok(Self::Any),
            Value::String(text) => text.trim().parse::<u16>().ok(),
            Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.filter(|n| *n > 0).map(Self::Fixed).ok_or_else(|| wrong(&value))
    }
}

impl JsonSchema for PortNumber {
    fn schema_name() -> Cow<'static, str> {
        "PortNumber".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "\"*\" for any free port, or a number.",
            "anyOf": [
                { "const": "*" },
                { "type": "integer", "minimum": 1, "maximum": 65535 },
            ],
        })
    }
}

#[allow(clippy::unnecessary_wraps, reason = "serde default of an optional field")]
const fn http() -> Option<PortType> {
    Some(PortType::Http)
}

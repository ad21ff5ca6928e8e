//! What several messages are made of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why a turn or a tool call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub message: String,
    #[serde(default)]
    pub code: Option<String>,
}

/// A provider of models, with those it offers here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderInfo {
    pub name: String,
    pub friendly_name: String,
    pub description: Option<String>,
    pub backend: Option<String>,
    pub default_model: String,
    pub models: Vec<ModelInfo>,
}

/// A model as clients list it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    pub name: String,
    pub friendly_name: Option<String>,
    pub description: Option<String>,
    /// Tokens.
    pub context_window: Option<u64>,
    pub pricing: Option<Map<String, Value>>,
    pub modalities: Vec<String>,
    pub available_voices: Vec<String>,
    pub default_output_voice: Option<String>,
    pub input_format: Option<Value>,
    pub output_format: Option<Value>,
    pub turn_detection: Option<String>,
    pub realtime_protocols: Vec<String>,
    pub supports_attachments: bool,
    pub accepts: Vec<String>,
    /// Whether the thread uses it now.
    pub active: bool,
}

/// A toolkit as `capabilities_response` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolkitInfo {
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub rules: Vec<String>,
    pub client_options: Option<Map<String, Value>>,
    pub hidden: bool,
    pub tools: Vec<ToolInfo>,
}

/// A tool as `capabilities_response` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
}

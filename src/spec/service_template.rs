//! `kind: ServiceTemplate`: a service with variables, rendered before it is stored.

use super::agent::Agent;
use super::common::{Annotations, Metadata, ServiceTemplateKind, Version};
use super::container::TemplateContainer;
use super::port::Port;
use super::service::SeedFile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service whose text has variables in it. It has no id and cannot be disabled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceTemplate {
    pub version: Version,
    pub kind: ServiceTemplateKind,
    pub metadata: Metadata,
    /// Values people are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<TemplateVariable>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<Agent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<Port>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<SeedFile>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<TemplateContainer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<TemplateExternal>,
}

/// A value a template asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateVariable {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Do not show the value while it is typed.
    #[serde(default)]
    pub obscure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#enum: Option<Vec<String>>,
    #[serde(default)]
    pub optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<VariableType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// What a value is, beyond text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    Email,
    Route,
}

/// Where the service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateExternal {
    pub url: String,
}

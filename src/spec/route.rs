//! `kind: Route`: what answers at a domain.

use super::common::{NamedMetadata, RouteKind, Version};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;

/// What answers at a domain, path by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: RouteKind,
    pub metadata: NamedMetadata,
    pub domain: String,
    /// A room or a managed agent: exactly one.
    pub backend: Backend,
    #[serde(default)]
    pub paths: Vec<RoutePath>,
}

/// Exactly one of `room` and `agent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<BackendRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<BackendRef>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendRef {
    pub name: String,
}

/// One path: a port of a service, or files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RoutePath {
    /// Begins with `/`.
    #[serde(default = "root")]
    pub path: String,
    #[serde(default)]
    pub path_type: PathType,
    /// Take the path off before the service sees it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_prefix: bool,
    /// Port by number or name. Exactly one of `targetPort` and `targetContent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<TargetPort>,
    /// Files of the room. Exactly one of `targetPort` and `targetContent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_content: Option<Content>,
    /// Shown while the service is down; only with `targetPort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PathType {
    #[default]
    Prefix,
    Exact,
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    Number(u16),
    Name(String),
}

/// Files served from room storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Content {
    /// Folder; slashes at both ends are dropped, dot segments are refused.
    #[serde(default, deserialize_with = "without_slashes")]
    pub subpath: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_found: Option<String>,
    #[serde(default)]
    pub cors: Vec<CorsRule>,
    /// Serve `index.html` for folders.
    #[serde(default)]
    pub index: bool,
    /// Only for people who signed in.
    #[serde(default)]
    pub iap: bool,
    #[serde(default)]
    pub compression: Compression,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Brotli,
    Gzip,
    None,
}

/// Who may read the files from a page of another origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CorsRule {
    #[schemars(length(min = 1))]
    pub allowed_origins: Vec<String>,
    /// Upper-cased.
    #[serde(default = "get_and_head", deserialize_with = "upper_cased")]
    pub allowed_methods: Vec<String>,
    #[serde(default)]
    pub allowed_headers: Vec<String>,
    #[serde(default)]
    pub expose_headers: Vec<String>,
    #[serde(default = "one_hour")]
    pub max_age_seconds: u32,
    /// Not together with the origin `*`.
    #[serde(default)]
    pub allow_credentials: bool,
}

impl Serialize for TargetPort {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_u16(*number),
            Self::Name(name) => to.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for TargetPort {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let number = value.as_u64().and_then(|n| u16::try_from(n).ok());
        match (value, number) {
            (Value::String(name), _) if is_number(&name) && name.parse::<u16>().is_err() => {
                Err(de::Error::custom(format!("port {name} is too high; ports end at 65535")))
            }
            (Value::String(name), _) => Ok(Self::Name(name)),
            (_, Some(number)) => Ok(Self::Number(number)),
            (other, None) => Err(de::Error::custom(format!(
                "target port {other} is not one; write a number up to 65535 or a name"
            ))),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

impl JsonSchema for TargetPort {
    fn schema_name() -> Cow<'static, str> {
        "TargetPort".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port by name or by number.",
            "anyOf": [
                { "type": "string" },
                { "type": "integer", "minimum": 1, "maximum": 65535 },
            ],
        })
    }
}

fn root() -> String {
    "/".to_owned()
}

fn get_and_head() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

const fn one_hour() -> u32 {
    3600
}

fn without_slashes<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(String::deserialize(from)?.trim_matches('/').to_owned())
}

fn upper_cased<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.iter().map(|method| method.to_uppercase()).collect())
}

/// The older flat form `{domain, room_name, port, annotations}` as a route with one path; anything else as it is.
pub(super) fn migrated(value: Value) -> Value {
    let (Some(domain), Some(room)) = (value.get("domain"), value.get("room_name")) else { return value };
    if value.get("backend").is_some() {
        return value;
    }
    let notes = value.get("annotations").filter(|notes| notes.is_object()).cloned();
    serde_json::json!({
        "version": "v1",
        "kind": "Route",
        "metadata": { "name": domain, "annotations": notes.unwrap_or_else(|| serde_json::json!({})) },
        "domain": domain,
        "backend": { "room": { "name": room } },
        "paths": [{ "path": "/", "pathType": "prefix", "targetPort": value.get("port") }],
    })
}

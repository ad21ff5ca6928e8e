//! `kind: ServiceInstance`: a service made of a template and values.

use super::common::{Annotations, NamedMetadata, ServiceInstanceKind, Version};
use super::problem::{Finding, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Annotation of a `ServiceTemplate`: the text that is rendered.
pub const TEMPLATE_SOURCE: &str = "meshagent.service.template.yaml";
/// Longest text of a template, bytes.
pub const TEMPLATE_BYTES_MAX: usize = 256 * 1024;
/// Longest values together, bytes.
pub const VALUES_BYTES_MAX: usize = 64 * 1024;

/// A service of the same name and place: the template, rendered with the values. It changes when these change, and goes
/// with the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceInstance {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: ServiceInstanceKind,
    pub metadata: NamedMetadata,
    /// Name of a `ServiceTemplate` of the project. Exactly one of `template` and `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The text of a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Values by name of variable. They are no secrets: name those in the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: Annotations,
}

/// What the rules of the kind say against a document.
pub(super) fn check(instance: &ServiceInstance) -> Vec<Finding> {
    let mut findings = vec![];
    let mut say = |path: &str, message: String, hint: &str| {
        findings.push(Finding::new(Path::of(path), message).hint(hint));
    };
    if instance.metadata.name.trim().is_empty() {
        say("metadata.name", "the name is empty".to_owned(), "the service is called by it");
    }
    match (&instance.template, &instance.source) {
        (Some(_), Some(_)) => {
            say("source", "an instance is of one template".to_owned(), "keep one of template and source");
        }
        (None, None) => say(
            "template",
            "an instance is of one template".to_owned(),
            "name a ServiceTemplate in `template`, or write its text in `source`",
        ),
        (Some(name), None) if name.trim().is_empty() => {
            say("template", "the name is empty".to_owned(), "name a ServiceTemplate");
        }
        _ => {}
    }
    let bytes = instance.source.as_ref().map_or(0, String::len);
    if bytes > TEMPLATE_BYTES_MAX {
        let text = format!("the template has {bytes} bytes, at most {TEMPLATE_BYTES_MAX} are read");
        say("source", text, "make the template smaller");
    }
    let bytes: usize = instance.values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > VALUES_BYTES_MAX {
        say(
            "values",
            format!("the values have {bytes} bytes, at most {VALUES_BYTES_MAX} are kept"),
            "shorten them",
        );
    }
    findings
}

//! What there is: groups, versions, resources.

use super::REVIEWS;
use crate::crd::names::{self, CATEGORY, GROUP, VERSION};
use serde_json::{Value, json};

/// The version of Kubernetes whose API this follows.
const MINOR: &str = "30";

/// What can be done with every kind.
pub(super) const VERBS: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

pub(super) fn version() -> Value {
    let own = env!("CARGO_PKG_VERSION");
    json!({"major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0+meshagent-{own}"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)})
}

/// The answer to a question about what there is; none where the path is no such question.
pub(super) fn answer(segments: &[&str]) -> Option<Value> {
    Some(match segments {
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1",
            "groups": [group(GROUP, VERSION), group(REVIEWS, "v1")]}),
        ["apis", GROUP] => group(GROUP, VERSION),
        ["apis", REVIEWS] => group(REVIEWS, "v1"),
        ["api", "v1"] => resources("v1", &[namespaces()]),
        ["apis", REVIEWS, "v1"] => resources(&format!("{REVIEWS}/v1"), &[reviews()]),
        ["apis", GROUP, VERSION] => {
            let kinds: Vec<Value> = names::kinds().map(|resource| kind(resource.kind())).collect();
            resources(&names::api_version(), &kinds)
        }
        _ => return None,
    })
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version],
        "preferredVersion": version})
}

fn resources(version: &str, all: &[Value]) -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all})
}

fn namespaces() -> Value {
    json!({"name": "namespaces", "singularName": "namespace", "namespaced": false, "kind": "Namespace",
        "verbs": ["get", "list"], "shortNames": ["ns"]})
}

fn reviews() -> Value {
    json!({"name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
        "kind": "SelfSubjectAccessReview", "verbs": ["create"]})
}

fn kind(kind: crate::spec::Kind) -> Value {
    json!({"name": names::plural(kind), "singularName": names::singular(kind), "namespaced": true,
        "kind": kind.as_str(), "verbs": VERBS, "shortNames": names::short_names(kind), "categories": [CATEGORY]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed() {
        let all = answer(&["apis", GROUP, VERSION]).unwrap();
        let names: Vec<&str> =
            all["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), names::kinds().count());
        assert!(names.contains(&"rooms") && names.contains(&"mailboxes"), "{names:?}");
        assert_eq!(answer(&["apis", "apps"]), None);
        assert_eq!(version()["major"], "1");
    }
}

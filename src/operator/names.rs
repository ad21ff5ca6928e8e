//! What the operator calls things in a cluster, besides what custom resources are called: annotations, and its sources.

pub use crate::crd::names::{GROUP, HASH_BYTES, VERSION, digest, kinds, plural};

use crate::spec::Kind;
use kube::core::{ApiResource, GroupVersionKind};

/// Holds an object until the server let go of what came of it.
pub const FINALIZER: &str = "meshagent.dev/applied";
/// Owns what the operator writes.
pub const FIELD_MANAGER: &str = "meshagent-operator";
/// Annotation: `true` takes fields that other sources hold.
pub const FORCE: &str = "meshagent.dev/force-conflicts";
/// Annotation: `orphan` lets an object go at once, and leaves what came of it on the server.
pub const ON_DELETE: &str = "meshagent.dev/on-delete";
/// Annotation: `true` leaves the object alone until it is taken off.
pub const SUSPEND: &str = "meshagent.dev/suspend";

/// The kind as clients of Kubernetes name it.
#[must_use]
pub fn api_resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind.as_str()), &plural(kind))
}

/// Name of the source that an object is, for the server's inventory: `kubernetes/CLUSTER/NAMESPACE/KIND/NAME`.
#[must_use]
pub fn source(cluster: &str, namespace: &str, kind: Kind, name: &str) -> String {
    let whole = format!("kubernetes/{cluster}/{namespace}/{}/{name}", kind.slug());
    if whole.len() <= crate::app::plan::SOURCE_BYTES_MAX {
        return whole;
    }
    let head: String = whole.chars().take(crate::app::plan::SOURCE_BYTES_MAX - 2 * HASH_BYTES - 1).collect();
    format!("{head}:{}", digest(&[&whole]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_the_server_takes() {
        let short = source("prod", "shop", Kind::ServiceAccount, "web");
        assert_eq!(short, "kubernetes/prod/shop/service-account/web");
        let long =
            |end: &str| source("prod", &"n".repeat(63), Kind::Room, &format!("{}{end}", "r".repeat(100)));
        assert!(crate::app::plan::is_source(&long("a")), "{}", long("a"));
        assert_ne!(long("a"), long("b"));
    }
}

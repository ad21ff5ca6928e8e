//! What clients of Kubernetes keep of a resource beside its document: the name of the object, labels, annotations. A fact in
//! the resource's own stream, which changes nothing of what is wanted.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All of it. Fact `object.noted`: it is now this.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Object {
    /// Kind of the resource, as in `kind:` of documents.
    pub kind: String,
    /// Name of the object where it is not the one that follows from the resource's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Sources that changed the resource field by field, and did not apply a document.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub updaters: BTreeSet<String>,
    /// By source that applied the object: the labels (`l/KEY`) and annotations (`a/KEY`) that it said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub applied: BTreeMap<String, BTreeSet<String>>,
}

impl Object {
    /// Whether it says anything.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.name.is_empty()
            && self.labels.is_empty()
            && self.annotations.is_empty()
            && self.updaters.is_empty()
            && self.applied.is_empty()
    }

    /// Key by which an object with a name of its own is found.
    #[must_use]
    pub fn key(kind: &str, name: &str) -> String {
        format!("{kind}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_says_nothing_is_plain() {
        let mut object = Object { kind: "Room".into(), ..Object::default() };
        assert!(object.is_plain());
        assert_eq!(serde_json::to_value(&object).unwrap(), serde_json::json!({"kind": "Room"}));
        object.labels.insert("a".into(), "b".into());
        assert!(!object.is_plain());
    }
}

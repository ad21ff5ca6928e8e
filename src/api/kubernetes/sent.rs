//! Objects as clients send them, held against what an object may be.

use super::Refusal;
use crate::app::plan::Resource;
use crate::crd::names::{self, NAME_BYTES_MAX};
use crate::spec;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most bytes of labels, and of annotations, of one object.
pub const NOTES_BYTES_MAX: usize = 256 * 1024;
/// What an object has at its top.
const MEMBERS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// What `metadata` of an object has, as far as anybody writes it.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Members of `metadata` that mean something elsewhere, and would be lost here.
const NOT_KEPT: [&str; 2] = ["finalizers", "ownerReferences"];

/// What counts of an object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sent {
    pub name: String,
    pub generate_name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub spec: Value,
}

/// A body as JSON, or as YAML with one document.
pub(super) fn read(body: &[u8]) -> Result<Value, Refusal> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|_| Refusal::bad_request("the body is no text"))?;
    let documents = spec::values("", text)
        .map_err(|problem| Refusal::bad_request(format!("the body cannot be read: {problem}")))?;
    match <[_; 1]>::try_from(documents) {
        Ok([(value, _)]) => Ok(value),
        Err(all) => Err(Refusal::bad_request(format!("the body has {} documents, and needs one", all.len()))),
    }
}

/// Reads an object of a kind. `name` is for what is told of it.
pub(super) fn object(resource: &dyn Resource, name: &str, value: &Value) -> Result<Sent, Refusal> {
    let Some(object) = value.as_object() else {
        return Err(Refusal::bad_request("the body is no object"));
    };
    let invalid = |field: &str, text: &str| Refusal::invalid_at(resource, name, field, text);
    for (member, wanted) in
        [("apiVersion", names::api_version()), ("kind", resource.kind().as_str().to_owned())]
    {
        if object.get(member).and_then(Value::as_str) != Some(&wanted) {
            return Err(Refusal::bad_request(format!("{member} of the body must be {wanted:?} here")));
        }
    }
    if let Some(other) = object.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        let near = spec::nearest(other, MEMBERS.into_iter());
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(invalid(other, &format!("unknown field{hint}")));
    }
    let empty = Map::new();
    let metadata = match object.get("metadata") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return Err(invalid("metadata", "must be a mapping")),
    };
    if let Some(other) = metadata.keys().find(|key| !METADATA.contains(&key.as_str())) {
        let near = spec::nearest(other, METADATA.into_iter());
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(invalid(&format!("metadata.{other}"), &format!("unknown field{hint}")));
    }
    for field in NOT_KEPT {
        if metadata.get(field).and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
            return Err(invalid(&format!("metadata.{field}"), "is not kept here; leave it out"));
        }
    }
    let text = |field: &str| match metadata.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(invalid(&format!("metadata.{field}"), "must be text")),
    };
    let notes =
        |field: &str| notes(metadata.get(field)).map_err(|why| invalid(&format!("metadata.{field}"), &why));
    Ok(Sent {
        name: text("name")?,
        generate_name: text("generateName")?,
        namespace: text("namespace")?,
        uid: text("uid")?,
        resource_version: text("resourceVersion")?,
        labels: notes("labels")?,
        annotations: notes("annotations")?,
        spec: object.get("spec").cloned().unwrap_or_default(),
    })
}

fn notes(value: Option<&Value>) -> Result<BTreeMap<String, String>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(BTreeMap::new()) };
    let object = value.as_object().ok_or("must be a mapping")?;
    let mut notes = BTreeMap::new();
    let mut bytes = 0;
    for (key, value) in object {
        let Some(text) = value.as_str() else { return Err(format!("the value of {key:?} must be text")) };
        bytes += key.len() + text.len();
        notes.insert(key.clone(), text.to_owned());
    }
    if bytes > NOTES_BYTES_MAX {
        return Err(format!("{bytes} bytes, at most {NOTES_BYTES_MAX} are kept"));
    }
    Ok(notes)
}

/// Why a text cannot name an object.
pub(super) fn wrong_name(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || c == '-')
    };
    if name.is_empty() {
        return Some("a name is needed".to_owned());
    }
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_part) {
        return Some(format!(
            "{name:?} cannot name an object: small letters, digits, dashes and dots, at most {NAME_BYTES_MAX}; the \
             name of the resource itself can be said in spec"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::plan::resource;
    use crate::spec::Kind;
    use serde_json::json;

    #[test]
    fn objects_are_read_and_mistakes_named() {
        let room = resource(Kind::Room).unwrap();
        let good = json!({"apiVersion": "meshagent.dev/v1", "kind": "Room",
            "metadata": {"name": "desk", "labels": {"a": "b"}, "managedFields": []}, "spec": {"enabled": true}});
        let sent = object(room, "desk", &good).unwrap();
        assert_eq!((sent.name.as_str(), sent.labels["a"].as_str()), ("desk", "b"));
        let wrong = |pointer: &str, value: Value| {
            let mut object_ = good.clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            object_.pointer_mut(parent).unwrap()[field] = value;
            object(room, "desk", &object_).unwrap_err().message
        };
        assert!(wrong("/kind", json!("Service")).contains("Room"));
        assert!(wrong("/sepc", json!({})).contains("did you mean `spec`?"));
        assert!(wrong("/metadata", json!(3)).contains("metadata"));
        assert!(wrong("/metadata/name", json!(3)).contains("metadata.name"));
        assert!(wrong("/metadata/lables", json!({})).contains("did you mean `labels`?"));
        assert!(wrong("/metadata/finalizers", json!(["x"])).contains("not kept"));
        assert!(wrong("/metadata/labels", json!({"a": 1})).contains("metadata.labels"));
        assert!(wrong("/metadata/annotations", json!({"a": "x".repeat(300_000)})).contains("bytes"));
        assert!(object(room, "", &json!([])).is_err());
    }

    #[test]
    fn bodies_are_json_or_yaml() {
        assert_eq!(read(b"{\"a\": 1}").unwrap(), json!({"a": 1}));
        assert_eq!(read(b"a: 1\n").unwrap(), json!({"a": 1}));
        assert!(read(b"a: 1\n---\nb: 2\n").is_err());
        assert!(read(&[0xff, 0xfe]).is_err() && read(b"a: [").is_err());
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        for good in ["desk", "desk.web", "a-1", "0"] {
            assert_eq!(wrong_name(good), None, "{good}");
        }
        for bad in ["", "Desk", "-a", "a.", "a_b", "ü", &"a".repeat(254)] {
            assert!(wrong_name(bad).is_some(), "{bad}");
        }
    }
}

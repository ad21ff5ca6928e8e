//! Documents as custom resources, and back. Both directions are pure, and lose nothing.

use super::definition::has_room_field;
use super::names;
use crate::app::plan::{Resource, resource};
use crate::spec::{Kind, ROOM, schema};
use serde_json::{Map, Value, json};

/// What cannot be converted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("a document of the kind `{0}` is no resource of a project, and cannot be an object of a cluster")]
    Kind(String),
    #[error("a {0} without a name cannot be an object of a cluster; give it one")]
    Unnamed(Kind),
    #[error("the {0} of the object has no `spec` that is a mapping; write the document there")]
    Spec(Kind),
}

/// A document as an object. Its name is made of the document's; the document itself is in `spec`.
pub fn to_object(document: &Value, namespace: Option<&str>) -> Result<Value, ConvertError> {
    let text = document.get("kind").and_then(Value::as_str).unwrap_or_default();
    let unknown = || ConvertError::Kind(text.to_owned());
    let resource = Kind::from_text(text).and_then(resource).ok_or_else(unknown)?;
    let kind = resource.kind();
    let name = document.pointer(resource.name_at()).and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(ConvertError::Unnamed(kind));
    }
    let mut spec = document.as_object().cloned().unwrap_or_default();
    for word in ["version", "kind", "id"] {
        spec.remove(word);
    }
    let room = if has_room_field(resource) { take_room(&mut spec) } else { None };
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(names::object_name(kind, room.as_deref(), name)));
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    if let Some(room) = room {
        spec.insert("room".to_owned(), json!(room));
    }
    Ok(json!({"apiVersion": names::api_version(), "kind": kind.as_str(), "metadata": metadata, "spec": spec}))
}

/// Takes the room out of the annotations; annotations that are empty then go too.
fn take_room(spec: &mut Map<String, Value>) -> Option<String> {
    let metadata = spec.get_mut("metadata")?.as_object_mut()?;
    let notes = metadata.get_mut("annotations")?.as_object_mut()?;
    let room = notes.remove(ROOM);
    if notes.is_empty() {
        metadata.remove("annotations");
    }
    room?.as_str().map(str::to_owned)
}

/// The document of an object with this name and `spec`.
pub fn to_document(resource: &dyn Resource, name: &str, spec: &Value) -> Result<Value, ConvertError> {
    let kind = resource.kind();
    let mut document = spec.as_object().cloned().ok_or(ConvertError::Spec(kind))?;
    let room = if has_room_field(resource) { document.remove("room") } else { None };
    let is_named = schema::json_schema(kind).pointer("/properties/metadata").is_some();
    if is_named || room.is_some() {
        let metadata = document.entry("metadata").or_insert_with(|| json!({}));
        let metadata = metadata.as_object_mut().ok_or(ConvertError::Spec(kind))?;
        if is_named {
            metadata.entry("name").or_insert_with(|| json!(name));
        }
        if let Some(room) = room {
            let notes = metadata.entry("annotations").or_insert_with(|| json!({}));
            let notes = notes.as_object_mut().ok_or(ConvertError::Spec(kind))?;
            notes.insert(ROOM.to_owned(), room);
        }
    }
    document.insert("version".to_owned(), json!("v1"));
    document.insert("kind".to_owned(), json!(kind.as_str()));
    Ok(Value::Object(document))
}

/// What the server calls the resource of a document: its room and its name.
#[must_use]
pub fn key_of(resource: &dyn Resource, document: &Value) -> (Option<String>, String) {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let room = if has_room_field(resource) { text("/metadata/annotations/meshagent.room") } else { None };
    let name = text(resource.name_at()).unwrap_or_default();
    (room, resource.canonical(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(object: &Value) -> Value {
        let resource = Kind::from_text(object["kind"].as_str().unwrap()).and_then(resource).unwrap();
        to_document(resource, object["metadata"]["name"].as_str().unwrap(), &object["spec"]).unwrap()
    }

    #[test]
    fn a_document_becomes_an_object_and_is_the_same_again() {
        let service = json!({"version": "v1", "kind": "Service", "enabled": true, "external": {},
            "metadata": {"name": "Web 1", "annotations": {"meshagent.room": "desk", "a": "b"}}});
        let object = to_object(&service, Some("shop")).unwrap();
        assert_eq!(object["apiVersion"], "meshagent.dev/v1");
        assert_eq!(object["metadata"]["namespace"], "shop");
        assert_eq!(object["spec"]["room"], "desk");
        assert_eq!(object["spec"]["metadata"], json!({"name": "Web 1", "annotations": {"a": "b"}}));
        assert_eq!(back(&object), service);
        let resource = resource(Kind::Service).unwrap();
        assert_eq!(key_of(resource, &service), (Some("desk".into()), "Web 1".into()));
    }

    #[test]
    fn a_mailbox_has_its_address_and_room_itself() {
        let mailbox = json!({"version": "v1", "kind": "Mailbox", "address": "a@b.example", "room": "desk", "queue": "q"});
        let object = to_object(&mailbox, None).unwrap();
        assert_eq!(object["spec"], json!({"address": "a@b.example", "room": "desk", "queue": "q"}));
        assert!(object["metadata"].get("namespace").is_none());
        assert_eq!(back(&object), mailbox);
    }

    #[test]
    fn a_name_may_be_left_out() {
        let room = resource(Kind::Room).unwrap();
        let document = to_document(room, "desk", &json!({})).unwrap();
        assert_eq!(document, json!({"version": "v1", "kind": "Room", "metadata": {"name": "desk"}}));
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        let error = |document: Value| to_object(&document, None).unwrap_err();
        assert_eq!(error(json!({"kind": "Deployment"})), ConvertError::Kind("Deployment".into()));
        assert_eq!(error(json!({})), ConvertError::Kind(String::new()));
        assert_eq!(error(json!({"kind": "Room", "metadata": {}})), ConvertError::Unnamed(Kind::Room));
        let room = resource(Kind::Room).unwrap();
        for bad in [json!(null), json!([]), json!({"metadata": 3})] {
            assert_eq!(to_document(room, "x", &bad), Err(ConvertError::Spec(Kind::Room)), "{bad}");
        }
    }
}

//! The definitions of the custom resources: one per kind that can be applied, made from the schema of its documents.
//!
//! `spec` is the document without `version` and `kind`. Its name may be left out (then it is the object's), and the room that a
//! document says by annotation is a field of its own.

use super::names::{self, CATEGORY, GROUP, VERSION};
use super::structural::structural;
use crate::app::plan::Resource;
use crate::app::plan::kinds::Home;
use crate::spec::reconcile::known;
use crate::spec::{Kind, schema};
use serde_json::{Map, Value, json};

/// Longest text of a room's name, bytes, as a bound for the cost of rules.
const ROOM_LENGTH_MAX: usize = 253;

/// Every definition, in the order of dependence. `rules` adds validation rules (CEL), which Kubernetes takes from 1.25 on.
#[must_use]
pub fn definitions(rules: bool) -> Vec<Value> {
    names::kinds().map(|resource| definition(resource, rules)).collect()
}

/// The definition of one kind.
#[must_use]
pub fn definition(resource: &dyn Resource, rules: bool) -> Value {
    let kind = resource.kind();
    let plural = names::plural(kind);
    let columns = columns(resource);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}"), "labels": {"app.kubernetes.io/part-of": "meshagent"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.as_str(), "listKind": format!("{kind}List"), "plural": plural,
                "singular": names::singular(kind), "shortNames": names::short_names(kind), "categories": [CATEGORY],
            },
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "additionalPrinterColumns": columns,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": schema::json_schema(kind).get("description").cloned().unwrap_or_default(),
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                        "spec": spec(resource, rules), "status": status(),
                    },
                }},
            }],
        },
    })
}

fn columns(resource: &dyn Resource) -> Vec<Value> {
    let condition = |name: &str, field: &str, width: u8| {
        let path = format!(r#".status.conditions[?(@.type=="Ready")].{field}"#);
        json!({"name": name, "type": "string", "jsonPath": path, "priority": width})
    };
    let mut columns = vec![];
    if has_room_field(resource) || resource.kind() == Kind::Mailbox {
        columns.push(json!({"name": "Room", "type": "string", "jsonPath": ".spec.room"}));
    }
    columns.push(condition("Ready", "status", 0));
    columns.push(condition("Reason", "reason", 0));
    columns.push(condition("Message", "message", 1));
    if !known(resource.kind()).is_empty() {
        let path = r#".status.conditions[?(@.type=="Paused")].status"#;
        columns.push(json!({"name": "Paused", "type": "string", "jsonPath": path, "priority": 1}));
    }
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    columns
}

/// Whether documents of the kind say their room by annotation, and objects by `spec.room`.
#[must_use]
pub fn has_room_field(resource: &dyn Resource) -> bool {
    resource.home() != Home::Project
}

fn spec(resource: &dyn Resource, rules: bool) -> Value {
    let mut made = structural(schema::json_schema(resource.kind()));
    made.insert("description".to_owned(), json!("The document, without version and kind."));
    let mut required: Vec<Value> =
        made.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    required.retain(|name| name != "version" && name != "kind");
    if let Some(properties) = made.get_mut("properties").and_then(Value::as_object_mut) {
        for given in ["version", "kind", "id"] {
            properties.remove(given);
        }
        if let Some(metadata) = properties.get_mut("metadata").and_then(Value::as_object_mut) {
            name_is_optional(metadata);
            if !metadata.contains_key("required") {
                required.retain(|name| name != "metadata");
            }
        }
        if has_room_field(resource) {
            let text = match resource.home() {
                Home::Room => "Name of the room it belongs to.",
                _ => "Name of the room it belongs to; the whole project where there is none.",
            };
            let room =
                json!({"type": "string", "maxLength": ROOM_LENGTH_MAX, "minLength": 1, "description": text});
            properties.insert("room".to_owned(), room);
            if resource.home() == Home::Room {
                required.push(json!("room"));
            }
        }
    }
    made.remove("required");
    if !required.is_empty() {
        made.insert("required".to_owned(), json!(required));
    }
    if rules {
        made.insert("x-kubernetes-validations".to_owned(), Value::Array(validations(resource)));
    }
    Value::Object(made)
}

fn name_is_optional(metadata: &mut Map<String, Value>) {
    let required = metadata.remove("required").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let rest: Vec<Value> = required.into_iter().filter(|name| name != "name").collect();
    if !rest.is_empty() {
        metadata.insert("required".to_owned(), json!(rest));
    }
    if let Some(name) = metadata.get_mut("properties").and_then(|all| all.get_mut("name")) {
        name["description"] = json!("Name of the resource; that of the object where it is left out.");
    }
}

/// What may not change, and what does not go together.
fn validations(resource: &dyn Resource) -> Vec<Value> {
    let mut fields = vec![resource.name_at()];
    if has_room_field(resource) {
        fields.push("/room");
    }
    fields.extend(resource.immutable().iter().filter(|pointer| **pointer != resource.name_at()));
    let mut rules: Vec<Value> = fields.into_iter().map(unchanged).collect();
    let one_of = match resource.kind() {
        Kind::ScheduledTask => Some((
            "has(self.queue) != has(self.container)",
            "a task has either a queue or a container, and not both",
        )),
        Kind::Service => Some((
            "!(has(self.container) && has(self.external))",
            "a service has a container or is external, and not both",
        )),
        _ => None,
    };
    rules.extend(one_of.map(|(rule, message)| json!({"rule": rule, "message": message})));
    rules
}

/// The rule that the field at a pointer stays as it is.
fn unchanged(pointer: &str) -> Value {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let has = |root: &str| {
        let chain = (1..=parts.len()).map(|n| format!("has({root}.{})", parts[..n].join(".")));
        chain.collect::<Vec<_>>().join(" && ")
    };
    let path = parts.join(".");
    let rule = format!(
        "({new}) == ({old}) && (!({new}) || self.{path} == oldSelf.{path})",
        new = has("self"),
        old = has("oldSelf")
    );
    json!({"rule": rule, "message": format!("{path} cannot be changed; delete the object and make another")})
}

fn status() -> Value {
    json!({
        "type": "object",
        "description": "What the server says of it, by the rules of kstatus.",
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64",
                "description": "The newest generation of the object of which all this is said."},
            "source": {"type": "string", "description": "Name of the source that the object is, on the server."},
            "id": {"type": "string", "description": "Id of the resource on the server."},
            "generation": {"type": "integer", "format": "int64",
                "description": "Generation of the resource on the server."},
            "reconcile": reconcile(),
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "lastTransitionTime"],
                    "properties": {
                        "type": {"type": "string"},
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "reason": {"type": "string"},
                        "message": {"type": "string"},
                        "observedGeneration": {"type": "integer", "format": "int64"},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                    },
                },
            },
        },
    })
}

fn reconcile() -> Value {
    let time = |text: &str| json!({"type": "string", "format": "date-time", "description": text});
    let number = |text: &str| json!({"type": "integer", "format": "int64", "description": text});
    json!({
        "type": "object",
        "description": "How controllers treat it, and what came of their tries.",
        "properties": {
            "pausedSince": time("Since when it is left alone."),
            "intervalSeconds": number("How often it is looked at, at least."),
            "priority": number("Of what waits for its turn, the highest is first."),
            "lastAttempt": time("When it was tried last."),
            "attempts": number("Tries in a row that failed."),
            "nextAttempt": time("When it is tried next."),
            "backoffSeconds": number("How long it is waited after the last try that failed."),
            "lastError": {"type": "string", "description": "Why the last try failed."},
        },
    })
}

/// Definitions as the text of a file.
pub fn to_yaml(definition: &Value) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kubernetes refuses in a structural schema, with the place.
    fn violations(schema: &Value, at: &str, found: &mut Vec<String>) {
        let Some(object) = schema.as_object() else {
            found.push(format!("{at}: not an object"));
            return;
        };
        for word in
            ["$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const", "default", "title", "uniqueItems"]
        {
            if object.contains_key(word) {
                found.push(format!("{at}: has {word}"));
            }
        }
        let open = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"];
        if !object.get("type").is_some_and(Value::is_string)
            && !open.iter().any(|word| object.contains_key(*word))
        {
            found.push(format!("{at}: has no type"));
        }
        if object.contains_key("properties") && object.contains_key("additionalProperties") {
            found.push(format!("{at}: has both properties and additionalProperties"));
        }
        if object.get("type") == Some(&json!("array")) && !object.contains_key("items") {
            found.push(format!("{at}: has no items"));
        }
        let properties = object.get("properties").and_then(Value::as_object);
        for name in object.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !properties.is_some_and(|all| all.contains_key(name.as_str().unwrap_or_default())) {
                found.push(format!("{at}: requires {name}, which it does not have"));
            }
        }
        for (name, schema) in properties.into_iter().flatten() {
            violations(schema, &format!("{at}.{name}"), found);
        }
        for word in ["items", "additionalProperties"] {
            if let Some(schema) = object.get(word) {
                violations(schema, &format!("{at}[{word}]"), found);
            }
        }
    }

    #[test]
    fn every_definition_is_structural() {
        let mut found = vec![];
        for definition in definitions(true) {
            let version = &definition["spec"]["versions"][0];
            let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
            violations(&version["schema"]["openAPIV3Schema"], &name, &mut found);
            assert!(version["subresources"]["status"].is_object());
        }
        assert_eq!(found, Vec::<String>::new());
        violations(
            &json!({"anyOf": [], "properties": {"a": {}}, "additionalProperties": {}}),
            "bad",
            &mut found,
        );
        assert_eq!(found.len(), 5, "{found:?}");
    }

    #[test]
    fn the_name_is_optional_and_the_room_a_field() {
        let of = |kind| {
            let resource = crate::app::plan::resource(kind).unwrap();
            definition(resource, true)
                .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
                .unwrap()
                .clone()
        };
        let service = of(Kind::Service);
        assert!(service.get("required").is_none(), "{}", service["required"]);
        assert_eq!(service["properties"]["room"]["type"], "string");
        assert!(service["properties"].get("id").is_none() && service["properties"].get("version").is_none());
        let task = of(Kind::ScheduledTask);
        assert!(task["required"].as_array().unwrap().contains(&json!("room")));
        let mailbox = of(Kind::Mailbox);
        assert_eq!(mailbox["required"], json!(["address", "room", "queue"]));
        let rules = task["x-kubernetes-validations"].to_string();
        assert!(rules.contains("oldSelf.room") && rules.contains("has(self.queue)"), "{rules}");
    }

    #[test]
    fn rules_name_fields_that_are_there() {
        for resource in names::kinds() {
            let definition = definition(resource, true);
            let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            for pointer in resource.immutable().iter().chain([&resource.name_at()]) {
                let at = pointer.replace('/', "/properties/");
                assert!(spec.pointer(&at).is_some(), "{} {pointer}", resource.kind());
            }
            let without = super::definition(resource, false);
            assert!(!without.to_string().contains("x-kubernetes-validations"));
        }
    }
}

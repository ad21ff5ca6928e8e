//! Schemas for clients that check and explain: OpenAPI 3 as JSON, and the older form by way of [`super::swagger`].

use super::{Asked, json, swagger};
use crate::app::plan::Resource;
use crate::crd::definition;
use crate::crd::names::{self, GROUP, VERSION};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Path of the schemas of this group.
const OF_GROUP: &str = "apis/meshagent.dev/v1";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// What writes may say behind the question mark.
const PARAMETERS: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

static THREE: LazyLock<Value> = LazyLock::new(three);
static TWO: LazyLock<Value> = LazyLock::new(two);
static TWO_BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| swagger::bytes(&TWO));

/// The answer to a question about schemas; none where the path is no such question.
pub(super) fn answer(segments: &[&str], asked: &Asked) -> Option<Response> {
    Some(match segments {
        ["openapi", "v3"] => {
            json(&json!({"paths": {OF_GROUP: {"serverRelativeURL": format!("/openapi/v3/{OF_GROUP}")}}}))
        }
        ["openapi", "v3", "apis", GROUP, VERSION] => json(&THREE),
        ["openapi", "v2"] if swagger::is_wanted(asked.header(header::ACCEPT)) => {
            ([(header::CONTENT_TYPE, swagger::MEDIA)], TWO_BYTES.clone()).into_response()
        }
        ["openapi", "v2"] => json(&TWO),
        _ => return None,
    })
}

/// Name of a kind's schema.
fn schema_name(kind: &str) -> String {
    format!("dev.meshagent.{VERSION}.{kind}")
}

fn kind_mark(kind: &str) -> Value {
    json!({"group": GROUP, "version": VERSION, "kind": kind})
}

/// Every schema, each reference made by `refer`.
fn schemas(refer: &dyn Fn(&str) -> Value) -> Map<String, Value> {
    let mut all = Map::new();
    for resource in names::kinds() {
        let kind = resource.kind().as_str();
        all.insert(schema_name(kind), object_schema(resource, refer));
        let list = format!("{kind}List");
        all.insert(
            schema_name(&list),
            json!({"type": "object", "description": format!("A list of {kind}."), "required": ["items"],
                "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "metadata": refer(LIST_META),
                    "items": {"type": "array", "items": refer(&schema_name(kind))}},
                "x-kubernetes-group-version-kind": [kind_mark(&list)]}),
        );
    }
    all.insert(OBJECT_META.to_owned(), object_meta());
    let text = json!({"type": "string"});
    all.insert(
        LIST_META.to_owned(),
        json!({"type": "object", "description": "What is told of a list.",
            "properties": {"continue": text, "resourceVersion": text, "selfLink": text,
                "remainingItemCount": {"type": "integer", "format": "int64"}}}),
    );
    all
}

fn object_schema(resource: &dyn Resource, refer: &dyn Fn(&str) -> Value) -> Value {
    let mut definition = definition::definition(resource, false);
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    let described =
        |name: &str, text: &str| json!({"type": "string", "description": format!("{name}: {text}")});
    schema["properties"]["apiVersion"] = described("APIVersion", "always meshagent.dev/v1.");
    schema["properties"]["kind"] = described("Kind", &format!("always {}.", resource.kind()));
    schema["properties"]["metadata"] = refer(OBJECT_META);
    schema["x-kubernetes-group-version-kind"] = json!([kind_mark(resource.kind().as_str())]);
    // A name is enough for kinds whose document needs nothing else.
    if let Some(object) = schema.as_object_mut() {
        object.remove("required");
    }
    schema
}

fn object_meta() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let texts = |description: &str| json!({"type": "object", "description": description, "additionalProperties": {"type": "string"}});
    json!({"type": "object", "description": "What every object has.", "properties": {
        "name": text("Name of the object: small letters, digits, dashes and dots."),
        "generateName": text("Begin of a name whose end the server makes up."),
        "namespace": text("The project."),
        "uid": text("Id of the resource."),
        "resourceVersion": text("Position of the newest fact about it."),
        "generation": {"type": "integer", "format": "int64",
            "description": "Counts the changes of what is wanted."},
        "creationTimestamp": {"type": "string", "format": "date-time", "description": "When it was made."},
        "deletionTimestamp": {"type": "string", "format": "date-time", "description": "Never set here."},
        "labels": texts("What objects are selected by."),
        "annotations": texts("What tools keep of the object."),
        "finalizers": {"type": "array", "items": {"type": "string"}, "description": "Not kept here."},
        "ownerReferences": {"type": "array", "items": {"type": "object"}, "description": "Not kept here."},
        "managedFields": {"type": "array", "items": {"type": "object"},
            "description": "Which source holds which fields; made by the server."},
        "selfLink": text("Not used."),
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64", "description": "Not used."},
    }})
}

/// The paths of every kind with what can be done there; `parameter` writes one parameter.
fn paths(parameter: &dyn Fn(&str) -> Value) -> Map<String, Value> {
    let mut all = Map::new();
    for resource in names::kinds() {
        let kind = resource.kind().as_str();
        let plural = names::plural(resource.kind());
        let action = |verb: &str, writes: bool| {
            let parameters: Vec<Value> =
                if writes { PARAMETERS.iter().map(|name| parameter(name)).collect() } else { vec![] };
            json!({"operationId": format!("{verb}{kind}"), "x-kubernetes-action": verb,
                "x-kubernetes-group-version-kind": kind_mark(kind), "parameters": parameters,
                "responses": {"200": {"description": "OK"}}})
        };
        let base = format!("/{OF_GROUP}/namespaces/{{namespace}}/{plural}");
        all.insert(base.clone(), json!({"get": action("list", false), "post": action("post", true)}));
        all.insert(
            format!("{base}/{{name}}"),
            json!({"get": action("get", false), "put": action("put", true),
                "patch": action("patch", true), "delete": action("delete", true)}),
        );
        all.insert(format!("/{OF_GROUP}/{plural}"), json!({"get": action("list", false)}));
    }
    all
}

fn info() -> Value {
    json!({"title": "meshagent", "version": env!("CARGO_PKG_VERSION")})
}

fn three() -> Value {
    let refer = |name: &str| json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]});
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    json!({"openapi": "3.0.0", "info": info(), "paths": paths(&parameter),
        "components": {"schemas": schemas(&refer)}})
}

fn two() -> Value {
    let refer = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let parameter = |name: &str| json!({"name": name, "in": "query", "type": "string"});
    let mut schemas = schemas(&refer);
    schemas.values_mut().for_each(lenient);
    json!({"swagger": "2.0", "info": info(), "paths": paths(&parameter), "definitions": schemas})
}

/// A schema as clients of the older form can check by it: what is open says nothing, so that nothing is refused that the
/// server takes.
fn lenient(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let is_open = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"]
        .iter()
        .any(|word| object.get(*word) == Some(&json!(true)));
    if is_open {
        object.retain(|word, _| word == "description");
        return;
    }
    object.remove("nullable");
    object.retain(|word, _| !word.starts_with("x-kubernetes-list"));
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(word) {
            lenient(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(lenient);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_schema_and_its_paths() {
        for resource in names::kinds() {
            let kind = resource.kind().as_str();
            let schema = &THREE["components"]["schemas"][schema_name(kind)];
            assert!(schema["properties"]["spec"]["properties"].is_object(), "{kind}");
            let path =
                format!("/{OF_GROUP}/namespaces/{{namespace}}/{}/{{name}}", names::plural(resource.kind()));
            let parameters = THREE["paths"][&path]["patch"]["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|one| one["name"] == "fieldValidation"));
        }
    }

    #[test]
    fn what_is_open_says_nothing_in_the_older_form() {
        let mut schema = json!({"type": "object", "properties": {
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"a": {}}, "description": "d"},
            "list": {"type": "array", "items": {"x-kubernetes-int-or-string": true}, "nullable": true}}});
        lenient(&mut schema);
        assert_eq!(
            schema,
            json!({"type": "object", "properties": {
            "open": {"description": "d"}, "list": {"type": "array", "items": {}}}})
        );
    }
}

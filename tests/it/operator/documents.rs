//! The definitions in `schemas/crds/`, and every document of `specs/` as a custom resource and back.

use meshagent::app::plan::kinds::Home;
use meshagent::app::plan::{KINDS, resource};
use meshagent::crd::{convert, definition as crd, names};
use meshagent::domain::template::{self, Values};
use meshagent::spec::{Document, Kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `UPDATE_SCHEMAS=1` writes the definitions anew.
#[test]
fn definitions_are_current_and_complete() {
    let folder = root().join("schemas/crds");
    let definitions = crd::definitions(true);
    assert_eq!(definitions.len(), KINDS.len());
    let mut files = BTreeMap::new();
    for definition in &definitions {
        let name = definition["spec"]["names"]["plural"].as_str().unwrap();
        let text = crd::to_yaml(definition).unwrap();
        files.insert(folder.join(format!("{}_{name}.yaml", names::GROUP)), text);
    }
    if std::env::var_os("UPDATE_SCHEMAS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(&folder).unwrap();
        for (path, text) in &files {
            std::fs::write(path, text).unwrap();
        }
    }
    for (path, text) in &files {
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == *text, "{} is stale; run the tests with UPDATE_SCHEMAS=1", path.display());
    }
    let there: BTreeSet<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(there, files.into_keys().collect(), "schemas/crds has what no kind needs");
}

/// Every document of `specs/` but the mistakes, as the command line reads it.
pub fn documents() -> Vec<Document> {
    let values = Values::from([("language".to_owned(), "French".to_owned())]);
    let mut all = vec![];
    for folder in std::fs::read_dir(root().join("specs")).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() || folder.ends_with("invalid") {
            continue;
        }
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let text = std::fs::read_to_string(&file).unwrap();
            let read = template::read_files(&[(file.display().to_string(), text)], &values);
            all.extend(
                read.unwrap_or_else(|problems| panic!("{problems:?}")).into_iter().map(|one| one.document),
            );
        }
    }
    all
}

#[test]
fn every_document_becomes_an_object_and_is_the_same_again() {
    let mut seen = BTreeSet::new();
    for document in documents() {
        let json = serde_json::to_value(&document).unwrap();
        let resource = resource(document.kind()).unwrap();
        seen.insert(document.kind());
        let object = convert::to_object(&json, Some("shop")).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        let back = convert::to_document(resource, name, &object["spec"]).unwrap();
        let again: Document = serde_json::from_value(back).unwrap();
        assert_eq!(again, document);
        let (room, named) = convert::key_of(resource, &json);
        let own = json.pointer(resource.name_at()).and_then(Value::as_str).unwrap();
        assert_eq!(named, resource.canonical(own));
        let wanted = document.room().filter(|_| resource.home() != Home::Project);
        assert_eq!(room.as_deref(), wanted);
    }
    let kinds: BTreeSet<Kind> = KINDS.iter().map(|resource| resource.kind()).collect();
    assert_eq!(seen, kinds, "every kind has an example");
}

/// What Kubernetes would drop of an object without a word, or refuse.
fn lost(value: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    if schema["x-kubernetes-int-or-string"] == true {
        if !(value.is_string() || value.is_i64()) {
            found.push(format!("{at}: {value} is no integer and no text"));
        }
        return;
    }
    if value.is_null() {
        if schema["nullable"] != true {
            found.push(format!("{at}: null"));
        }
        return;
    }
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let fits = match schema["type"].as_str() {
        None => open,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some(_) => value.is_number(),
    };
    if !fits {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if schema.get("enum").is_some_and(|all| !all.as_array().unwrap().contains(value)) {
        found.push(format!("{at}: {value} is not one of {}", schema["enum"]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match schema.pointer(&format!("/properties/{name}")).or_else(|| schema.get("additionalProperties")) {
            Some(schema) => lost(value, schema, &at, found),
            None if open => {}
            None => found.push(format!("{at}: unknown")),
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        lost(value, &schema["items"], &format!("{at}[{index}]"), found);
    }
}

#[test]
fn the_definitions_take_every_document_whole() {
    for document in documents() {
        let Some(resource) = resource(document.kind()) else { continue };
        let object = convert::to_object(&serde_json::to_value(&document).unwrap(), None).unwrap();
        let definition = crd::definition(resource, true);
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = vec![];
        lost(&object["spec"], schema, document.kind().as_str(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
    let room = crd::definition(resource(Kind::Room).unwrap(), true);
    let schema = &room["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = vec![];
    lost(&serde_json::json!({"enabled": "yes", "enabeld": true}), schema, "Room", &mut found);
    assert_eq!(found.len(), 2, "{found:?}");
}

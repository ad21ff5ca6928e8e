//! Stored and generated files against the code that reads and writes them.

use crate::source::{files_below, report, root, text};
use meshagent::api::openapi;
use meshagent::domain::event::Event;
use meshagent::spec::schema;
use serde_json::{Value, json};

const FIXTURES: &str = "tests/fixtures/events";

/// `(kind, version, path)` of every stored event.
fn fixtures() -> Vec<(String, u16, String)> {
    let stored = |path: String| {
        let (kind, version) =
            path.strip_prefix(FIXTURES)?.strip_prefix('/')?.strip_suffix(".json")?.rsplit_once(".v")?;
        Some((kind.to_owned(), version.parse().ok()?, path.clone()))
    };
    files_below(FIXTURES).into_iter().filter_map(stored).collect()
}

#[test]
fn every_event_kind_has_a_stored_fixture_per_version() {
    let fixtures = fixtures();
    let mut problems = Vec::new();
    for (kind, latest) in Event::KINDS {
        for version in 1..=*latest {
            if !fixtures.iter().any(|(stored, of, _)| stored == kind && *of == version) {
                problems.push(format!("{FIXTURES}/{kind}.v{version}.json is missing"));
            }
        }
    }
    assert!(
        files_below(FIXTURES).len() == fixtures.len(),
        "{FIXTURES} holds a file that is no `<kind>.v<N>.json`"
    );
    report("old events open for ever: store one of each version, with every field set", &problems);
}

#[test]
fn every_stored_event_still_opens_and_loses_nothing() {
    let mut problems = Vec::new();
    for (kind, version, path) in fixtures() {
        let stored = text(&path);
        let event = match Event::decode(&kind, version, &stored) {
            Ok(event) => event,
            Err(error) => {
                problems.push(format!("{path}: {error}"));
                continue;
            }
        };
        if event.schema_version() != version {
            continue;
        }
        let again: Value = serde_json::from_str(&event.encode().unwrap_or_default()).unwrap_or_default();
        let before: Value = serde_json::from_str(&stored).unwrap_or_default();
        if again != before {
            problems.push(format!("{path} is read and written back as {again}"));
        }
    }
    report("a stored event changed its meaning; add an upcaster, never edit the fixture", &problems);
}

/// Path and text of what `schemas/` holds besides the documents' own schemas (those: `tests/it/spec.rs`).
fn generated() -> [(&'static str, String); 2] {
    let events: Vec<Value> = Event::KINDS
        .iter()
        .map(|(kind, version)| json!({ "type": kind, "schema_version": version }))
        .collect();
    [
        ("schemas/openapi.json", schema::to_file_text(&openapi::document())),
        ("schemas/events.json", schema::to_file_text(&Value::Array(events))),
    ]
}

#[test]
fn generated_schemas_are_current() {
    let write = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut problems = Vec::new();
    for (path, wanted) in generated() {
        if write {
            let full = root().join(path);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            std::fs::write(full, wanted).unwrap();
        } else if text(path) != wanted {
            problems.push(path.to_owned());
        }
    }
    report("run `just schemas` and look at the difference: it is the contract", &problems);
}

//! Memory: entries name memories and what may be done with each. What is ingested from elsewhere needs that grant too.

use super::Row;
use serde_json::{Value, json};

const PERMISSIONS: [&str; 8] =
    ["create", "drop", "inspect", "query", "upsert", "ingest", "recall", "optimize"];

/// Only `allowed` on the memory `mine` of the namespace `n`.
fn only(allowed: &[&str]) -> Value {
    let permissions: serde_json::Map<String, Value> =
        PERMISSIONS.iter().map(|p| ((*p).to_owned(), allowed.contains(p).into())).collect();
    json!({"memory": {"memories": [{"name": "mine", "namespace": ["n"], "permissions": permissions}]}})
}

/// Everything but `refused` on it, and everything on another one.
fn all_but(refused: &str) -> Value {
    let allowed: Vec<&str> = PERMISSIONS.into_iter().filter(|p| *p != refused).collect();
    let mut scope = only(&allowed);
    scope["memory"]["memories"].as_array_mut().unwrap().push(json!({"name": "mine", "namespace": ["other"]}));
    scope
}

fn row(tool: &'static str, permission: &'static str, input: Value) -> Row {
    let mut input = input;
    input["name"] = "mine".into();
    input["namespace"] = json!(["n"]);
    Row::new(tool, input).inside(only(&[permission])).outside(all_but(permission))
}

fn with(mut scope: Value, name: &str, grant: Value) -> Value {
    scope[name] = grant;
    scope
}

pub fn rows() -> Vec<Row> {
    let entities = json!({"records_json": "[]", "merge": true});
    let files = json!({"paths": [{"path": "a", "read_only": true}]});
    let elsewhere = json!({"paths": [{"path": "other"}]});
    let table = json!({"tables": [{"name": "notes"}]});
    vec![
        Row::new("memory.list", json!({"namespace": null}))
            .inside(json!({"memory": {"list": true, "memories": []}}))
            .outside(json!({"memory": {"list": false}})),
        row("memory.create", "create", json!({})),
        row("memory.create", "create", json!({"overwrite": true}))
            .inside(only(&["create", "drop"]))
            .outside(only(&["create"])),
        row("memory.drop", "drop", json!({})),
        row("memory.inspect", "inspect", json!({})),
        row("memory.query", "query", json!({"statement": "RETURN 1"})),
        row("memory.upsert_table", "upsert", json!({"table": "t", "records_json": "[]"})),
        row("memory.upsert_nodes", "upsert", entities.clone()),
        row("memory.upsert_relationships", "upsert", entities),
        row("memory.delete_entities", "upsert", json!({"entity_ids": []})),
        row("memory.delete_relationships", "upsert", json!({"relationships": []})),
        row("memory.recall", "recall", json!({"query": "x"})),
        row("memory.optimize", "optimize", json!({})),
        row("memory.ingest_text", "ingest", json!({"text": "x"})),
        row("memory.ingest_image", "ingest", json!({"caption": "x"})),
        row("memory.ingest_file", "ingest", json!({"path": "a/b", "text": "x"})),
        row("memory.ingest_file", "ingest", json!({"path": "a/b"}))
            .inside(with(only(&["ingest"]), "storage", files.clone()))
            .outside(with(only(&["ingest"]), "storage", elsewhere.clone())),
        row("memory.ingest_from_storage", "ingest", json!({"paths": ["a/b", "a/c"]}))
            .inside(with(only(&["ingest"]), "storage", files))
            .outside(with(only(&["ingest"]), "storage", elsewhere)),
        row("memory.ingest_from_table", "ingest", json!({"table": "notes"}))
            .inside(with(only(&["ingest"]), "dataset", table))
            .outside(with(
                only(&["ingest"]),
                "dataset",
                json!({"tables": [{"name": "notes", "read": false}]}),
            )),
    ]
}

//! What the room remembers, from the client's side.

use super::link::unexpected;
use super::{RoomClient, RoomError, Target};
use crate::wire::Content;
use serde_json::{Map, Value, json};

/// One memory of the room, or with [`Memory::list`] all of a namespace.
#[derive(Debug, Clone)]
pub struct Memory<'a> {
    client: &'a RoomClient,
    name: String,
    namespace: Option<Vec<String>>,
}

/// How texts are read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// By the configured model instead of by rules.
    pub llm: bool,
    pub model: Option<String>,
    pub temperature: Option<f64>,
}

impl<'a> Memory<'a> {
    pub(super) fn new(client: &'a RoomClient, name: &str, namespace: Option<Vec<String>>) -> Self {
        Self { client, name: name.to_owned(), namespace }
    }

    /// Names of the memories of this namespace: `{"memories": […]}`.
    pub async fn list(&self) -> Result<Value, RoomError> {
        let input = json!({"namespace": self.namespace});
        self.answer("list", input).await
    }

    pub async fn create(&self, overwrite: bool, ignore_exists: bool) -> Result<(), RoomError> {
        self.call("create", json!({"overwrite": overwrite, "ignore_exists": ignore_exists})).await.map(drop)
    }

    pub async fn drop(&self, ignore_missing: bool) -> Result<(), RoomError> {
        self.call("drop", json!({"ignore_missing": ignore_missing})).await.map(drop)
    }

    pub async fn inspect(&self) -> Result<Value, RoomError> {
        self.call("inspect", json!({})).await
    }

    /// Rows: objects of typed values.
    pub async fn query(&self, statement: &str) -> Result<Vec<Value>, RoomError> {
        match self.call("query", json!({"statement": statement})).await?.get_mut("results").map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            other => Err(RoomError::Failed {
                request: "memory.query".into(),
                text: format!("the answer has no list of results: {other:?}"),
                code: None,
            }),
        }
    }

    /// `records`: a list of objects of typed values.
    pub async fn upsert_table(&self, table: &str, records: &Value, merge: bool) -> Result<(), RoomError> {
        let input = json!({"table": table, "records_json": records.to_string(), "merge": merge});
        self.call("upsert_table", input).await.map(drop)
    }

    pub async fn upsert_nodes(&self, records: &Value, merge: bool) -> Result<(), RoomError> {
        let input = json!({"records_json": records.to_string(), "merge": merge});
        self.call("upsert_nodes", input).await.map(drop)
    }

    pub async fn upsert_relationships(&self, records: &Value, merge: bool) -> Result<(), RoomError> {
        let input = json!({"records_json": records.to_string(), "merge": merge});
        self.call("upsert_relationships", input).await.map(drop)
    }

    /// `tool` is one of the `ingest_…`; `input` its own fields.
    pub async fn ingest(&self, tool: &str, mut input: Value, reading: &Reading) -> Result<Value, RoomError> {
        input["strategy"] = if reading.llm { "llm" } else { "heuristic" }.into();
        input["llm_model"] = json!(reading.model);
        input["llm_temperature"] = json!(reading.temperature);
        self.call(tool, input).await
    }

    pub async fn recall(&self, query: &str, limit: usize, relationships: bool) -> Result<Value, RoomError> {
        let input = json!({"query": query, "limit": limit, "include_relationships": relationships});
        self.call("recall", input).await
    }

    pub async fn delete_entities(&self, ids: &[String]) -> Result<Value, RoomError> {
        self.call("delete_entities", json!({"entity_ids": ids})).await
    }

    /// `selectors`: a list of `{source_entity_id, target_entity_id, relationship_type?}`.
    pub async fn delete_relationships(&self, selectors: &Value) -> Result<Value, RoomError> {
        self.call("delete_relationships", json!({"relationships": selectors})).await
    }

    pub async fn optimize(&self, compact: bool, cleanup: bool) -> Result<Value, RoomError> {
        self.call("optimize", json!({"compact": compact, "cleanup": cleanup})).await
    }

    async fn call(&self, tool: &str, input: Value) -> Result<Value, RoomError> {
        let mut fields = match input {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.insert("name".into(), self.name.clone().into());
        fields.insert("namespace".into(), json!(self.namespace));
        self.answer(tool, Value::Object(fields)).await
    }

    async fn answer(&self, tool: &str, input: Value) -> Result<Value, RoomError> {
        match self.client.invoke(&Target::new("memory", tool), Content::Json(input)).await? {
            Content::Json(value) => Ok(value),
            Content::Empty => Ok(Value::Null),
            other => Err(unexpected(&format!("memory.{tool}"), &other, "json or empty")),
        }
    }
}

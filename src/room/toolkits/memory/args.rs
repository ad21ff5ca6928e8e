//! What the tools take. Null is the same as nothing.

use crate::memory::{MemoryAt, Selector, Strategy};
use crate::room::toolkit::Call;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
pub(super) struct List {
    /// Null: the room's own.
    #[serde(default)]
    pub namespace: Option<Vec<String>>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Named {
    /// Name of the memory.
    pub name: String,
    /// Null: the room's own.
    #[serde(default)]
    pub namespace: Option<Vec<String>>,
}

impl Named {
    pub fn at(&self, call: &Call) -> MemoryAt {
        let namespace = self.namespace.clone().unwrap_or_default();
        MemoryAt { room: call.session.room.id, namespace, name: self.name.clone() }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Create {
    #[serde(flatten)]
    pub named: Named,
    /// In the place of one that is there.
    #[serde(default)]
    pub overwrite: Option<bool>,
    /// Keeps one that is there.
    #[serde(default)]
    pub ignore_exists: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Drop {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub ignore_missing: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Query {
    #[serde(flatten)]
    pub named: Named,
    /// A subset of openCypher that reads.
    pub statement: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct UpsertTable {
    #[serde(flatten)]
    pub named: Named,
    pub table: String,
    /// JSON text of a list of objects with typed values.
    pub records_json: String,
    /// True: values that are not given stay. False: the whole row is replaced.
    #[serde(default)]
    pub merge: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Upsert {
    #[serde(flatten)]
    pub named: Named,
    /// JSON text of a list of entities or relationships.
    pub records_json: String,
    /// True: values that are not given stay. False: the whole record is replaced.
    #[serde(default)]
    pub merge: Option<bool>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum StrategyName {
    #[default]
    Heuristic,
    Llm,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct How {
    /// By rules, or by a model.
    #[serde(default)]
    pub strategy: Option<StrategyName>,
    /// Null: the configured one.
    #[serde(default)]
    pub llm_model: Option<String>,
    #[serde(default)]
    pub llm_temperature: Option<f64>,
}

impl How {
    pub fn strategy(&self) -> Strategy {
        match self.strategy.unwrap_or_default() {
            StrategyName::Heuristic => Strategy::Heuristic,
            StrategyName::Llm => {
                Strategy::Llm { model: self.llm_model.clone(), temperature: self.llm_temperature }
            }
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct IngestText {
    #[serde(flatten)]
    pub named: Named,
    #[serde(flatten)]
    pub how: How,
    pub text: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct IngestImage {
    #[serde(flatten)]
    pub named: Named,
    #[serde(flatten)]
    pub how: How,
    #[serde(default)]
    pub caption: Option<String>,
    #[serde(default)]
    pub data_base64: Option<String>,
    #[serde(default)]
    pub mime_type: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    /// JSON text of an object of texts.
    #[serde(default)]
    pub annotations_json: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct IngestFile {
    #[serde(flatten)]
    pub named: Named,
    #[serde(flatten)]
    pub how: How,
    /// In the room's storage, unless the text is given.
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub mime_type: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct IngestFromTable {
    #[serde(flatten)]
    pub named: Named,
    #[serde(flatten)]
    pub how: How,
    /// A dataset of the room.
    pub table: String,
    #[serde(default)]
    pub table_namespace: Option<Vec<String>>,
    /// Null: all columns of text.
    #[serde(default)]
    pub text_columns: Option<Vec<String>>,
    /// Rows at most.
    #[serde(default)]
    pub limit: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct IngestFromStorage {
    #[serde(flatten)]
    pub named: Named,
    #[serde(flatten)]
    pub how: How,
    /// Files of the room's storage.
    pub paths: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct RecallArgs {
    #[serde(flatten)]
    pub named: Named,
    pub query: String,
    /// Entities at most.
    #[serde(default)]
    pub limit: Option<usize>,
    #[serde(default)]
    pub include_relationships: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct DeleteEntities {
    #[serde(flatten)]
    pub named: Named,
    pub entity_ids: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Between {
    source_entity_id: String,
    target_entity_id: String,
    /// Null: of every type.
    #[serde(default)]
    relationship_type: Option<String>,
}

impl From<Between> for Selector {
    fn from(between: Between) -> Self {
        Self {
            source_entity_id: between.source_entity_id,
            target_entity_id: between.target_entity_id,
            relationship_type: between.relationship_type,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct DeleteRelationships {
    #[serde(flatten)]
    pub named: Named,
    pub relationships: Vec<Between>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Optimize {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub compact: Option<bool>,
    #[serde(default)]
    pub cleanup: Option<bool>,
}

//! The tables of a memory that it knows itself, and the ids in them.

use super::rows::set;
use crate::columnar::typed::{JSON_EXTENSION, Row, Typed};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

pub(super) const ENTITY: &str = "Entity";
pub(super) const RELATIONSHIP: &str = "Relationship";
pub(super) const SOURCE: &str = "Source";
/// Vectors of entities; not part of the graph.
pub(super) const EMBEDDING: &str = "Embedding";
/// Type of an entity that says none.
pub(super) const PLAIN_ENTITY: &str = "ENTITY";
/// Type of the entity that stands for a remembered text.
pub(super) const MEMORY: &str = "MEMORY";
/// Type of a relationship that says none.
pub const RELATED_TO: &str = "RELATED_TO";

/// Names by which ids are made from content (UUID version 5).
const IDS: Uuid = Uuid::from_u128(0x7d3f_5a52_11d4_4c0e_9d0c_6f6d_656d_6f72);

/// An entity as clients write it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityRecord {
    #[serde(default)]
    pub entity_id: Option<String>,
    pub name: String,
    #[serde(default)]
    pub entity_type: Option<String>,
    #[serde(default)]
    pub context: Option<String>,
    #[serde(default)]
    pub confidence: Option<f64>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub valid_at: Option<String>,
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// A relationship as clients write it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationshipRecord {
    pub source_entity_id: String,
    pub target_entity_id: String,
    #[serde(default = "related_to")]
    pub relationship_type: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub confidence: Option<f64>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub valid_at: Option<String>,
    #[serde(default)]
    pub expired_at: Option<String>,
    #[serde(default)]
    pub invalid_at: Option<String>,
    #[serde(default)]
    pub source_entity_name: Option<String>,
    #[serde(default)]
    pub target_entity_name: Option<String>,
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

fn related_to() -> String {
    RELATED_TO.to_owned()
}

/// The id of an entity that comes without one: the same name and type are the same entity.
pub(super) fn entity_id(kind: &str, name: &str) -> String {
    made_id(&["entity", kind, &name.to_lowercase()])
}

pub(super) fn relationship_id(source: &str, target: &str, kind: &str) -> String {
    made_id(&["relationship", source, target, kind])
}

pub(super) fn made_id(parts: &[&str]) -> String {
    let mut name = String::new();
    for part in parts {
        name.push_str(&format!("{}:{part}", part.len()));
    }
    Uuid::new_v5(&IDS, name.as_bytes()).to_string()
}

/// Columns of a table of the memory's own; none for the user's.
pub(super) fn base(table: &str) -> SchemaRef {
    let columns: &[&str] = match table {
        ENTITY => &[
            "entity_id",
            "name",
            "entity_type",
            "context",
            "confidence",
            "created_at",
            "valid_at",
            "metadata",
        ],
        RELATIONSHIP => &[
            "relationship_id",
            "source_entity_id",
            "target_entity_id",
            "relationship_type",
            "description",
            "confidence",
            "created_at",
            "valid_at",
            "expired_at",
            "invalid_at",
            "source_entity_name",
            "target_entity_name",
            "metadata",
        ],
        SOURCE => &["source_id", "kind", "uri", "mime_type", "text", "created_at", "memory_id", "metadata"],
        EMBEDDING => &["entity_id", "digest"],
        _ => &[],
    };
    let field = |name: &&str| match *name {
        "confidence" => Field::new(*name, DataType::Float64, true),
        "metadata" => Field::new(*name, DataType::Utf8, true)
            .with_metadata(HashMap::from([(EXTENSION_TYPE_NAME_KEY.to_owned(), JSON_EXTENSION.to_owned())])),
        _ => Field::new(*name, DataType::Utf8, true),
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

pub(super) fn optional_text(value: Option<String>) -> Typed {
    value.map_or(Typed::Null, Typed::Text)
}

fn metadata(value: Option<BTreeMap<String, String>>) -> Typed {
    value.map_or(Typed::Null, |map| Typed::Json(serde_json::json!(map)))
}

impl EntityRecord {
    /// The row it is, its id given or made.
    pub(super) fn into_row(self) -> Row {
        let kind = self.entity_type.filter(|kind| !kind.trim().is_empty());
        let id = self.entity_id.filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| entity_id(kind.as_deref().unwrap_or(PLAIN_ENTITY), &self.name));
        let mut row = Row::new();
        set(&mut row, "entity_id", Typed::Text(id));
        set(&mut row, "name", Typed::Text(self.name));
        set(&mut row, "entity_type", optional_text(kind));
        set(&mut row, "context", optional_text(self.context));
        set(&mut row, "confidence", self.confidence.map_or(Typed::Null, Typed::Float));
        set(&mut row, "created_at", optional_text(self.created_at));
        set(&mut row, "valid_at", optional_text(self.valid_at));
        set(&mut row, "metadata", metadata(self.metadata));
        row
    }
}

impl RelationshipRecord {
    pub(super) fn into_row(self) -> Row {
        let kind =
            if self.relationship_type.trim().is_empty() { related_to() } else { self.relationship_type };
        let id = relationship_id(&self.source_entity_id, &self.target_entity_id, &kind);
        let mut row = Row::new();
        set(&mut row, "relationship_id", Typed::Text(id));
        set(&mut row, "source_entity_id", Typed::Text(self.source_entity_id));
        set(&mut row, "target_entity_id", Typed::Text(self.target_entity_id));
        set(&mut row, "relationship_type", Typed::Text(kind));
        set(&mut row, "description", optional_text(self.description));
        set(&mut row, "confidence", self.confidence.map_or(Typed::Null, Typed::Float));
        set(&mut row, "created_at", optional_text(self.created_at));
        set(&mut row, "valid_at", optional_text(self.valid_at));
        set(&mut row, "expired_at", optional_text(self.expired_at));
        set(&mut row, "invalid_at", optional_text(self.invalid_at));
        set(&mut row, "source_entity_name", optional_text(self.source_entity_name));
        set(&mut row, "target_entity_name", optional_text(self.target_entity_name));
        set(&mut row, "metadata", metadata(self.metadata));
        row
    }
}

//! Toolkit `memories` (`--use-memory`): what one memory of the room holds. It is made when it is first used.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::config::MemoryConfig;
use crate::client::room::{Memory, Reading, RoomClient, RoomError};
use crate::columnar::typed::{self, Form};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Memories that a search gives.
const RECALL_LIMIT: usize = 20;
/// Rows of a list, unless the call says.
const LIST_LIMIT: usize = 50;
/// Rows that a call may ask for.
const LIST_MAX: usize = 1000;
const ENTITY: &str = "e.entity_id as entity_id, e.name as name, e.entity_type as entity_type, e.context as memory, \
                      e.confidence as confidence, e.created_at as created_at, e.valid_at as valid_at";
const RELATIONSHIP: &str = "r.source_entity_id as source_entity_id, r.target_entity_id as target_entity_id, \
                            r.source_entity_name as source_entity_name, r.target_entity_name as target_entity_name, \
                            r.relationship_type as relationship_type, r.description as description, \
                            r.confidence as confidence, r.created_at as created_at, r.valid_at as valid_at, \
                            r.expired_at as expired_at, r.invalid_at as invalid_at";

#[derive(Clone, Copy)]
enum Op {
    Add,
    Search,
    Recent,
    Relationships,
    Entity,
    DeleteEntity,
    DeleteRelationship,
    DeleteAll,
}

/// The tools of one memory.
pub fn memories(client: &RoomClient, config: &MemoryConfig) -> Vec<Arc<dyn Tool>> {
    let text = |what: &str| json!({"type": "string", "description": what});
    let maybe = |what: &str| json!({"type": ["string", "null"], "description": what});
    let limit = json!({"type": ["integer", "null"], "description": "most results, up to 1000; null is 50"});
    let id = text("entity_id of an entity");
    let relationship = json!({
        "source_entity_id": id, "target_entity_id": id, "relationship_type": maybe("only of this type"),
    });
    let confirm = json!({"confirm": {"type": "boolean", "description": "true to delete everything"}});
    let all = [
        (
            Op::Add,
            "add_memory",
            "Reads a text and remembers what it says.",
            json!({"memory": text("what to remember")}),
        ),
        (
            Op::Search,
            "search_memories",
            "Finds the memories that fit a text best, up to 20, with their relationships.",
            json!({"query": text("what to look for"), "entity_type": maybe("only entities of this type")}),
        ),
        (
            Op::Recent,
            "get_recent_memories",
            "Lists the newest memories.",
            json!({"limit": limit, "entity_type": maybe("only entities of this type")}),
        ),
        (
            Op::Relationships,
            "get_recent_relationships",
            "Lists the newest relationships between entities.",
            json!({"limit": limit, "entity_id": maybe("only from or to this entity"), "relationship_type": maybe("only of this type")}),
        ),
        (Op::Entity, "get_entity", "Shows one entity.", json!({"entity_id": id})),
        (Op::DeleteEntity, "delete_entity", "Forgets one entity.", json!({"entity_id": id})),
        (
            Op::DeleteRelationship,
            "delete_relationship",
            "Forgets the relationship from one entity to another.",
            relationship,
        ),
        (Op::DeleteAll, "delete_all_memories", "Forgets everything.", confirm),
    ];
    let tool = |(op, name, about, properties)| {
        let spec = spec("memories", name, about, properties);
        Arc::new(MemoryTool { op, spec, client: client.clone(), config: config.clone() }) as Arc<dyn Tool>
    };
    all.into_iter().map(tool).collect()
}

struct MemoryTool {
    op: Op,
    spec: ToolSpec,
    client: RoomClient,
    config: MemoryConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    memory: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    entity_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recent {
    limit: Option<usize>,
    entity_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relationships {
    limit: Option<usize>,
    entity_id: Option<String>,
    relationship_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entity {
    entity_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relationship {
    source_entity_id: String,
    target_entity_id: String,
    relationship_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteAll {
    confirm: bool,
}

#[async_trait::async_trait]
impl Tool for MemoryTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let memory = self.client.memory(&self.config.name, self.config.namespace.clone());
        if let Err(error) = memory.create(false, true).await
            && (error.is_lost() || error.is_final())
        {
            return Err(ToolError::Lost(error));
        }
        let answer = match self.op {
            Op::Add => self.add(&memory, arguments(given)?).await?,
            Op::Search => search(&memory, arguments(given)?).await?,
            Op::Recent => {
                let Recent { limit, entity_type } = arguments(given)?;
                let condition = entity_type.and_then(filled).map(|kind| equals("e.entity_type", &kind));
                let order = "e.valid_at DESC, e.created_at DESC, e.name";
                json!({"memories": listed(&memory, "e:Entity", condition, ENTITY, order, limit).await?})
            }
            Op::Relationships => relationships(&memory, arguments(given)?).await?,
            Op::Entity => {
                let Entity { entity_id } = arguments(given)?;
                let condition = Some(equals("e.entity_id", &entity_id));
                let found = listed(&memory, "e:Entity", condition, ENTITY, "e.name", Some(1)).await?;
                json!({"entity": found.first()})
            }
            Op::DeleteEntity => {
                let Entity { entity_id } = arguments(given)?;
                memory.delete_entities(&[entity_id]).await?
            }
            Op::DeleteRelationship => {
                let Relationship { source_entity_id, target_entity_id, relationship_type } =
                    arguments(given)?;
                let which = json!([{"source_entity_id": source_entity_id, "target_entity_id": target_entity_id,
                    "relationship_type": relationship_type}]);
                memory.delete_relationships(&which).await?
            }
            Op::DeleteAll => {
                if !arguments::<DeleteAll>(given)?.confirm {
                    return Err("nothing was deleted; pass confirm: true to delete everything".into());
                }
                memory.create(true, true).await?;
                json!({"ok": true})
            }
        };
        Ok(answer.to_string().into())
    }
}

impl MemoryTool {
    /// By a model, as the official agent has it; by rules where the server has no model for that.
    async fn add(&self, memory: &Memory<'_>, add: Add) -> Result<Value, ToolError> {
        let read = async |llm: bool| {
            let reading =
                Reading { llm, model: self.config.model.clone().filter(|_| llm), temperature: None };
            memory.ingest("ingest_text", json!({"text": add.memory}), &reading).await
        };
        match read(true).await {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_lost() || error.is_final() => Err(ToolError::Lost(error)),
            Err(error) => {
                let mut answer = read(false).await?;
                answer["note"] = format!("read by rules, since no model could: {error}").into();
                Ok(answer)
            }
        }
    }
}

async fn search(memory: &Memory<'_>, search: Search) -> Result<Value, RoomError> {
    if search.query.trim().is_empty() {
        return Ok(json!({"query": search.query, "memories": []}));
    }
    let mut answer = memory.recall(&search.query, RECALL_LIMIT, true).await?;
    let mut items = match answer.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    if let Some(kind) = search.entity_type.and_then(filled) {
        items.retain(|item| item["entity_type"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(&kind)));
    }
    for item in &mut items {
        if let Some(fields) = item.as_object_mut()
            && let Some(context) = fields.remove("context")
        {
            fields.insert("memory".into(), context);
        }
    }
    Ok(json!({"query": search.query, "memories": items}))
}

async fn relationships(memory: &Memory<'_>, wanted: Relationships) -> Result<Value, RoomError> {
    let of = wanted.entity_id.and_then(filled).map(|id| {
        format!("({} OR {})", equals("r.source_entity_id", &id), equals("r.target_entity_id", &id))
    });
    let kind = wanted.relationship_type.and_then(filled).map(|kind| equals("r.relationship_type", &kind));
    let both: Vec<_> = of.into_iter().chain(kind).collect();
    let condition = (!both.is_empty()).then(|| both.join(" AND "));
    let order = "r.valid_at DESC, r.created_at DESC, r.relationship_type";
    let rows = listed(memory, "r:RELATIONSHIP", condition, RELATIONSHIP, order, wanted.limit).await?;
    Ok(json!({"relationships": rows}))
}

async fn listed(
    memory: &Memory<'_>,
    of: &str,
    condition: Option<String>,
    columns: &str,
    order: &str,
    limit: Option<usize>,
) -> Result<Vec<Value>, RoomError> {
    let condition = condition.map(|text| format!("WHERE {text} ")).unwrap_or_default();
    let limit = limit.unwrap_or(LIST_LIMIT).clamp(1, LIST_MAX);
    let statement = format!("MATCH ({of}) {condition}RETURN {columns} ORDER BY {order} LIMIT {limit}");
    Ok(memory.query(&statement).await?.into_iter().map(plain).collect())
}

/// A row with plain values instead of those of the wire.
fn plain(row: Value) -> Value {
    match typed::rows(std::slice::from_ref(&row), Form::Wrapped).map(|mut rows| rows.pop()) {
        Ok(Some(fields)) => fields
            .into_iter()
            .map(|(name, value)| (name, value.json(Form::Plain)))
            .collect::<Map<_, _>>()
            .into(),
        _ => row,
    }
}

fn filled(text: String) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn equals(column: &str, value: &str) -> String {
    format!("{column} = '{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_quotes() {
        assert_eq!(equals("e.name", r"a' OR 1=1 \"), r"e.name = 'a\' OR 1=1 \\'");
    }
}

//! Tools that insert the elements of one kind of document: `KIND_insert_TAG`.

use super::held::Held;
use super::{CallContext, INSERT_TOOLS_MAX, KIT, Tool, ToolError, ToolOutput, ToolSpec};
use crate::yjs::MeshSchema;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What names the document itself where an element is wanted to insert into.
const ROOT: &str = "root";

struct InsertTool {
    spec: ToolSpec,
    tag: String,
    held: Arc<Held>,
}

/// One tool for each element that may be a child of another.
pub(super) fn tools(held: &Arc<Held>, kind: &str, schema: &MeshSchema) -> Vec<Arc<dyn Tool>> {
    let children = schema.elements().filter_map(|element| element.child.as_ref());
    let tags: BTreeSet<&String> = children.flat_map(|child| &child.tags).collect();
    let tool = |tag: &String| {
        let spec = ToolSpec {
            toolkit: format!("{KIT}.{kind}"),
            tool: format!("{kind}_insert_{tag}"),
            description: format!(
                "Inserts the element `{tag}` into an open document with the ending .{kind}."
            ),
            parameters: parameters(schema, tag),
            strict: false,
            approval: false,
        };
        Arc::new(InsertTool { spec, tag: tag.clone(), held: held.clone() }) as Arc<dyn Tool>
    };
    tags.into_iter().take(INSERT_TOOLS_MAX).map(tool).collect()
}

/// The element's own properties, without its children: those are inserted by further calls.
fn parameters(schema: &MeshSchema, tag: &str) -> Value {
    let described = schema.json()["$defs"][tag]["properties"][tag]["properties"].as_object();
    let values = schema.element(tag).map(|element| &element.values);
    let properties: Map<String, Value> = described
        .into_iter()
        .flatten()
        .filter(|(name, _)| values.is_some_and(|values| values.contains_key(*name)))
        .map(|(name, property)| (name.clone(), property.clone()))
        .collect();
    let mut all = Map::new();
    all.insert(
        tag.to_owned(),
        json!({"type": "object", "properties": properties, "required": [], "additionalProperties": false}),
    );
    all.insert("path".to_owned(), json!({"type": "string", "description": "path of the document"}));
    all.insert(
        "parent_element_id".to_owned(),
        json!({"type": "string", "description": "`$id` of the element to insert into; `root` for the document itself"}),
    );
    let required: Vec<&String> = all.keys().collect();
    json!({"type": "object", "required": required, "properties": all, "additionalProperties": false})
}

#[async_trait::async_trait]
impl Tool for InsertTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let Value::Object(mut given) = given else { return Err("the arguments are not an object".into()) };
        let mut text = |name: &str| match given.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(ToolError::Told(format!("the arguments do not fit: `{name}` must be a text"))),
        };
        let (path, parent) = (text("path")?, text("parent_element_id")?);
        let Some(Value::Object(mut fields)) = given.remove(&self.tag) else {
            return Err(format!("the arguments do not fit: `{}` must be an object", self.tag).into());
        };
        if let Some(name) = given.keys().next() {
            return Err(format!("the arguments do not fit: unknown field `{name}`").into());
        }
        // What is null is not there.
        fields.retain(|_, value| !value.is_null());
        let element = json!({self.tag.as_str(): fields});
        let ids = self.held.ids.clone();
        let insert = move |replica: &mut crate::yjs::Replica, schema: &MeshSchema| {
            let parent = Some(parent.as_str()).filter(|parent| *parent != ROOT);
            let (id, update) = replica.append(schema, parent, &element, &|| ids.fresh().to_string())?;
            Ok((id, Some(update)))
        };
        let id = self.held.edit(&path, insert).await?;
        Ok(json!({"id": id}).to_string().into())
    }
}

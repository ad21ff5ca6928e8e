//! Toolkit `meshagent.document_authoring` (`--document-authoring`): documents of the room that people may have open at the
//! same time, and for each kind of document `meshagent.document_authoring.KIND`, whose tools insert its elements.

mod held;
mod insert;
mod widget;

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::client::room::RoomClient;
use crate::clock::IdSource;
use crate::yjs::{MeshSchema, ValueKind};
use held::Held;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const KIT: &str = "meshagent.document_authoring";
/// The kind of document that is known without a schema in the room.
const WIDGET: &str = "widget";
/// Folder of the room's files with the schemas of the kinds of documents.
const SCHEMAS: &str = ".schemas";
/// Largest schema file, bytes.
const SCHEMA_BYTES_MAX: usize = 1024 * 1024;
/// Most elements of one kind of document that get a tool.
const INSERT_TOOLS_MAX: usize = 128;

/// The documents that an agent has open, shared by all its turns.
pub struct Documents {
    held: Arc<Held>,
    client: RoomClient,
    /// Kinds of documents beside [`WIDGET`] that are written.
    kinds: Vec<String>,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Documents {
    pub fn new(client: &RoomClient, kinds: &[String], ids: Arc<dyn IdSource>) -> Self {
        let held = Arc::new(Held::new(client.clone(), ids));
        Self { held, client: client.clone(), kinds: kinds.to_vec() }
    }

    /// The tools, as the room's schemas are now; and in words which kinds have none.
    pub async fn tools(&self) -> Result<(Vec<Arc<dyn Tool>>, Vec<String>), ToolError> {
        let mut tools = core(&self.held);
        let mut notes = Vec::new();
        let builtin = self.kinds.iter().all(|kind| kind != WIDGET);
        for kind in builtin.then_some(WIDGET).into_iter().chain(self.kinds.iter().map(String::as_str)) {
            match self.schema(kind, builtin && kind == WIDGET).await {
                Ok(schema) => tools.extend(insert::tools(&self.held, kind, &schema)),
                Err(ToolError::Told(why)) => {
                    notes.push(format!("documents of the kind `{kind}` cannot be written: {why}"));
                }
                Err(lost) => return Err(lost),
            }
        }
        Ok((tools, notes))
    }

    async fn schema(&self, kind: &str, builtin: bool) -> Result<MeshSchema, ToolError> {
        let json = if builtin {
            widget::schema()
        } else {
            let path = format!("{SCHEMAS}/{kind}.json");
            let (data, _) = self.client.storage().read(&path, SCHEMA_BYTES_MAX).await?;
            serde_json::from_slice(&data).map_err(|error| format!("{path} is not JSON: {error}"))?
        };
        Ok(MeshSchema::parse(json).map_err(|error| error.to_string())?)
    }

    /// Closes all documents.
    pub async fn close(&self) {
        self.held.close_all().await;
    }
}

#[derive(Clone, Copy)]
enum Op {
    Open,
    Close,
    Get,
    Set,
    Remove,
}

struct DocumentTool {
    op: Op,
    spec: ToolSpec,
    held: Arc<Held>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Element {
    path: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    path: String,
    id: String,
    attribute_name: String,
    attribute_value: Value,
}

/// The tools for documents of any kind.
fn core(held: &Arc<Held>) -> Vec<Arc<dyn Tool>> {
    let text = |what: &str| json!({"type": "string", "description": what});
    let path = || text("path of the document in the room's files");
    let id = || text("`$id` of an element, as get_document shows it");
    let value = json!({"type": ["string", "number", "boolean", "null"], "description": "its new value"});
    let all = [
        (
            Op::Remove,
            "remove_element_by_id",
            "Removes an element of an open document, with all that is in it.",
            json!({"path": path(), "id": id()}),
        ),
        (
            Op::Set,
            "set_attribute",
            "Gives an attribute of an element of an open document a value.",
            json!({"path": path(), "id": id(), "attribute_name": text("name of the attribute"), "attribute_value": value}),
        ),
        (
            Op::Get,
            "get_document",
            "Shows an open document as JSON, with the `$id` of each element.",
            json!({"path": path()}),
        ),
        (
            Op::Open,
            "meshagent.document.open",
            "Opens a document for reading and writing, and makes it where there is none. Only for documents with a \
             schema; files are read and written with other tools.",
            json!({"path": path()}),
        ),
        (
            Op::Close,
            "meshagent.document.close",
            "Closes a document, once nothing of it is read or written any more.",
            json!({"path": path()}),
        ),
    ];
    let tool = |(op, name, about, properties)| {
        let spec = spec(KIT, name, about, properties);
        Arc::new(DocumentTool { op, spec, held: held.clone() }) as Arc<dyn Tool>
    };
    all.into_iter().map(tool).collect()
}

#[async_trait::async_trait]
impl Tool for DocumentTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        match self.op {
            Op::Open => {
                let Which { path } = arguments(given)?;
                self.held.open(&path).await?;
                Ok("the document is open".into())
            }
            Op::Close => {
                let Which { path } = arguments(given)?;
                self.held.close(&path).await?;
                Ok("the document is closed".into())
            }
            Op::Get => {
                let Which { path } = arguments(given)?;
                let json = self.held.look(&path, |replica, schema| replica.render_with(schema, true)).await?;
                Ok(json.map_err(|error| error.to_string())?.to_string().into())
            }
            Op::Remove => {
                let Element { path, id } = arguments(given)?;
                self.held.edit(&path, move |replica, _| Ok(((), Some(replica.remove(&id)?)))).await?;
                Ok("the element was removed".into())
            }
            Op::Set => {
                let Set { path, id, attribute_name: name, attribute_value: value } = arguments(given)?;
                let set = move |replica: &mut crate::yjs::Replica, schema: &MeshSchema| {
                    let kind = replica.kind(schema, &id)?.values.get(&name).map(|property| property.kind);
                    let value = fitting(value.clone(), kind);
                    Ok(((), Some(replica.set_attribute(schema, &id, &name, &value)?)))
                };
                self.held.edit(&path, set).await?;
                Ok("the attribute was set".into())
            }
        }
    }
}

/// A value as the schema has it: models write numbers and truth values as texts.
fn fitting(value: Value, kind: Option<ValueKind>) -> Value {
    let Value::String(text) = &value else { return value };
    let other = match kind {
        Some(ValueKind::Number) => {
            serde_json::from_str::<serde_json::Number>(text.trim()).ok().map(Value::Number)
        }
        Some(ValueKind::Boolean) => text.trim().parse().ok().map(Value::Bool),
        _ => None,
    };
    other.unwrap_or(value)
}

#[cfg(test)]
mod tests;

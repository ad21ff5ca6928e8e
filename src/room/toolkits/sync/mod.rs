//! `sync`: documents that several edit at once (room protocol §3.5). Updates travel as base64 text; a change goes to
//! the others, and an update is answered, once it is on disk.

mod listener;
mod open;

use crate::document::{DocumentError, Documents, NewDocument, SchemaSource};
use crate::room::guard;
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::room::toolkits::storage::FileEvent;
use crate::wire::Content;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The toolkit.
#[derive(Debug)]
pub struct Sync {
    documents: Arc<Documents>,
    info: ToolkitInfo,
}

#[derive(Deserialize, JsonSchema)]
struct Create {
    path: String,
    /// The content, `{"<root tag>": {…}}`; empty without it.
    #[serde(default)]
    json: Option<Map<String, Value>>,
    /// MeshSchema. Without it and without `schema_path` the file `.schemas/<extension>.json` is taken.
    #[serde(default)]
    schema: Option<Map<String, Value>>,
    /// A file in room storage with the schema.
    #[serde(default)]
    schema_path: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Describe {
    path: String,
    /// Not used: a document keeps its schema.
    #[serde(default, rename = "schema_path")]
    _schema_path: Option<String>,
}

impl Sync {
    #[must_use]
    pub fn new(documents: Arc<Documents>) -> Self {
        let tools = vec![
            ToolInfo::unary::<Create>("create", &["empty"], "Makes a document."),
            ToolInfo::unary::<Describe>("describe", &["json"], "Shows a document as JSON."),
            ToolInfo::stream("open", Takes::Stream, "Opens a document to read and edit it together.")
                .waiting()
                .answering_items(),
        ];
        let info = ToolkitInfo {
            name: "sync",
            title: "Sync",
            description: "Documents that several participants edit at the same time.",
            tools,
        };
        Self { documents, info }
    }

    async fn create(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Create = call.args()?;
        let new = new_document(call, args.schema, args.schema_path, args.json)?;
        self.documents.create(call.session.room.id, &args.path, &new).await?;
        FileEvent::Updated { path: tidy(&args.path), by: call.caller.id.clone() }.send(&call.session);
        Ok(Content::Empty)
    }

    async fn describe(&self, call: &Call) -> Result<Content, ToolError> {
        let args: Describe = call.args()?;
        Ok(Content::Json(self.documents.describe(call.session.room.id, &args.path).await?))
    }
}

#[async_trait]
impl Toolkit for Sync {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        match call.tool {
            "create" => self.create(call).await,
            "describe" => self.describe(call).await,
            _ => open::run(&self.documents, call).await,
        }
    }
}

/// What to make a document of. A schema file is read for the caller, who must be allowed to read it.
fn new_document(
    call: &Call,
    schema: Option<Map<String, Value>>,
    schema_path: Option<String>,
    json: Option<Map<String, Value>>,
) -> Result<NewDocument, ToolError> {
    let schema = match (schema, schema_path) {
        (Some(schema), _) => SchemaSource::Given(Value::Object(schema)),
        (None, Some(file)) if guard::storage::can_read(&call.caller.api, &file) => SchemaSource::File(file),
        (None, Some(file)) => {
            let text = format!("the token may not read the schema file `{file}`; give `schema` itself");
            return Err(ToolError::new(crate::error_code::RoomCode::PermissionDenied, text));
        }
        (None, None) => SchemaSource::ByExtension,
    };
    Ok(NewDocument { schema, json: json.map(Value::Object) })
}

/// The one spelling of a path.
fn tidy(path: &str) -> String {
    crate::blob::FilePath::parse(path).map_or_else(|_| path.to_owned(), |path| path.to_string())
}

impl From<DocumentError> for ToolError {
    fn from(error: DocumentError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

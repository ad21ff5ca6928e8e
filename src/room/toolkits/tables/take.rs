//! Streams in: a `pull` for each block wanted; the caller closes its input when there are no more.

use crate::columnar::ipc;
use crate::columnar::typed::{self, Row};
use crate::room::toolkit::{Call, ToolError, kind};
use crate::wire::Content;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use serde_json::json;

/// One block of rows.
#[derive(Debug)]
pub enum Block {
    Arrow(SchemaRef, Vec<RecordBatch>),
    /// Typed JSON rows.
    Rows(Vec<Row>),
}

/// The blocks of a write. A stream that began with JSON is asked for more in JSON.
#[derive(Debug, Clone, Copy)]
pub struct Blocks {
    json: bool,
}

impl Blocks {
    /// Checks the first item of the stream.
    pub fn begin(call: &Call) -> Result<Self, ToolError> {
        if call.content.kind() != Some("start") {
            return Err(ToolError::invalid(format!(
                "the first item of {}.{} must say `kind: start`",
                call.toolkit, call.tool
            )));
        }
        Ok(Self { json: matches!(call.content, Content::Json(_)) })
    }

    /// The Arrow schema that came with the start, if one did.
    pub fn schema(call: &Call) -> Result<Option<SchemaRef>, ToolError> {
        match &call.content {
            Content::Binary { data, .. } if !data.is_empty() => Ok(Some(ipc::decode_schema(data)?)),
            _ => Ok(None),
        }
    }

    /// Asks for the next block; `None` when the caller has no more. The output must be open.
    pub async fn next(self, call: &Call) -> Result<Option<Block>, ToolError> {
        call.send(if self.json {
            Content::Json(json!({"kind": "pull"}))
        } else {
            kind("pull", Bytes::new())
        });
        let Some(item) = call.next().await? else { return Ok(None) };
        let block = match (item.kind(), &item) {
            (Some("data"), Content::Binary { data, .. }) => {
                let (schema, batches) = ipc::decode(data)?;
                Block::Arrow(schema, batches)
            }
            (Some("rows"), Content::Json(serde_json::Value::Object(chunk))) => {
                Block::Rows(typed::rows_chunk(chunk)?)
            }
            (kind, _) => {
                return Err(ToolError::invalid(format!(
                    "{}.{} wants binary items of kind `data` or json items of kind `rows`, got {:?}; nothing was \
                     stored",
                    call.toolkit,
                    call.tool,
                    kind.unwrap_or("an item without a kind")
                )));
            }
        };
        Ok(Some(block))
    }
}

impl Block {
    /// The rows as batches; JSON rows take the schema given, else one is inferred.
    pub fn into_batches(self, schema: Option<&SchemaRef>) -> Result<Vec<RecordBatch>, ToolError> {
        match self {
            // A block without batches still has a schema.
            Self::Arrow(schema, batches) if batches.is_empty() => Ok(vec![RecordBatch::new_empty(schema)]),
            Self::Arrow(_, batches) => Ok(batches),
            Self::Rows(rows) => {
                let schema = match schema {
                    Some(schema) => schema.clone(),
                    None => typed::infer(&rows)?,
                };
                Ok(vec![typed::batch(&schema, rows)?])
            }
        }
    }
}

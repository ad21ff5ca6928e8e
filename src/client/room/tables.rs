//! Tables of the room: datasets and SQLite databases (room protocol §3.8, §3.9). Both toolkits speak alike; their
//! streams are of Arrow blocks in which the receiver asks for each.

use super::call::{Answer, Call, Target};
use super::link::unexpected;
use super::{RoomClient, RoomError};
use crate::columnar::ipc;
use crate::wire::Content;
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Requests to one of the two toolkits.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    pub(super) client: &'a RoomClient,
    pub(super) toolkit: &'static str,
}

/// What a statement gave.
#[derive(Debug)]
pub enum Executed {
    Rows(Query),
    Affected(u64),
}

/// An open query.
#[derive(Debug, Clone)]
pub struct Query {
    pub id: String,
    pub schema: SchemaRef,
}

/// Rows being read.
#[derive(Debug)]
pub struct RowStream {
    call: Call,
    label: String,
    ready: VecDeque<RecordBatch>,
    schema: Option<SchemaRef>,
}

impl Tables<'_> {
    fn label(&self, tool: &str) -> String {
        format!("{}.{tool}", self.toolkit)
    }

    /// Calls a tool that takes JSON; what it gives when that is JSON, else null.
    pub async fn call(&self, tool: &str, input: Value) -> Result<Value, RoomError> {
        self.client.invoke_json(self.toolkit, tool, input).await
    }

    /// The schema of a table; `input` names it.
    pub async fn schema(&self, input: Value) -> Result<SchemaRef, RoomError> {
        let answer = self.client.invoke(&Target::new(self.toolkit, "inspect"), Content::Json(input)).await?;
        let Content::Binary { data, .. } = answer else {
            return Err(unexpected(&self.label("inspect"), &answer, "binary"));
        };
        ipc::decode_schema(&data).map_err(|error| self.failed("inspect", error))
    }

    /// Calls a tool with headers and an Arrow schema.
    pub async fn with_schema(&self, tool: &str, headers: Value, schema: &Schema) -> Result<(), RoomError> {
        let data = ipc::encode_schema(schema).map_err(|error| self.failed(tool, error))?;
        self.client.invoke(&Target::new(self.toolkit, tool), Content::binary(headers, data)).await.map(drop)
    }

    /// Makes a table where it is missing.
    pub async fn ensure(
        &self,
        name: &str,
        namespace: Option<&[String]>,
        schema: &Schema,
    ) -> Result<(), RoomError> {
        let start = json!({"kind": "start", "name": name, "mode": "create_if_not_exists",
            "namespace": namespace, "branch": null, "metadata": null});
        self.write("create_table", start, Some(schema), std::iter::empty()).await.map(drop)
    }

    /// Writes rows, one block for each the server asks for; the number of them.
    pub async fn write(
        &self,
        tool: &str,
        start: Value,
        schema: Option<&Schema>,
        mut blocks: impl Iterator<Item = Result<RecordBatch, RoomError>> + Send,
    ) -> Result<u64, RoomError> {
        let label = self.label(tool);
        let mut call = self.client.start(&Target::new(self.toolkit, tool), None).await?;
        let data = match schema {
            Some(schema) => ipc::encode_schema(schema).map_err(|error| self.failed(tool, error))?,
            None => Bytes::new(),
        };
        call.send(Content::binary(start, data)).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected(&label, &other, "a stream"));
        }
        let mut rows = 0;
        while let Some(item) = call.next().await? {
            if item.kind() != Some("pull") {
                return Err(unexpected(&label, &item, "a pull"));
            }
            match blocks.next() {
                Some(Ok(batch)) => {
                    rows += batch.num_rows() as u64;
                    let data = ipc::encode_batch(&batch).map_err(|error| self.failed(tool, error))?;
                    let header = json!({"kind": "data", "content_type": ipc::MIME_TYPE});
                    call.send(Content::binary(header, data)).await?;
                }
                Some(Err(error)) => {
                    // Ends the call in failure, so that nothing of it stays.
                    call.fail_input(&error.to_string()).await?;
                    return Err(error);
                }
                None => call.end_input().await?,
            }
        }
        Ok(rows)
    }

    /// Reads rows: `search`, or a query by its id.
    pub async fn read(&self, tool: &str, start: Value) -> Result<RowStream, RoomError> {
        let label = self.label(tool);
        let mut call = self.client.start(&Target::new(self.toolkit, tool), None).await?;
        call.send(Content::binary(start, Bytes::new())).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected(&label, &other, "a stream"));
        }
        Ok(RowStream { call, label, ready: VecDeque::new(), schema: None })
    }

    /// Runs one statement. `params`: an Arrow table of one row, for datasets.
    pub async fn execute(&self, headers: Value, params: Option<&RecordBatch>) -> Result<Executed, RoomError> {
        let tool = "execute_sql";
        let data = match params {
            Some(params) => ipc::encode_batch(params).map_err(|error| self.failed(tool, error))?,
            None => Bytes::new(),
        };
        let target = Target::new(self.toolkit, tool);
        match self.client.invoke(&target, Content::binary(headers, data)).await? {
            Content::Binary { headers, data } => {
                let id = headers.get("query_id").and_then(Value::as_str).unwrap_or_default().to_owned();
                let schema = ipc::decode_schema(&data).map_err(|error| self.failed(tool, error))?;
                Ok(Executed::Rows(Query { id, schema }))
            }
            Content::Json(answer) => {
                Ok(Executed::Affected(answer.get("rows_affected").and_then(Value::as_u64).unwrap_or(0)))
            }
            other => Err(unexpected(&self.label(tool), &other, "binary or json")),
        }
    }

    /// Reads the rows of an open query.
    pub async fn read_query(&self, query: &Query) -> Result<RowStream, RoomError> {
        let mut rows = self.read("read_sql_query", json!({"kind": "start", "query_id": query.id})).await?;
        rows.schema = Some(query.schema.clone());
        Ok(rows)
    }

    pub async fn close_query(&self, query: &Query) -> Result<(), RoomError> {
        self.call("close_sql_query", json!({"query_id": query.id})).await.map(drop)
    }

    fn failed(&self, tool: &str, error: impl ToString) -> RoomError {
        RoomError::Failed { request: self.label(tool), text: error.to_string(), code: None }
    }
}

impl RowStream {
    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, RoomError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            self.call.send(Content::binary(json!({"kind": "pull"}), Bytes::new())).await?;
            match self.call.next().await? {
                None => return Ok(None),
                Some(Content::Binary { data, .. }) => {
                    let (schema, batches) = ipc::decode(&data).map_err(|error| RoomError::Failed {
                        request: self.label.clone(),
                        text: error.to_string(),
                        code: None,
                    })?;
                    self.schema.get_or_insert(schema);
                    self.ready.extend(batches);
                }
                Some(other) => return Err(unexpected(&self.label, &other, "binary")),
            }
        }
    }

    /// The columns, once a block came.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.schema.clone()
    }
}

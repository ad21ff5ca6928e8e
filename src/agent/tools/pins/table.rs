//! Where pins last: a table of the room, beside the agent's threads.

use crate::client::room::{RoomClient, RoomError};
use crate::columnar::typed::{self, Typed};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use std::sync::Arc;

const TABLE: &str = "tool_pins";

/// The table of one agent.
#[derive(Debug)]
pub(super) struct Table {
    client: RoomClient,
    namespace: Vec<String>,
}

/// One pin: its key and the digest, in hexadecimal digits.
pub(super) type Row = (String, String);

fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Schema::new(vec![text("key"), text("digest")])
}

impl Table {
    pub fn new(client: RoomClient, agent_name: &str) -> Self {
        Self { client, namespace: vec!["agents".to_owned(), agent_name.to_owned()] }
    }

    /// All that is kept, up to `max`; makes the table where it is missing.
    pub async fn load(&self, max: usize) -> Result<Vec<Row>, RoomError> {
        let datasets = self.client.datasets();
        datasets.ensure(TABLE, Some(&self.namespace), &schema()).await?;
        let start = json!({"kind": "start", "table": TABLE, "namespace": self.namespace, "limit": max});
        let mut stream = datasets.read("search", start).await?;
        let mut all = Vec::new();
        while let Some(batch) = stream.next().await? {
            for row in typed::rows_of(&batch).map_err(failed)? {
                let text = |name: &str| {
                    row.iter().find_map(|(column, value)| match value {
                        Typed::Text(text) if column == name => Some(text.clone()),
                        _ => None,
                    })
                };
                all.extend(text("key").zip(text("digest")));
            }
        }
        Ok(all)
    }

    pub async fn save(&self, rows: Vec<Row>) -> Result<(), RoomError> {
        let row = |(key, digest)| {
            vec![("key".to_owned(), Typed::Text(key)), ("digest".to_owned(), Typed::Text(digest))]
        };
        let batch = typed::batch(&Arc::new(schema()), rows.into_iter().map(row).collect()).map_err(failed)?;
        let start = json!({"kind": "start", "table": TABLE, "namespace": self.namespace, "on": "key"});
        self.client.datasets().write("merge", start, None, std::iter::once(Ok(batch))).await.map(drop)
    }
}

fn failed(error: typed::TypedError) -> RoomError {
    RoomError::Failed { request: format!("table {TABLE}"), text: error.to_string(), code: None }
}

//! The room's table `images`: id, content, media type, when and by whom, and notes.

use crate::agent::tools::ToolError;
use crate::client::room::{RoomClient, RoomError};
use crate::clock::{Clock, IdSource};
use crate::columnar::typed::{self, Typed};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

const TABLE: &str = "images";

pub(in crate::agent::tools) struct Kept {
    client: RoomClient,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// The table is there.
    ready: OnceCell<()>,
}

fn schema() -> Schema {
    let content = HashMap::from([("content-type".to_owned(), "image/*".to_owned())]);
    let note = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into(),
    );
    Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("data", DataType::LargeBinary, false).with_metadata(content),
        Field::new("mime_type", DataType::Utf8, false),
        Field::new("created_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("created_by", DataType::Utf8, false),
        Field::new("annotations", DataType::List(Arc::new(Field::new("item", note, true))), true),
    ])
}

impl Kept {
    pub fn new(client: RoomClient, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { client, clock, ids, ready: OnceCell::new() }
    }

    async fn ready(&self) -> Result<(), RoomError> {
        let make = || async { self.client.datasets().ensure(TABLE, None, &schema()).await };
        self.ready.get_or_try_init(make).await.map(drop)
    }

    /// Keeps an image with notes, by key; its id.
    pub async fn save(
        &self,
        data: Bytes,
        mime_type: &str,
        by: &str,
        notes: &[(&str, &str)],
    ) -> Result<String, ToolError> {
        self.ready().await?;
        let id = self.ids.fresh().to_string();
        let text = |text: &str| Typed::Text(text.to_owned());
        let note = |(key, value): &(&str, &str)| {
            Typed::Struct(vec![("key".into(), text(key)), ("value".into(), text(value))])
        };
        let row = vec![
            ("id".to_owned(), text(&id)),
            ("data".to_owned(), Typed::Binary(data.to_vec())),
            ("mime_type".to_owned(), text(mime_type)),
            ("created_at".to_owned(), Typed::Timestamp { at: self.clock.now().naive_utc(), utc: true }),
            ("created_by".to_owned(), text(by)),
            ("annotations".to_owned(), Typed::List(notes.iter().map(note).collect())),
        ];
        let failed = |error: typed::TypedError| format!("the image cannot be kept: {error}");
        // The table may have been made with more columns.
        let columns = self.client.datasets().schema(json!({"table": TABLE})).await?;
        let batch = typed::batch(&columns, vec![row]).map_err(failed)?;
        let start = json!({"kind": "start", "table": TABLE, "namespace": null});
        self.client.datasets().write("insert", start, None, std::iter::once(Ok(batch))).await?;
        Ok(id)
    }

    /// A kept image and its media type.
    pub async fn read(&self, id: &str) -> Result<(Bytes, String), ToolError> {
        self.ready().await?;
        let start = json!({"kind": "start", "table": TABLE, "where": is(id), "limit": 1, "select": ["data", "mime_type"]});
        let mut rows = self.client.datasets().read("search", start).await?;
        while let Some(batch) = rows.next().await? {
            let found = typed::rows_of(&batch).map_err(|error| error.to_string())?;
            for row in found {
                let (mut data, mut mime_type) = (None, None);
                for (name, value) in row {
                    match (name.as_str(), value) {
                        ("data", Typed::Binary(bytes)) => data = Some(bytes),
                        ("mime_type", Typed::Text(text)) => mime_type = Some(text),
                        _ => {}
                    }
                }
                if let Some(data) = data {
                    return Ok((data.into(), mime_type.unwrap_or_else(|| "image/png".to_owned())));
                }
            }
        }
        Err(format!("image not found: {id}").into())
    }

    pub async fn delete(&self, id: &str) -> Result<(), ToolError> {
        self.read(id).await?;
        let input = json!({"table": TABLE, "where": is(id)});
        self.client.datasets().call("delete", input).await?;
        Ok(())
    }
}

fn is(id: &str) -> String {
    format!("id = '{}'", id.replace('\'', "''"))
}

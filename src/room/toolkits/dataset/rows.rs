//! Rows in and out.

use super::{Dataset, StoreRows, args, data_header};
use crate::columnar::ipc;
use crate::dataset::{Assignment, NewValue, Search, TableAt, TableWriter, WriteKind};
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::tables::{Blocks, RowItems, give};
use crate::wire::Content;
use arrow_schema::SchemaRef;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

impl Dataset {
    pub(super) async fn create_table(&self, call: &mut Call) -> Result<Content, ToolError> {
        let blocks = Blocks::begin(call)?;
        let args: args::CreateTable = call.args()?;
        let schema = Blocks::schema(call)?;
        let metadata = args.metadata.unwrap_or_default();
        let kind = WriteKind::Create {
            mode: args.mode.unwrap_or_default().into(),
            schema: schema.clone(),
            metadata: metadata.into_iter().map(|entry| (entry.key, entry.value)).collect(),
        };
        let at = args.place.table(call.session.room.id, args.name);
        let writer = self.store.write(&at, kind).await?;
        fill(call, blocks, writer, schema).await
    }

    pub(super) async fn insert(&self, call: &mut Call) -> Result<Content, ToolError> {
        let blocks = Blocks::begin(call)?;
        let args: args::Table = call.args()?;
        let at = TableAt { version: None, ..args.at(call.session.room.id) };
        self.write(call, blocks, &at, WriteKind::Insert).await
    }

    pub(super) async fn merge(&self, call: &mut Call) -> Result<Content, ToolError> {
        let blocks = Blocks::begin(call)?;
        let args: args::Merge = call.args()?;
        let at = args.place.table(call.session.room.id, args.table);
        self.write(call, blocks, &at, WriteKind::Merge { on: args.on }).await
    }

    async fn write(
        &self,
        call: &mut Call,
        blocks: Blocks,
        at: &TableAt,
        kind: WriteKind,
    ) -> Result<Content, ToolError> {
        let schema = self.store.schema(at).await?;
        let writer = self.store.write(at, kind).await?;
        fill(call, blocks, writer, Some(schema)).await
    }

    pub(super) async fn update(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Update = call.args()?;
        let at = args.place.table(call.session.room.id, args.table);
        let values = args.values.into_iter().map(assignment).collect::<Result<_, _>>()?;
        self.store.update(&at, &args.condition, values).await?;
        Ok(Content::Empty)
    }

    pub(super) async fn delete(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Delete = call.args()?;
        let at = args.place.table(call.session.room.id, args.table);
        self.store.delete(&at, &args.condition).await?;
        Ok(Content::Empty)
    }

    pub(super) async fn search(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let (at, search) = wanted(call)?;
        let mut rows = StoreRows(self.store.search(&at, search).await?);
        give(call, &mut RowItems::new(&mut rows, data_header()), &CancellationToken::new()).await?;
        Ok(Content::Empty)
    }

    pub(super) async fn count(&self, call: &Call) -> Result<Content, ToolError> {
        let (at, search) = wanted(call)?;
        Ok(Content::Json(json!({"count": self.store.count(&at, search).await?})))
    }

    pub(super) async fn inspect(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Table = call.args()?;
        let schema = self.store.schema(&args.at(call.session.room.id)).await?;
        let header = json!({"kind": "schema", "content_type": ipc::MIME_TYPE});
        Ok(Content::binary(header, ipc::encode_schema(&schema)?))
    }
}

/// Pulls blocks into the table until the caller closes its input, then commits. An error before that leaves nothing.
async fn fill(
    call: &mut Call,
    blocks: Blocks,
    mut writer: Box<dyn TableWriter>,
    mut schema: Option<SchemaRef>,
) -> Result<Content, ToolError> {
    call.open();
    while let Some(block) = blocks.next(call).await? {
        for batch in block.into_batches(schema.as_ref())? {
            schema.get_or_insert_with(|| batch.schema());
            writer.push(batch).await?;
        }
    }
    writer.commit().await?;
    Ok(Content::Empty)
}

fn wanted(call: &Call) -> Result<(TableAt, Search), ToolError> {
    let args: args::Search = call.args()?;
    let at = TableAt { version: args.version, ..args.place.table(call.session.room.id, args.table) };
    let search = Search {
        filter: args.condition.filter(|text| !text.trim().is_empty()),
        text: args.text,
        text_columns: args.text_columns,
        vector: args.vector,
        offset: args.offset.unwrap_or(0),
        limit: args.limit,
        select: args.select,
    };
    Ok((at, search))
}

fn assignment(value: args::NewValue) -> Result<Assignment, ToolError> {
    let column = value.column;
    let json: Value = serde_json::from_str(&value.value_json).map_err(|error| {
        ToolError::invalid(format!(
            "the value for column `{column}` is not JSON: {error}; `value_json` is JSON text"
        ))
    })?;
    let expression =
        json.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get("expression"));
    let value = match expression {
        Some(Value::String(sql)) => NewValue::Expression(sql.clone()),
        Some(_) => {
            let text = format!("the expression for column `{column}` must be text");
            return Err(ToolError::invalid(text));
        }
        None => NewValue::Typed(json),
    };
    Ok(Assignment { column, value })
}

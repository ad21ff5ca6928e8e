//! Rows in and out.

use super::{DatabaseRows, Sqlite, args, grants};
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::tables::{Blocks, RowItems, give};
use crate::sqlite_db::{DatabaseAt, RowWriter, Search, Wanted};
use crate::wire::Content;
use arrow_schema::SchemaRef;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

impl Sqlite {
    pub(super) async fn create_table(&self, call: &mut Call) -> Result<Content, ToolError> {
        let blocks = Blocks::begin(call)?;
        let args: args::NamedTable = call.args()?;
        let schema = Blocks::schema(call)?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let mode = args.mode.unwrap_or_default().into();
        let writer = self.databases.create_table(&at, &args.name, mode, schema.clone()).await?;
        fill(call, blocks, writer, schema).await
    }

    pub(super) async fn insert(&self, call: &mut Call) -> Result<Content, ToolError> {
        let blocks = Blocks::begin(call)?;
        let args: args::Table = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let schema = self.databases.schema(&at, &args.table).await?;
        let writer = self.databases.insert(&at, &args.table).await?;
        fill(call, blocks, writer, Some(schema)).await
    }

    pub(super) async fn update(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Update = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let values = args.values.into_iter().map(value).collect::<Result<Vec<_>, _>>()?;
        let search = by_condition(args.table, args.condition, args.params);
        let rows = self.databases.update(&at, grants::of(call, &at), search, values).await?;
        Ok(Content::Json(json!({"rows_affected": rows})))
    }

    pub(super) async fn delete(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Delete = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let search = by_condition(args.table, args.condition, args.params);
        let rows = self.databases.delete(&at, grants::of(call, &at), search).await?;
        Ok(Content::Json(json!({"rows_affected": rows})))
    }

    pub(super) async fn search(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let (at, search) = wanted(call)?;
        let mut rows = DatabaseRows(self.databases.search(&at, grants::of(call, &at), search).await?);
        give(call, &mut RowItems::new(&mut rows, data_header()), &CancellationToken::new()).await?;
        Ok(Content::Empty)
    }

    pub(super) async fn count(&self, call: &Call) -> Result<Content, ToolError> {
        let (at, search) = wanted(call)?;
        let count = self.databases.count(&at, grants::of(call, &at), search).await?;
        Ok(Content::Json(json!({"count": count})))
    }
}

/// Headers of a block of rows; the clients accept no others.
pub(super) fn data_header() -> Value {
    json!({"kind": "data"})
}

/// Pulls blocks until the caller closes its input, then commits. An error before that leaves nothing.
async fn fill(
    call: &mut Call,
    blocks: Blocks,
    mut writer: RowWriter,
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

fn wanted(call: &Call) -> Result<(DatabaseAt, Search), ToolError> {
    let args: args::Search = call.args()?;
    let at = args::at(call.session.room.id, args.namespace, args.database);
    let wanted = match args.condition {
        None => Wanted::All,
        Some(args::Condition::Sql(sql)) if sql.trim().is_empty() => Wanted::All,
        Some(args::Condition::Sql(sql)) => Wanted::Where(sql),
        Some(args::Condition::Equal(columns)) => Wanted::Equal(columns),
    };
    let search = Search {
        table: args.table,
        wanted,
        params: args.params,
        offset: args.offset,
        limit: args.limit,
        select: args.select,
    };
    Ok((at, search))
}

fn by_condition(table: String, condition: String, params: Value) -> Search {
    Search { table, wanted: Wanted::Where(condition), params, offset: None, limit: None, select: None }
}

fn value(value: args::NewValue) -> Result<(String, Value), ToolError> {
    let json = serde_json::from_str(&value.value_json).map_err(|error| {
        let column = &value.column;
        ToolError::invalid(format!(
            "the value for column `{column}` is not JSON: {error}; `value_json` is JSON text"
        ))
    })?;
    Ok((value.column, json))
}

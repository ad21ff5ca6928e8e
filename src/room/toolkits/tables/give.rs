//! Streams out: one item for each `pull` of the caller, until there are no more or the caller closes its input.

use crate::columnar::ipc;
use crate::error_code::RoomCode;
use crate::room::toolkit::{Call, ToolError};
use crate::wire::Content;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Most pulls that may come ahead of their items.
const PULLS_AHEAD_MAX: u32 = 1_024;

/// Rows on their way out. Dropping them cancels the query.
#[async_trait]
pub trait Rows: Send {
    fn schema(&self) -> SchemaRef;
    /// The next rows, bounded in number and bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>, ToolError>;
}

/// What a stream consists of.
#[async_trait]
pub trait Items: Send {
    /// The next item; `None` at the end. Not called again after that.
    async fn next(&mut self) -> Result<Option<Content>, ToolError>;
}

/// Rows as `data` items. Where there are no rows there is one item with the schema, so that the caller knows the
/// columns.
pub struct RowItems<'a> {
    rows: &'a mut dyn Rows,
    header: Value,
    sent: bool,
}

impl std::fmt::Debug for RowItems<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowItems").field("schema", &self.rows.schema()).finish_non_exhaustive()
    }
}

impl<'a> RowItems<'a> {
    /// `header` are the headers of each item.
    pub fn new(rows: &'a mut dyn Rows, header: Value) -> Self {
        Self { rows, header, sent: false }
    }
}

#[async_trait]
impl Items for RowItems<'_> {
    async fn next(&mut self) -> Result<Option<Content>, ToolError> {
        let batch = match self.rows.next().await? {
            Some(batch) => batch,
            None if self.sent => return Ok(None),
            None => RecordBatch::new_empty(self.rows.schema()),
        };
        self.sent = true;
        Ok(Some(Content::binary(self.header.clone(), ipc::encode_batch(&batch)?)))
    }
}

/// Opens the call's output and gives the items. Whatever is being computed is dropped when the caller closes its
/// input or `cancel` is cancelled.
pub async fn give(
    call: &mut Call,
    items: &mut dyn Items,
    cancel: &CancellationToken,
) -> Result<(), ToolError> {
    call.open();
    let mut asked = 0_u32;
    loop {
        if asked == 0 {
            let pulled = tokio::select! {
                () = cancel.cancelled() => return Err(cancelled()),
                pulled = pull(call) => pulled?,
            };
            if !pulled {
                return Ok(());
            }
            asked = 1;
        }
        let mut next = items.next();
        let item = loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(cancelled()),
                item = &mut next => break item?,
                pulled = pull(call), if asked < PULLS_AHEAD_MAX => {
                    if !pulled? {
                        return Ok(());
                    }
                    asked += 1;
                }
            }
        };
        drop(next);
        asked -= 1;
        match item {
            Some(item) => call.send(item),
            None => return Ok(()),
        }
    }
}

/// Waits until the caller asks for an item; false when it wants no more.
async fn pull(call: &Call) -> Result<bool, ToolError> {
    match call.next().await? {
        None => Ok(false),
        Some(item) if item.kind() == Some("pull") => Ok(true),
        Some(item) => Err(ToolError::invalid(format!(
            "{}.{} is fed with `pull` items, not {:?}",
            call.toolkit,
            call.tool,
            item.kind().unwrap_or("an item without a kind")
        ))),
    }
}

fn cancelled() -> ToolError {
    ToolError::new(RoomCode::InvalidState, "the query was cancelled")
}

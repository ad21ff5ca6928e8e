//! Files of the room into tables, and tables into files.

use super::{Dataset, args};
use crate::columnar::files::{BATCH_ROWS, FileError, Format, Reader, Writer};
use crate::dataset::{CreateMode, Search, TableAt, TableWriter, WriteKind};
use crate::error_code::RoomCode;
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::storage::FileEvent;
use crate::wire::Content;
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinError;

/// Bytes read from a file at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// Files of the room that are imported at once, at most: each may be put by whole, and is decoded in memory.
pub(super) const IMPORTS_MAX: usize = 4;
/// How long an import waits for others to end.
const IMPORT_WAIT: Duration = Duration::from_secs(30);
/// Most rows in a block that a caller may ask for.
const BATCH_ROWS_MAX: usize = 100_000;

impl Dataset {
    pub(super) async fn import(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Import = call.args()?;
        let format = Format::of(args.format.as_deref().unwrap_or("auto"), &args.path)?;
        if args.sheet.is_some() {
            return Err(ToolError::invalid(
                "`sheet` goes with format `excel` only, and such files of the room are not read",
            ));
        }
        let mode = args.mode.unwrap_or_default();
        let kind = match (mode, args.on) {
            (args::ImportMode::Merge, Some(on)) => WriteKind::Merge { on },
            (args::ImportMode::Merge, None) => {
                return Err(ToolError::invalid("mode `merge` needs `on`, the column to match"));
            }
            (_, Some(_)) => return Err(ToolError::invalid("`on` goes with mode `merge` only")),
            (args::ImportMode::Append, None) => WriteKind::Insert,
            (args::ImportMode::Create, None) => create(CreateMode::Create),
            (args::ImportMode::Replace, None) => create(CreateMode::Overwrite),
        };
        let rows = args.batch_size.unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS_MAX);
        let Ok(turn) = tokio::time::timeout(IMPORT_WAIT, self.imports.acquire()).await else {
            let text = format!("{IMPORTS_MAX} files are being imported already; try again later");
            return Err(ToolError::new(RoomCode::Timeout, text));
        };
        let _turn = turn.map_err(|error| ToolError::failed(error.to_string()))?;
        let files = self.files.room(call.session.room.id);
        let mut file = files.open_read(&args.path, None).await?;
        let at = args.place.table(call.session.room.id, args.table);
        let mut writer = self.store.write(&at, kind).await?;
        let folder = self.folder.clone();
        let made = tokio::task::spawn_blocking(move || Reader::new(format, rows, &folder)).await;
        let mut reader = made.map_err(stopped)??;
        while file.left() > 0 {
            let block = file.read(BLOCK_BYTES).await?;
            let parsed;
            (reader, parsed) = parse(reader, move |reader| reader.push(&block)).await?;
            parsed?;
            reader = drain(reader, writer.as_mut()).await?;
        }
        let finished;
        (reader, finished) = parse(reader, Reader::finish).await?;
        finished?;
        drain(reader, writer.as_mut()).await?;
        let written = writer.commit().await?;
        Ok(Content::Json(json!({"rows": written.rows, "version": written.version})))
    }

    pub(super) async fn export(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Export = call.args()?;
        let format = Format::of(args.format.as_deref().unwrap_or("auto"), &args.path)?;
        let at = TableAt { version: args.version, ..args.place.table(call.session.room.id, args.table) };
        let mut rows = self.store.search(&at, Search::default()).await?;
        let files = self.files.room(call.session.room.id);
        let mut file = files.open_write(&args.path, true).await?;
        let mut writer = Writer::new(format, &rows.schema())?;
        let mut count = 0;
        while let Some(batch) = rows.next().await? {
            count += batch.num_rows();
            file.write(Bytes::from(writer.write(&batch)?)).await?;
        }
        file.write(Bytes::from(writer.finish()?)).await?;
        file.commit().await?;
        FileEvent::Updated { path: args.path, by: call.caller.id.clone() }.send(&call.session);
        Ok(Content::Json(json!({"rows": count})))
    }
}

fn create(mode: CreateMode) -> WriteKind {
    WriteKind::Create { mode, schema: None, metadata: BTreeMap::new() }
}

/// Parses on a thread that may be busy for a while.
async fn parse<T: Send + 'static>(
    mut reader: Reader,
    work: impl FnOnce(&mut Reader) -> T + Send + 'static,
) -> Result<(Reader, T), ToolError> {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut reader);
        (reader, result)
    });
    done.await.map_err(stopped)
}

#[allow(clippy::needless_pass_by_value, reason = "it is passed on as it comes")]
fn stopped(error: JoinError) -> ToolError {
    ToolError::failed(format!("reading the file stopped: {error}"))
}

async fn drain(mut reader: Reader, writer: &mut dyn TableWriter) -> Result<Reader, ToolError> {
    loop {
        let block;
        (reader, block) = parse(reader, Reader::next).await?;
        match block? {
            Some(batch) => writer.push(batch).await?,
            None => return Ok(reader),
        }
    }
}

impl From<FileError> for ToolError {
    fn from(error: FileError) -> Self {
        Self::invalid(error.to_string())
    }
}

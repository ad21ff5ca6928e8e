//! `storage.upload` and `storage.download`.

use super::FileEvent;
use crate::blob::{FilePath, RoomFiles};
use crate::room::toolkit::{Call, ToolError, kind};
use crate::wire::Content;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

/// Block asked for in an upload, bytes. Large enough to need few round trips, small enough to be one packet.
const PULL_BYTES: usize = 256 * 1024;
/// Largest block of a download, bytes.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// Block of a download whose caller names none, bytes.
const BLOCK_BYTES_DEFAULT: usize = 64 * 1024;

#[derive(Deserialize)]
struct UploadStart {
    path: String,
    #[serde(default)]
    overwrite: Option<bool>,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Deserialize)]
struct DownloadStart {
    path: String,
    #[serde(default)]
    chunk_size: Option<usize>,
}

/// Pulls blocks until the caller closes its input, then makes the file appear.
pub(super) async fn upload(call: &mut Call, files: &RoomFiles) -> Result<Content, ToolError> {
    starts(call)?;
    let start: UploadStart = call.args()?;
    let path = FilePath::parse_file(&start.path)?.to_string();
    let mut file = files.open_write(&path, start.overwrite.unwrap_or(false)).await?;
    call.open();
    let mut received: u64 = 0;
    while start.size.is_none_or(|size| received < size) {
        call.send(Content::binary(json!({"kind": "pull", "chunk_size": PULL_BYTES}), Bytes::new()));
        let Some(item) = call.next().await? else { break };
        let data = block(item, &path)?;
        received += data.len() as u64;
        if start.size.is_some_and(|size| received > size) {
            break;
        }
        file.write(data).await?;
    }
    if let Some(size) = start.size.filter(|size| *size != received) {
        return Err(ToolError::invalid(format!(
            "`{path}` was announced with {size} bytes and {received} came; nothing was stored, send it again"
        )));
    }
    file.commit().await?;
    let (room, by) = (&call.session.room.name, &call.caller.name);
    tracing::info!(target: "meshagent::work", room, path, by, bytes = received, "file written");
    FileEvent::Updated { path, by: call.caller.id.clone() }.send(&call.session);
    Ok(Content::Empty)
}

/// Sends one block for each pull until all was sent or the caller closes its input.
pub(super) async fn download(call: &mut Call, files: &RoomFiles) -> Result<Content, ToolError> {
    starts(call)?;
    let start: DownloadStart = call.args()?;
    let path = FilePath::parse_file(&start.path)?.to_string();
    let mut file = files.open_read(&path, None).await?;
    let size = file.left();
    let name = file.info().name.clone();
    let mime_type = mime_guess::from_path(&name).first_or_octet_stream().essence_str().to_owned();
    let max = start.chunk_size.unwrap_or(BLOCK_BYTES_DEFAULT).clamp(1, BLOCK_BYTES_MAX);
    call.open();
    let header = json!({"kind": "start", "name": name, "mime_type": mime_type, "size": size});
    call.send(Content::binary(header, Bytes::new()));
    while file.left() > 0 {
        match call.next().await? {
            None => break,
            Some(item) if item.kind() == Some("pull") => {
                let data = file.read(max).await?;
                call.send(kind("data", data));
            }
            Some(item) => {
                return Err(ToolError::invalid(format!(
                    "a download is fed with `pull` items, not {:?}",
                    item.kind().unwrap_or("an item without a kind")
                )));
            }
        }
    }
    Ok(Content::Empty)
}

fn starts(call: &Call) -> Result<(), ToolError> {
    if call.content.kind() == Some("start") {
        return Ok(());
    }
    Err(ToolError::invalid(format!(
        "the first item of storage.{} must be binary with headers `kind: start` and `path`",
        call.tool
    )))
}

fn block(item: Content, path: &str) -> Result<Bytes, ToolError> {
    match item {
        Content::Binary { headers, data } if headers.get("kind").and_then(|k| k.as_str()) == Some("data") => {
            Ok(data)
        }
        other => Err(ToolError::invalid(format!(
            "the upload of `{path}` wants binary items with the header `kind: data`, got {:?}; nothing was stored",
            other.kind().unwrap_or("an item without a kind")
        ))),
    }
}

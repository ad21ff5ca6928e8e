//! What is ingested, as texts: captions, files and rows.

use super::args::{IngestFile, IngestFromTable, IngestImage};
use crate::blob::{READ_BYTES_MAX, RoomFiles};
use crate::columnar::typed::{self, Typed};
use crate::dataset::{DatasetStore, Place, Search, TableAt};
use crate::id::RoomId;
use crate::memory::extract::{Image, TEXT_BYTES_MAX};
use crate::memory::{MemoryError, Origin, TEXTS_MAX, Text};
use crate::room::toolkit::ToolError;
use arrow_schema::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;

/// Largest picture, bytes.
const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of all texts of one call at most.
const ALL_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) fn plain(text: String) -> Text {
    Text { text, image: None, origin: Origin { kind: "text", ..Origin::default() } }
}

/// A picture by its caption and annotations; a model sees the picture too.
pub(super) fn image(args: IngestImage) -> Result<Text, ToolError> {
    let annotations: BTreeMap<String, String> = match &args.annotations_json {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            ToolError::invalid(format!("annotations_json is no JSON object of texts: {error}"))
        })?,
    };
    let data = args.data_base64.as_deref().map(|data| BASE64.decode(data)).transpose();
    let data = data.map_err(|error| ToolError::invalid(format!("data_base64 is not base64: {error}")))?;
    let said = args.caption.iter().chain(annotations.values()).cloned().collect::<Vec<_>>().join("\n\n");
    if said.trim().is_empty() && data.is_none() && args.source.is_none() {
        return Err(ToolError::invalid("nothing to remember; give a caption, data, annotations or a source"));
    }
    let size = data.as_ref().map_or(0, Vec::len);
    if size > IMAGE_BYTES_MAX {
        return Err(ToolError::invalid(format!(
            "a picture of {size} bytes is larger than {IMAGE_BYTES_MAX}"
        )));
    }
    let mime_type = args.mime_type.or_else(|| Some(picture_type(data.as_deref()?)?.to_owned()));
    let image = data.and_then(|data| {
        let mime_type = mime_type.clone().filter(|mime| mime.starts_with("image/"))?;
        Some(Image { mime_type, data: data.into() })
    });
    Ok(Text { text: said, image, origin: Origin { kind: "image", uri: args.source, mime_type, annotations } })
}

fn picture_type(data: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 4] = [
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"RIFF", "image/webp"),
    ];
    known.iter().find(|(start, _)| data.starts_with(start)).map(|(_, mime)| *mime)
}

/// A file by its text, or one of the room's storage.
pub(super) async fn file(files: &RoomFiles, args: IngestFile) -> Result<Text, ToolError> {
    let mut read = match (args.text, &args.path) {
        (Some(text), _) => {
            Text { origin: Origin { kind: "file", uri: args.path, ..Origin::default() }, ..plain(text) }
        }
        (None, Some(path)) => stored_one(files, path, "file").await?,
        (None, None) => {
            return Err(ToolError::invalid("give the path of a file in the room's storage, or its text"));
        }
    };
    read.origin.mime_type = args.mime_type.or(read.origin.mime_type);
    Ok(read)
}

/// Files of the room's storage.
pub(super) async fn stored(files: &RoomFiles, paths: &[String]) -> Result<Vec<Text>, ToolError> {
    if paths.len() > TEXTS_MAX {
        return Err(ToolError::invalid(format!("one call takes at most {TEXTS_MAX} files; send several")));
    }
    let (mut texts, mut bytes) = (Vec::with_capacity(paths.len()), 0);
    for path in paths {
        let text = stored_one(files, path, "storage").await?;
        bytes += text.text.len();
        bounded(bytes)?;
        texts.push(text);
    }
    Ok(texts)
}

fn bounded(bytes: usize) -> Result<(), ToolError> {
    if bytes > ALL_BYTES_MAX {
        return Err(ToolError::invalid(format!(
            "one call takes at most {ALL_BYTES_MAX} bytes of text; send several"
        )));
    }
    Ok(())
}

async fn stored_one(files: &RoomFiles, path: &str, kind: &'static str) -> Result<Text, ToolError> {
    let mut download = files.open_read(path, None).await?;
    if download.left() > TEXT_BYTES_MAX as u64 {
        return Err(ToolError::invalid(format!(
            "the file `{path}` has {} bytes, more than the {TEXT_BYTES_MAX} that are read; split it",
            download.left()
        )));
    }
    let mut bytes = Vec::new();
    loop {
        let block = download.read(READ_BYTES_MAX).await?;
        if block.is_empty() {
            break;
        }
        bytes.extend_from_slice(&block);
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        ToolError::invalid(format!("the file `{path}` is no text in UTF-8; convert it, or pass its text"))
    })?;
    let mime_type = mime_guess::from_path(path).first().map(|mime| mime.to_string());
    Ok(Text {
        origin: Origin { kind, uri: Some(path.to_owned()), mime_type, ..Origin::default() },
        ..plain(text)
    })
}

/// Rows of a dataset, each with its text columns as one text. Rows without text are passed over.
pub(super) async fn table(
    datasets: &dyn DatasetStore,
    room: RoomId,
    args: IngestFromTable,
) -> Result<Vec<Text>, ToolError> {
    let namespace = args.table_namespace.unwrap_or_default();
    let uri = namespace.iter().chain([&args.table]).map(String::as_str).collect::<Vec<_>>().join("/");
    let at = TableAt { place: Place { room, namespace, branch: None }, table: args.table, version: None };
    let schema = datasets.schema(&at).await.map_err(MemoryError::from)?;
    let texts = schema.fields().iter().filter(|field| {
        matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    });
    let columns = args.text_columns.unwrap_or_else(|| texts.map(|field| field.name().clone()).collect());
    if let Some(missing) = columns.iter().find(|column| schema.field_with_name(column).is_err()) {
        return Err(ToolError::not_found(format!("the table `{}` has no column `{missing}`", at.table)));
    }
    if columns.is_empty() {
        return Err(ToolError::invalid(format!("the table `{}` has no columns of text", at.table)));
    }
    let most = TEXTS_MAX as u64;
    let limit = args.limit.unwrap_or(most + 1);
    let search = Search { select: Some(columns.clone()), limit: Some(limit), ..Search::default() };
    let mut reader = datasets.search(&at, search).await.map_err(MemoryError::from)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = reader.next().await.map_err(MemoryError::from)? {
        for row in typed::rows_of(&batch).map_err(MemoryError::from)? {
            let said: Vec<String> = columns.iter().filter_map(|column| cell(&row, column)).collect();
            if said.is_empty() {
                continue;
            }
            let text = said.join("\n\n");
            bytes += text.len();
            bounded(bytes)?;
            let origin = Origin { kind: "table", uri: Some(uri.clone()), ..Origin::default() };
            found.push(Text { origin, ..plain(text) });
        }
    }
    if found.len() > TEXTS_MAX {
        return Err(ToolError::invalid(format!(
            "the table `{}` has more than {TEXTS_MAX} rows; pass a limit of at most that",
            at.table
        )));
    }
    Ok(found)
}

fn cell(row: &typed::Row, column: &str) -> Option<String> {
    let (_, value) = row.iter().find(|(name, _)| name == column)?;
    let text = match value {
        Typed::Null => return None,
        Typed::Text(text) => text.clone(),
        other => other.json(typed::Form::Plain).to_string(),
    };
    (!text.trim().is_empty()).then_some(text)
}

//! The file in room storage that stands for a document: its card. It names the document, so that the document is
//! listed, moved and deleted as any file is, whatever deletes it.

use super::error::DocumentError;
use crate::blob::{BlobError, RoomFiles};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use uuid::Uuid;

/// Largest file that may be a card, bytes.
const CARD_BYTES_MAX: u64 = 1024;
/// Largest schema file, bytes.
const SCHEMA_FILE_BYTES_MAX: u64 = crate::yjs::SCHEMA_BYTES_MAX as u64;
/// Looks at a path where files come and go.
const LOOKS_MAX: usize = 8;
const KIND: &str = "meshagent.document";

#[derive(Serialize, Deserialize)]
struct Card {
    kind: String,
    id: Uuid,
}

/// The folders looked into when all cards are looked for.
const FOLDERS_MAX: usize = 10_000;

/// All cards in room storage, by document; nothing when there are too many folders to look into.
pub(super) async fn all(files: &RoomFiles) -> Result<Option<HashMap<Uuid, String>>, BlobError> {
    let size = written(Uuid::nil()).len() as u64;
    let mut cards = HashMap::new();
    let mut folders = vec![String::new()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        looked += 1;
        if looked > FOLDERS_MAX {
            return Ok(None);
        }
        for entry in files.list(&folder).await? {
            let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
            if entry.is_folder {
                folders.push(path);
            } else if entry.size == Some(size)
                && let At::Document(id) = look(files, &path).await?
            {
                cards.insert(id, path);
            }
        }
    }
    Ok(Some(cards))
}

fn written(id: Uuid) -> Vec<u8> {
    serde_json::to_vec(&Card { kind: KIND.to_owned(), id }).unwrap_or_default()
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Nothing,
    Document(Uuid),
    /// A file or a folder.
    SomethingElse,
}

/// Looks what is at `path`. A file that comes and goes while it is looked at counts as nothing.
pub(super) async fn look(files: &RoomFiles, path: &str) -> Result<At, BlobError> {
    for _ in 0..LOOKS_MAX {
        match read(files, path, CARD_BYTES_MAX).await {
            Ok(Some(text)) => {
                return Ok(match serde_json::from_slice::<Card>(&text) {
                    Ok(card) if card.kind == KIND => At::Document(card.id),
                    _ => At::SomethingElse,
                });
            }
            Ok(None) => return Ok(At::SomethingElse),
            Err(BlobError::NotFound { .. }) => match files.stat(path).await? {
                Some(there) if there.is_folder => return Ok(At::SomethingElse),
                // It came after it was asked for.
                Some(_) => {}
                None => return Ok(At::Nothing),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(At::Nothing)
}

/// Puts the card of `id` at `path`; false when something is there already and may not be replaced.
pub(super) async fn put(
    files: &RoomFiles,
    path: &str,
    id: Uuid,
    overwrite: bool,
) -> Result<bool, DocumentError> {
    match files.write(path, Bytes::from(written(id)), overwrite).await {
        Ok(_) => Ok(true),
        Err(BlobError::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The JSON of a schema file; nothing when there is no such file.
pub(super) async fn schema(
    files: &RoomFiles,
    path: &str,
) -> Result<Option<serde_json::Value>, DocumentError> {
    let unusable = |reason: String| DocumentError::SchemaFile { path: path.to_owned(), reason };
    match read(files, path, SCHEMA_FILE_BYTES_MAX).await {
        Ok(Some(text)) => match serde_json::from_slice(&text) {
            Ok(json) => Ok(Some(json)),
            Err(error) => Err(unusable(error.to_string())),
        },
        Ok(None) => Err(unusable(format!("it has more than {SCHEMA_FILE_BYTES_MAX} bytes"))),
        Err(BlobError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A whole file of at most `max` bytes; nothing when it is larger.
async fn read(files: &RoomFiles, path: &str, max: u64) -> Result<Option<Vec<u8>>, BlobError> {
    let mut file = files.open_read(path, None).await?;
    if file.left() > max {
        return Ok(None);
    }
    let mut all = Vec::new();
    while file.left() > 0 {
        all.extend_from_slice(&file.read(usize::MAX).await?);
    }
    Ok(Some(all))
}

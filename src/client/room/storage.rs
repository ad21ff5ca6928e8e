//! Files of the room (room protocol §3.6): look-ups, and transfers in which the receiver asks for each block.

use super::call::{Answer, Call, Target};
use super::link::unexpected;
use super::{RoomClient, RoomError};
use crate::wire::Content;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Block size we ask for and send by default, bytes.
const BLOCK_BYTES: usize = 64 * 1024;
/// Largest block we send when the server asks for more, bytes.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// File requests of one client.
#[derive(Debug)]
pub struct Storage<'a> {
    client: &'a RoomClient,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FileEntry {
    pub name: String,
    #[serde(default)]
    pub is_folder: bool,
    /// Bytes; unknown for folders.
    #[serde(default)]
    pub size: Option<u64>,
}

/// A file being downloaded.
#[derive(Debug)]
pub struct Download {
    call: Call,
    pub name: String,
    pub mime_type: String,
    /// Bytes in all.
    pub size: u64,
    received: u64,
}

impl<'a> Storage<'a> {
    pub(super) fn new(client: &'a RoomClient) -> Self {
        Self { client }
    }

    pub async fn exists(&self, path: &str) -> Result<bool, RoomError> {
        let answer = self.client.invoke_json("storage", "exists", json!({"path": path})).await?;
        Ok(answer.get("exists").and_then(Value::as_bool).unwrap_or(false))
    }

    /// Names in a folder.
    pub async fn list(&self, path: &str) -> Result<Vec<FileEntry>, RoomError> {
        let mut answer = self.client.invoke_json("storage", "list", json!({"path": path})).await?;
        serde_json::from_value(answer["files"].take()).map_err(|error| RoomError::Failed {
            request: "storage.list".into(),
            text: format!("the answer is no list of files: {error}"),
            code: None,
        })
    }

    /// Deletes a file, or a folder with what is in it where `recursive` says so.
    pub async fn delete(&self, path: &str, recursive: bool) -> Result<(), RoomError> {
        let input = json!({"path": path, "recursive": recursive});
        self.client.invoke_json("storage", "delete", input).await.map(|_| ())
    }

    /// Writes a file. `size` is its length where known; without `overwrite` an existing file is error 3005.
    pub async fn upload(
        &self,
        path: &str,
        overwrite: bool,
        size: Option<u64>,
        mut data: impl AsyncRead + Unpin + Send,
    ) -> Result<(), RoomError> {
        let mut call = self.client.start(&Target::new("storage", "upload"), None).await?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let mime = mime_guess::from_path(path).first_or_octet_stream();
        let start = json!({
            "kind": "start", "path": path, "overwrite": overwrite,
            "name": name, "mime_type": mime.essence_str(), "size": size,
        });
        call.send(Content::binary(start, Bytes::new())).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected("storage.upload", &other, "a stream"));
        }
        while let Some(item) = call.next().await? {
            let Content::Binary { headers, .. } = &item else {
                return Err(unexpected("storage.upload", &item, "binary"));
            };
            let wanted = headers.get("chunk_size").and_then(Value::as_u64).filter(|n| *n > 0);
            let wanted = wanted.and_then(|n| usize::try_from(n).ok()).unwrap_or(BLOCK_BYTES);
            let block = read_block(&mut data, wanted.min(BLOCK_BYTES_MAX)).await.map_err(|error| {
                RoomError::Failed {
                    request: "storage.upload".into(),
                    text: format!("the data for `{path}` cannot be read: {error}"),
                    code: None,
                }
            })?;
            if block.is_empty() {
                call.end_input().await?;
            } else {
                call.send(Content::binary(json!({"kind": "data"}), block)).await?;
            }
        }
        Ok(())
    }

    /// Writes a file from memory.
    pub async fn write(&self, path: &str, overwrite: bool, data: &[u8]) -> Result<(), RoomError> {
        self.upload(path, overwrite, Some(data.len() as u64), data).await
    }

    /// Opens a file for download. Error 3001: there is no such file.
    pub async fn download(&self, path: &str) -> Result<Download, RoomError> {
        let mut call = self.client.start(&Target::new("storage", "download"), None).await?;
        let start = json!({"kind": "start", "path": path, "chunk_size": BLOCK_BYTES});
        call.send(Content::binary(start, Bytes::new())).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected("storage.download", &other, "a stream"));
        }
        let Some(Content::Binary { headers, .. }) = call.next().await? else {
            return Err(RoomError::Unexpected {
                request: "storage.download".into(),
                got: "something else",
                want: "binary `start`",
            });
        };
        let text = |key: &str| headers.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let size = headers.get("size").and_then(Value::as_u64).unwrap_or(0);
        Ok(Download { call, name: text("name"), mime_type: text("mime_type"), size, received: 0 })
    }

    /// Reads a whole file of at most `max` bytes into memory.
    pub async fn read(&self, path: &str, max: usize) -> Result<(Bytes, String), RoomError> {
        let mut download = self.download(path).await?;
        if download.size > max as u64 {
            return Err(RoomError::TooMuch {
                what: "the size of the file in bytes",
                max,
                advice: "read a smaller file",
            });
        }
        let mut all = BytesMut::new();
        while let Some(block) = download.next().await? {
            all.extend_from_slice(&block);
        }
        Ok((all.freeze(), download.mime_type))
    }
}

impl Download {
    /// The next block; `None` at the end.
    ///
    /// Errors: the server sent more or less than it said.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RoomError> {
        if self.received < self.size {
            self.call.send(Content::binary(json!({"kind": "pull"}), Bytes::new())).await?;
        } else {
            self.call.end_input().await?;
        }
        let wrong = |text: String| RoomError::Failed { request: "storage.download".into(), text, code: None };
        match self.call.next().await? {
            Some(Content::Binary { data, .. }) => {
                self.received += data.len() as u64;
                if self.received > self.size {
                    return Err(wrong(format!("more than the {} bytes announced", self.size)));
                }
                Ok(Some(data))
            }
            Some(other) => Err(unexpected("storage.download", &other, "binary")),
            None if self.received < self.size => {
                Err(wrong(format!("ended after {} of {} bytes", self.received, self.size)))
            }
            None => Ok(None),
        }
    }
}

/// Up to `max` bytes; fewer only at the end.
async fn read_block(data: &mut (impl AsyncRead + Unpin), max: usize) -> std::io::Result<Bytes> {
    let mut block = BytesMut::with_capacity(max);
    while block.len() < max {
        let left = max - block.len();
        if data.take(left as u64).read_buf(&mut block).await? == 0 {
            break;
        }
    }
    Ok(block.freeze())
}

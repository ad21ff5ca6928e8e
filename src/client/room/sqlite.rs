//! Whole SQLite databases down and up, with their size and SHA-256 checked on both sides.

use super::call::{Answer, Target};
use super::link::unexpected;
use super::{RoomClient, RoomError, Tables};
use crate::wire::Content;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest chunk either side takes, bytes.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// What a transfer comes to.
#[derive(Default)]
struct Sum {
    size: u64,
    hash: Sha256,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn complete(self) -> Value {
        json!({"kind": "complete", "size": self.size, "sha256": hex::encode(self.hash.finalize())})
    }
}

impl RoomClient {
    /// The room's datasets.
    pub fn datasets(&self) -> Tables<'_> {
        Tables { client: self, toolkit: "dataset" }
    }

    /// The room's SQLite databases.
    pub fn sqlite(&self) -> Tables<'_> {
        Tables { client: self, toolkit: "sqlite" }
    }
}

impl Tables<'_> {
    /// Writes a consistent copy of a database to `out`; the number of bytes. Use what was written only when this
    /// returns without an error.
    pub async fn backup(
        &self,
        database: &str,
        namespace: &Value,
        mut out: impl AsyncWrite + Unpin + Send,
    ) -> Result<u64, RoomError> {
        const LABEL: &str = "sqlite.backup";
        let mut call = self.client.start(&Target::new("sqlite", "backup"), None).await?;
        let start = json!({"kind": "start", "database": database, "namespace": namespace});
        call.send(Content::binary(start, Bytes::new())).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected(LABEL, &other, "a stream"));
        }
        let mut sum = Sum::default();
        loop {
            call.send(Content::binary(json!({"kind": "pull"}), Bytes::new())).await?;
            match call.next().await? {
                Some(Content::Binary { headers, data }) if headers.get("kind") == Some(&"data".into()) => {
                    sum.add(&data);
                    out.write_all(&data).await.map_err(|error| failed(LABEL, &error))?;
                }
                Some(Content::Binary { headers, .. }) => {
                    let size = sum.size;
                    if Value::Object(headers) != sum.complete() {
                        return Err(failed(
                            LABEL,
                            &"the copy came with another size or SHA-256 than announced",
                        ));
                    }
                    out.flush().await.map_err(|error| failed(LABEL, &error))?;
                    return Ok(size);
                }
                Some(other) => return Err(unexpected(LABEL, &other, "binary")),
                None => return Err(failed(LABEL, &"the copy ended before it was complete")),
            }
        }
    }

    /// Makes a new database of the bytes of `source`; the number of bytes.
    pub async fn restore(
        &self,
        database: &str,
        namespace: &Value,
        mut source: impl AsyncRead + Unpin + Send,
    ) -> Result<u64, RoomError> {
        const LABEL: &str = "sqlite.restore";
        let mut call = self.client.start(&Target::new("sqlite", "restore"), None).await?;
        let start = json!({"kind": "start", "database": database, "namespace": namespace});
        call.send(Content::binary(start, Bytes::new())).await?;
        if let Answer::Unary(other) = call.answer().await? {
            return Err(unexpected(LABEL, &other, "a stream"));
        }
        let (mut sum, mut end) = (Some(Sum::default()), None);
        let mut size = 0;
        while let Some(item) = call.next().await? {
            if item.kind() == Some("complete") {
                let Content::Binary { headers, .. } = item else { continue };
                if Some(Value::Object(headers)) == end {
                    return Ok(size);
                }
                return Err(failed(LABEL, &"the room stored something else than was sent"));
            }
            let mut block = vec![0; CHUNK_BYTES_MAX];
            let read = source.read(&mut block).await;
            let item = match (read, &mut sum) {
                (Ok(0), sum) => {
                    let complete = sum.take().map(Sum::complete).unwrap_or_default();
                    end = Some(complete.clone());
                    Content::binary(complete, Bytes::new())
                }
                (Ok(read), Some(sum)) => {
                    block.truncate(read);
                    sum.add(&block);
                    size = sum.size;
                    Content::binary(json!({"kind": "data"}), Bytes::from(block))
                }
                (Ok(_), None) => return Err(failed(LABEL, &"the room asks for more than there is")),
                (Err(error), _) => {
                    call.send(Content::binary(json!({"kind": "abort"}), Bytes::new())).await?;
                    return Err(failed(LABEL, &error));
                }
            };
            call.send(item).await?;
        }
        Err(failed(LABEL, &"the upload ended before the room had stored it"))
    }
}

fn failed(request: &str, error: &dyn std::fmt::Display) -> RoomError {
    RoomError::Failed { request: request.to_owned(), text: error.to_string(), code: None }
}

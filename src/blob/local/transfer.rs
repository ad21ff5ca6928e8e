//! A file on its way to or from the local directory.

use super::{Place, blocking, failed, info};
use crate::blob::{BlobError, DownloadSource, FileInfo, FilePath, UploadSink};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::fs;
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A file that disappears with its owner.
pub(super) struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) struct LocalUpload {
    pub file: tokio::fs::File,
    pub temporary: Temporary,
    pub place: Place,
    pub path: FilePath,
    pub overwrite: bool,
}

#[async_trait]
impl UploadSink for LocalUpload {
    async fn write(&mut self, data: Bytes) -> Result<(), BlobError> {
        self.file.write_all(&data).await.map_err(|error| failed("write", &self.path, &error))
    }

    async fn commit(mut self: Box<Self>) -> Result<FileInfo, BlobError> {
        let own = self.path.clone();
        let io = |error: io::Error| failed("write", &own, &error);
        self.file.flush().await.map_err(io)?;
        self.file.sync_all().await.map_err(io)?;
        let path = self.path.clone();
        blocking("write", &path, move || {
            self.place.put(&self.temporary.0, &self.path, self.overwrite)?;
            let there = self.place.look(&self.path)?;
            let there = there.ok_or_else(|| BlobError::NotFound { path: self.path.to_string() })?;
            Ok(info(self.path.name(), &there))
        })
        .await
    }
}

pub(super) struct LocalDownload {
    pub file: tokio::fs::File,
    pub path: FilePath,
}

#[async_trait]
impl DownloadSource for LocalDownload {
    async fn read(&mut self, max: usize) -> Result<Bytes, BlobError> {
        let mut buffer = BytesMut::with_capacity(max);
        while buffer.len() < max {
            let mut rest = (&mut self.file).take((max - buffer.len()) as u64);
            let read =
                rest.read_buf(&mut buffer).await.map_err(|error| failed("read", &self.path, &error))?;
            if read == 0 {
                break;
            }
        }
        Ok(buffer.freeze())
    }
}

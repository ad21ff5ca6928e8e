//! The files of rooms: the port and its adapters, a local directory (default) and object storage (S3 and alike).
//!
//! Each room has a folder of its own, `rooms/<project>/<room>/files/`; a path never leads out of it. A file appears
//! whole or not at all, and is on disk when [`Upload::commit`] returns. A folder exists as long as it holds a file or, where
//! it was made as such, a hidden mark.
//! The local adapter is written here and not taken from `object_store`, which follows symbolic links and knows no
//! folders, no rename of a folder and no file that may not be replaced while it is streamed.
//!
//! Knows nothing of grants, sockets or events.

mod copy;
mod error;
mod local;
mod object;
mod path;

pub use copy::COPY_ENTRIES_MAX;
pub use error::BlobError;
pub use path::{FilePath, HIDDEN_DIRECTORY_MARK, UPLOAD_PREFIX};

use crate::clock::IdSource;
use crate::id::RoomId;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Most entries that one listing answers.
pub const LIST_MAX: usize = 100_000;
/// Largest block that one read returns.
pub const READ_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a block of [`Download::blocks`].
pub const BLOCK_BYTES: usize = 256 * 1024;

/// What is known of a file or folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileInfo {
    /// Last segment of the path; empty for the root.
    pub name: String,
    pub is_folder: bool,
    /// Bytes; `None` for a folder.
    pub size: Option<u64>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// Where files are kept.
#[async_trait]
trait Backend: Send + Sync + fmt::Debug + 'static {
    async fn stat(&self, room: RoomId, path: &FilePath) -> Result<Option<FileInfo>, BlobError>;
    async fn list(&self, room: RoomId, path: &FilePath) -> Result<Vec<FileInfo>, BlobError>;
    async fn delete(&self, room: RoomId, path: &FilePath, recursive: bool) -> Result<(), BlobError>;
    async fn rename(
        &self,
        room: RoomId,
        from: &FilePath,
        to: &FilePath,
        overwrite: bool,
    ) -> Result<(), BlobError>;
    async fn open_write(
        &self,
        room: RoomId,
        path: &FilePath,
        overwrite: bool,
    ) -> Result<Box<dyn UploadSink>, BlobError>;
    async fn open_read(
        &self,
        room: RoomId,
        path: &FilePath,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError>;
    /// Makes an empty folder where nothing is, with those above it.
    async fn make_folder(&self, room: RoomId, path: &FilePath) -> Result<(), BlobError>;
    async fn delete_room(&self, room: RoomId) -> Result<(), BlobError>;
    async fn sweep(&self) -> Result<u64, BlobError>;
    fn describe(&self) -> String;
}

#[async_trait]
trait UploadSink: Send {
    async fn write(&mut self, data: Bytes) -> Result<(), BlobError>;
    async fn commit(self: Box<Self>) -> Result<FileInfo, BlobError>;
}

#[async_trait]
trait DownloadSource: Send {
    /// At most `max` bytes; empty at the end.
    async fn read(&mut self, max: usize) -> Result<Bytes, BlobError>;
}

/// The files of all rooms.
#[derive(Debug, Clone)]
pub struct Blobs {
    backend: Arc<dyn Backend>,
}

impl Blobs {
    /// Under a local directory, which is made when it is missing.
    pub fn local(data_dir: impl Into<PathBuf>, ids: Arc<dyn IdSource>) -> Self {
        Self { backend: Arc::new(local::Local::new(data_dir.into(), ids)) }
    }

    /// In object storage: `s3://bucket/prefix`. `options` are the storage's own (`aws_access_key_id`, `aws_endpoint`,
    /// `aws_region`, …); the composition root takes them from the environment.
    pub fn from_url(url: &url::Url, options: Vec<(String, String)>) -> Result<Self, BlobError> {
        Ok(Self { backend: Arc::new(object::Objects::from_url(url, options)?) })
    }

    /// In a given object store.
    pub fn from_object_store(store: Arc<dyn object_store::ObjectStore>) -> Self {
        Self { backend: Arc::new(object::Objects::new(store)) }
    }

    /// The files of one room.
    #[must_use]
    pub fn room(&self, room: RoomId) -> RoomFiles {
        RoomFiles { backend: Arc::clone(&self.backend), room }
    }

    /// Removes what unfinished uploads left behind. Call once at start, before the first upload. Number removed.
    pub async fn sweep(&self) -> Result<u64, BlobError> {
        self.backend.sweep().await
    }

    /// One line for people: where the files are.
    #[must_use]
    pub fn describe(&self) -> String {
        self.backend.describe()
    }
}

/// The files of one room. Paths are relative, with `/`; see [`FilePath::parse`] for what is refused.
#[derive(Debug, Clone)]
pub struct RoomFiles {
    backend: Arc<dyn Backend>,
    room: RoomId,
}

impl RoomFiles {
    pub async fn exists(&self, path: &str) -> Result<bool, BlobError> {
        Ok(self.stat(path).await?.is_some())
    }

    /// `None` when there is nothing. The root is always there.
    pub async fn stat(&self, path: &str) -> Result<Option<FileInfo>, BlobError> {
        self.backend.stat(self.room, &FilePath::parse(path)?).await
    }

    /// One level of a folder, by name, at most [`LIST_MAX`]. A missing folder is [`BlobError::NotFound`].
    pub async fn list(&self, path: &str) -> Result<Vec<FileInfo>, BlobError> {
        let path = FilePath::parse(path)?;
        let mut files = self.backend.list(self.room, &path).await?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Deletes a file, or with `recursive` a folder and all below it.
    pub async fn delete(&self, path: &str, recursive: bool) -> Result<(), BlobError> {
        self.backend.delete(self.room, &FilePath::parse_file(path)?, recursive).await
    }

    /// Moves a file or a folder. With `overwrite` a file may replace a file; a folder never replaces anything.
    pub async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<(), BlobError> {
        let (from, to) = (FilePath::parse_file(from)?, FilePath::parse_file(to)?);
        if from == to {
            let found = self.backend.stat(self.room, &from).await?;
            return found.map(drop).ok_or_else(|| BlobError::NotFound { path: from.to_string() });
        }
        if to.is_below(&from) {
            return Err(BlobError::invalid(to.as_str(), "a folder cannot be moved into itself"));
        }
        self.backend.rename(self.room, &from, &to, overwrite).await
    }

    /// Begins a file. Nothing is seen of it before [`Upload::commit`].
    pub async fn open_write(&self, path: &str, overwrite: bool) -> Result<Upload, BlobError> {
        let sink = self.backend.open_write(self.room, &FilePath::parse_file(path)?, overwrite).await?;
        Ok(Upload { sink })
    }

    /// Writes a small file at once.
    pub async fn write(&self, path: &str, data: Bytes, overwrite: bool) -> Result<FileInfo, BlobError> {
        let mut upload = self.open_write(path, overwrite).await?;
        upload.write(data).await?;
        upload.commit().await
    }

    /// Opens a file; `range` in bytes, `None` for all of it. A replacement meanwhile does not change what is read.
    pub async fn open_read(&self, path: &str, range: Option<Range<u64>>) -> Result<Download, BlobError> {
        self.backend.open_read(self.room, &FilePath::parse_file(path)?, range).await
    }

    /// Deletes all files of the room.
    pub async fn delete_all(&self) -> Result<(), BlobError> {
        self.backend.delete_room(self.room).await
    }
}

/// A file that is being written. Dropped without [`Upload::commit`] it leaves nothing.
pub struct Upload {
    sink: Box<dyn UploadSink>,
}

impl Upload {
    pub async fn write(&mut self, data: Bytes) -> Result<(), BlobError> {
        self.sink.write(data).await
    }

    /// Makes the file appear, whole and durable.
    pub async fn commit(self) -> Result<FileInfo, BlobError> {
        self.sink.commit().await
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

/// A file that is being read.
pub struct Download {
    info: FileInfo,
    /// Bytes that are still to come.
    left: u64,
    source: Box<dyn DownloadSource>,
}

impl Download {
    /// Of the whole file, also where a range is read.
    #[must_use]
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// All that is still to come, in blocks.
    pub fn blocks(self) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + 'static {
        stream::try_unfold(self, |mut own| async move {
            let block = own.read(BLOCK_BYTES).await?;
            Ok((!block.is_empty()).then_some((block, own)))
        })
    }

    /// The next bytes, at most `max` (and [`READ_BYTES_MAX`]); empty when all were read.
    pub async fn read(&mut self, max: usize) -> Result<Bytes, BlobError> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let max = max.clamp(1, READ_BYTES_MAX).min(left);
        if max == 0 {
            return Ok(Bytes::new());
        }
        let data = self.source.read(max).await?;
        if data.is_empty() {
            return Err(BlobError::Io {
                action: "read",
                path: self.info.name.clone(),
                detail: format!("the file ended {} bytes too early", self.left),
            });
        }
        self.left = self.left.saturating_sub(data.len() as u64);
        Ok(data)
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("info", &self.info).field("left", &self.left).finish_non_exhaustive()
    }
}

/// Cuts a wanted range to the file.
fn cut(range: Option<Range<u64>>, size: u64) -> Range<u64> {
    let range = range.unwrap_or(0..size);
    let start = range.start.min(size);
    start..range.end.clamp(start, size)
}

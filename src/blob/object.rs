//! Files in object storage: keys `rooms/<project>/<room>/files/<path>`; folders are what keys have in common.
//!
//! Parts of unfinished uploads are held by the storage itself and seen by nobody; set its lifecycle rule for
//! incomplete multipart uploads. A folder is moved and deleted object by object.

use super::{
    Backend, BlobError, Download, DownloadSource, FileInfo, FilePath, HIDDEN_DIRECTORY_MARK, LIST_MAX,
    UPLOAD_PREFIX, UploadSink, cut,
};
use crate::id::RoomId;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as Key;
use object_store::{
    Error as StoreError, GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutOptions, PutPayload,
};
use std::ops::Range;
use std::sync::Arc;

/// Size of a part; what is smaller goes in one request.
const PART_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    pub(super) fn from_url(url: &url::Url, options: Vec<(String, String)>) -> Result<Self, BlobError> {
        let config = |error: StoreError| BlobError::Config { url: shown(url), detail: error.to_string() };
        let (store, prefix) = object_store::parse_url_opts(url, options).map_err(config)?;
        Ok(Self::new(Arc::new(object_store::prefix::PrefixStore::new(store, prefix))))
    }

    fn key(room: RoomId, path: &FilePath) -> Result<Key, BlobError> {
        let text = format!("rooms/{}/{}/files/{path}", room.project(), room.uuid());
        Key::parse(text.trim_end_matches('/'))
            .map_err(|_| BlobError::invalid(path.as_str(), "object storage cannot hold this name"))
    }

    /// What keeps a folder that holds nothing else.
    fn mark(room: RoomId, path: &FilePath) -> Result<Key, BlobError> {
        Ok(Self::key(room, path)?.join(HIDDEN_DIRECTORY_MARK))
    }

    /// Whether the folder holds nothing but its mark.
    async fn is_bare(&self, key: &Key, mark: &Key, path: &FilePath) -> Result<bool, BlobError> {
        let first: Vec<_> =
            self.below(key).take(2).try_collect().await.map_err(|e| failed("look at", path, &e))?;
        Ok(first.iter().all(|meta| meta.location == *mark))
    }

    async fn head(&self, key: &Key, path: &FilePath) -> Result<Option<ObjectMeta>, BlobError> {
        match self.store.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("look at", path, &error)),
        }
    }

    /// Keys below a folder.
    fn below(&self, key: &Key) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        self.store.list(Some(key))
    }

    async fn is_folder(&self, key: &Key, path: &FilePath) -> Result<bool, BlobError> {
        let first = self.below(key).next().await.transpose();
        Ok(first.map_err(|error| failed("look at", path, &error))?.is_some())
    }

    /// A file may not lie below a file, nor take the name of a folder.
    async fn check_target(&self, room: RoomId, path: &FilePath, overwrite: bool) -> Result<(), BlobError> {
        for ancestor in path.ancestors() {
            let ancestor = FilePath::parse(ancestor)?;
            if self.head(&Self::key(room, &ancestor)?, &ancestor).await?.is_some() {
                return Err(BlobError::invalid(path.as_str(), "a part of it is a file, not a folder"));
            }
        }
        let key = Self::key(room, path)?;
        let taken =
            (!overwrite && self.head(&key, path).await?.is_some()) || self.is_folder(&key, path).await?;
        if taken { Err(BlobError::AlreadyExists { path: path.to_string() }) } else { Ok(()) }
    }
}

/// The address without user name, password or query.
fn shown(url: &url::Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or(""), url.path())
}

fn failed(action: &'static str, path: &FilePath, error: &StoreError) -> BlobError {
    let path = path.to_string();
    match error {
        StoreError::NotFound { .. } => BlobError::NotFound { path },
        StoreError::AlreadyExists { .. } => BlobError::AlreadyExists { path },
        other => BlobError::Io { action, path, detail: other.to_string() },
    }
}

fn info(meta: &ObjectMeta) -> FileInfo {
    FileInfo {
        name: meta.location.filename().unwrap_or("").to_owned(),
        is_folder: false,
        size: Some(meta.size),
        created_at: None,
        updated_at: Some(meta.last_modified),
    }
}

fn folder(name: &str) -> FileInfo {
    FileInfo { name: name.to_owned(), is_folder: true, size: None, created_at: None, updated_at: None }
}

#[async_trait]
impl Backend for Objects {
    async fn stat(&self, room: RoomId, path: &FilePath) -> Result<Option<FileInfo>, BlobError> {
        let key = Self::key(room, path)?;
        if path.is_root() {
            return Ok(Some(folder("")));
        }
        if let Some(meta) = self.head(&key, path).await? {
            return Ok(Some(info(&meta)));
        }
        Ok(self.is_folder(&key, path).await?.then(|| folder(path.name())))
    }

    async fn list(&self, room: RoomId, path: &FilePath) -> Result<Vec<FileInfo>, BlobError> {
        let key = Self::key(room, path)?;
        let found = self.store.list_with_delimiter(Some(&key)).await;
        let found = found.map_err(|error| failed("list", path, &error))?;
        if found.objects.len() + found.common_prefixes.len() > LIST_MAX {
            return Err(BlobError::TooMany { path: path.to_string(), limit: LIST_MAX });
        }
        let folders = found.common_prefixes.iter().filter_map(|prefix| prefix.filename()).map(folder);
        let mut files: Vec<FileInfo> = found.objects.iter().map(info).chain(folders).collect();
        if files.is_empty() && !path.is_root() {
            return Err(match self.head(&key, path).await? {
                Some(_) => BlobError::invalid(path.as_str(), "it is a file, not a folder"),
                None => BlobError::NotFound { path: path.to_string() },
            });
        }
        files.retain(|file| !file.name.starts_with(UPLOAD_PREFIX) && file.name != HIDDEN_DIRECTORY_MARK);
        Ok(files)
    }

    async fn delete(&self, room: RoomId, path: &FilePath, recursive: bool) -> Result<(), BlobError> {
        let key = Self::key(room, path)?;
        let delete_error = |error: StoreError| failed("delete", path, &error);
        if self.head(&key, path).await?.is_some() {
            return self.store.delete(&key).await.map_err(delete_error);
        }
        if !self.is_folder(&key, path).await? {
            return Err(BlobError::NotFound { path: path.to_string() });
        }
        if !recursive && !self.is_bare(&key, &Self::mark(room, path)?, path).await? {
            return Err(BlobError::RecursiveRequired { path: path.to_string() });
        }
        delete_below(&self.store, self.below(&key)).await.map_err(delete_error)
    }

    async fn rename(
        &self,
        room: RoomId,
        from: &FilePath,
        to: &FilePath,
        overwrite: bool,
    ) -> Result<(), BlobError> {
        let (source, target) = (Self::key(room, from)?, Self::key(room, to)?);
        let is_file = self.head(&source, from).await?.is_some();
        if !is_file && !self.is_folder(&source, from).await? {
            return Err(BlobError::NotFound { path: from.to_string() });
        }
        self.check_target(room, to, overwrite && is_file).await?;
        let move_error = |error: StoreError| failed("move", from, &error);
        if is_file {
            return self.store.rename(&source, &target).await.map_err(move_error);
        }
        let mut below = self.below(&source);
        while let Some(meta) = below.try_next().await.map_err(move_error)? {
            let rest = meta.location.as_ref().strip_prefix(source.as_ref()).unwrap_or("");
            let moved = Key::parse(format!("{target}{rest}")).map_err(|error| move_error(error.into()))?;
            self.store.rename(&meta.location, &moved).await.map_err(move_error)?;
        }
        Ok(())
    }

    async fn open_write(
        &self,
        room: RoomId,
        path: &FilePath,
        overwrite: bool,
    ) -> Result<Box<dyn UploadSink>, BlobError> {
        self.check_target(room, path, overwrite).await?;
        let (store, key) = (Arc::clone(&self.store), Self::key(room, path)?);
        let buffer = BytesMut::new();
        Ok(Box::new(ObjectUpload { store, key, path: path.clone(), overwrite, buffer, parts: None }))
    }

    async fn open_read(
        &self,
        room: RoomId,
        path: &FilePath,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError> {
        let key = Self::key(room, path)?;
        let Some(meta) = self.head(&key, path).await? else {
            return Err(if self.is_folder(&key, path).await? {
                BlobError::invalid(path.as_str(), "it is a folder, not a file")
            } else {
                BlobError::NotFound { path: path.to_string() }
            });
        };
        let range = cut(range, meta.size);
        let left = range.end - range.start;
        let stream = if left == 0 {
            futures_util::stream::empty().boxed()
        } else {
            // The same bytes that `head` saw, or an error where the file was replaced in between.
            let options = GetOptions {
                range: Some(GetRange::Bounded(range)),
                if_match: meta.e_tag.clone(),
                ..Default::default()
            };
            let got =
                self.store.get_opts(&key, options).await.map_err(|error| failed("read", path, &error))?;
            got.into_stream()
        };
        let source = Box::new(ObjectDownload { stream, buffer: Bytes::new(), path: path.clone() });
        Ok(Download { info: info(&meta), left, source })
    }

    async fn make_folder(&self, room: RoomId, path: &FilePath) -> Result<(), BlobError> {
        self.check_target(room, path, false).await?;
        let mark = Self::mark(room, path)?;
        let put = self.store.put(&mark, PutPayload::new()).await;
        put.map(drop).map_err(|error| failed("make the folder", path, &error))
    }

    async fn delete_room(&self, room: RoomId) -> Result<(), BlobError> {
        let path = FilePath::parse("")?;
        let below = self.below(&Self::key(room, &path)?);
        delete_below(&self.store, below).await.map_err(|error| failed("delete", &path, &error))
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        Ok(0)
    }

    fn describe(&self) -> String {
        format!("object storage {}", self.store)
    }
}

async fn delete_below(
    store: &Arc<dyn ObjectStore>,
    below: BoxStream<'static, Result<ObjectMeta, StoreError>>,
) -> Result<(), StoreError> {
    let keys = below.map_ok(|meta| meta.location).boxed();
    store.delete_stream(keys).try_for_each(|_| std::future::ready(Ok(()))).await
}

struct ObjectUpload {
    store: Arc<dyn ObjectStore>,
    key: Key,
    path: FilePath,
    overwrite: bool,
    buffer: BytesMut,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl ObjectUpload {
    async fn send_part(&mut self, part: Bytes) -> Result<(), StoreError> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self.parts.insert(self.store.put_multipart(&self.key).await?),
        };
        parts.put_part(PutPayload::from_bytes(part)).await
    }

    async fn finish(&mut self) -> Result<ObjectMeta, StoreError> {
        let rest = self.buffer.split().freeze();
        if self.parts.is_none() {
            let mode = if self.overwrite { PutMode::Overwrite } else { PutMode::Create };
            let options = PutOptions { mode, ..PutOptions::default() };
            self.store.put_opts(&self.key, PutPayload::from_bytes(rest), options).await?;
        } else {
            if !rest.is_empty() {
                self.send_part(rest).await?;
            }
            if !self.overwrite && self.store.head(&self.key).await.is_ok() {
                let path = self.key.to_string();
                return Err(StoreError::AlreadyExists {
                    path,
                    source: "it came while this was written".into(),
                });
            }
            if let Some(parts) = &mut self.parts {
                parts.complete().await?;
            }
            self.parts = None;
        }
        self.store.head(&self.key).await
    }
}

#[async_trait]
impl UploadSink for ObjectUpload {
    async fn write(&mut self, data: Bytes) -> Result<(), BlobError> {
        self.buffer.extend_from_slice(&data);
        while self.buffer.len() >= PART_BYTES {
            let part = self.buffer.split_to(PART_BYTES).freeze();
            self.send_part(part).await.map_err(|error| failed("write", &self.path, &error))?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<FileInfo, BlobError> {
        let finished = self.finish().await;
        finished.map(|meta| info(&meta)).map_err(|error| failed("write", &self.path, &error))
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(parts.abort().await) });
        }
    }
}

struct ObjectDownload {
    stream: BoxStream<'static, Result<Bytes, StoreError>>,
    buffer: Bytes,
    path: FilePath,
}

#[async_trait]
impl DownloadSource for ObjectDownload {
    async fn read(&mut self, max: usize) -> Result<Bytes, BlobError> {
        let mut block = BytesMut::with_capacity(max);
        while block.len() < max {
            if self.buffer.is_empty() {
                match self.stream.try_next().await.map_err(|error| failed("read", &self.path, &error))? {
                    Some(data) => self.buffer = data,
                    None => break,
                }
                continue;
            }
            let want = (max - block.len()).min(self.buffer.len());
            block.extend_from_slice(&self.buffer.split_to(want));
        }
        Ok(block.freeze())
    }
}

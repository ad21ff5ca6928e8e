//! Files in a local directory: `<data>/rooms/<project>/<room>/files/`, unfinished uploads beside it in `uploads/`.

mod transfer;

use super::{
    Backend, BlobError, Download, FileInfo, FilePath, HIDDEN_DIRECTORY_MARK, LIST_MAX, UPLOAD_PREFIX,
    UploadSink, cut,
};
use crate::beneath::{self, Held};
use crate::clock::IdSource;
use crate::id::RoomId;
use crate::volume::Volume;
use async_trait::async_trait;
use rustix::fs::OFlags;
use std::fs;
use std::io::{self, ErrorKind, Seek as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transfer::{LocalDownload, LocalUpload, Temporary};

/// Tries to put a file into a folder that is being removed because it became empty.
const PLACE_TRIES: u32 = 8;

pub(super) struct Local {
    volume: Volume,
    ids: Arc<dyn IdSource>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("volume", &self.volume).finish_non_exhaustive()
    }
}

/// The directories of a room.
#[derive(Clone)]
struct Place {
    /// Of all rooms; the folders between it and `files` are new with the room's first file.
    top: PathBuf,
    files: PathBuf,
    uploads: PathBuf,
}

impl Local {
    pub(super) fn new(data_dir: PathBuf, ids: Arc<dyn IdSource>) -> Self {
        Self { volume: Volume::new(data_dir), ids }
    }

    fn place(&self, room: RoomId) -> Place {
        Place {
            top: self.volume.rooms().to_owned(),
            files: self.volume.folder(room, "files"),
            uploads: self.volume.folder(room, "uploads"),
        }
    }

    /// A name in the room's upload directory that nobody has.
    fn fresh(&self, place: &Place) -> PathBuf {
        place.uploads.join(format!("{UPLOAD_PREFIX}{}", self.ids.fresh()))
    }
}

impl Place {
    /// The path on disk, for what is done to names only; [`Place::hold`] gives the way to it.
    fn on_disk(&self, path: &FilePath) -> PathBuf {
        self.files.join(path.as_str())
    }

    /// The folder a path lies in, held open, and the way to the path through it. `None` when that folder is not there.
    fn hold(&self, path: &FilePath) -> Result<Option<(Held, PathBuf)>, BlobError> {
        if path.is_root() {
            return self.held(path, "").map(|held| held.map(|held| (held, self.files.clone())));
        }
        let held = self.held(path, parent(path))?;
        Ok(held.map(|held| {
            let way = held.join(path.name());
            (held, way)
        }))
    }

    fn held(&self, path: &FilePath, folder: &str) -> Result<Option<Held>, BlobError> {
        match beneath::hold(&self.files, folder) {
            Ok(held) => Ok(Some(held)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(refused("look at", path, &error)),
        }
    }

    /// What is at the path. A symbolic link is not looked through.
    fn look(&self, path: &FilePath) -> Result<Option<fs::Metadata>, BlobError> {
        let Some((_held, way)) = self.hold(path)? else { return Ok(None) };
        match fs::symlink_metadata(way) {
            Ok(there) if there.is_symlink() => Err(linked(path)),
            Ok(there) => Ok(Some(there)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(failed("look at", path, &error)),
        }
    }

    /// Removes the folders above `path` that became empty, up to the room's root.
    fn prune(&self, on_disk: &Path) {
        let mut folder = on_disk.parent();
        while let Some(path) = folder.filter(|path| *path != self.files && path.starts_with(&self.files)) {
            if fs::remove_dir(path).is_err() {
                return;
            }
            folder = path.parent();
        }
    }

    /// Makes the folders above a target and holds the last. A file among them is an invalid path.
    fn make_parents(&self, path: &FilePath, folder: &str) -> Result<Held, BlobError> {
        beneath::make(&self.files, folder).map_err(|error| match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                BlobError::invalid(path.as_str(), "a part of it is a file, not a folder")
            }
            _ => refused("make the folders of", path, &error),
        })
    }

    /// Puts a finished file or folder at its place, durably.
    fn put(&self, from: &Path, path: &FilePath, overwrite: bool) -> Result<(), BlobError> {
        let mut tries = 0;
        loop {
            let held = self.make_parents(path, parent(path))?;
            let way = held.join(path.name());
            if fs::symlink_metadata(&way).is_ok_and(|there| there.is_symlink()) {
                return Err(linked(path));
            }
            tries += 1;
            match put_once(from, &way, overwrite) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::NotFound && from.exists() && tries < PLACE_TRIES => {
                }
                Err(error) => return Err(put_failed(path, &error)),
            }
        }
        sync_up(&self.on_disk(path), &self.top).map_err(|error| failed("store", path, &error))
    }
}

/// The folder a path lies in.
fn parent(path: &FilePath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn linked(path: &FilePath) -> BlobError {
    BlobError::invalid(path.as_str(), "a symbolic link is in it")
}

/// As [`failed`], for what the resolution of a path refused.
fn refused(action: &'static str, path: &FilePath, error: &io::Error) -> BlobError {
    if beneath::is_link(error) { linked(path) } else { failed(action, path, error) }
}

fn put_failed(path: &FilePath, error: &io::Error) -> BlobError {
    match error.kind() {
        ErrorKind::AlreadyExists
        | ErrorKind::IsADirectory
        | ErrorKind::DirectoryNotEmpty
        | ErrorKind::NotADirectory => BlobError::AlreadyExists { path: path.to_string() },
        _ => failed("store", path, error),
    }
}

fn put_once(from: &Path, to: &Path, overwrite: bool) -> io::Result<()> {
    let folder = fs::symlink_metadata(from)?.is_dir();
    match fs::symlink_metadata(to) {
        Ok(there) if !overwrite || folder || there.is_dir() => return Err(ErrorKind::AlreadyExists.into()),
        _ => {}
    }
    if overwrite || folder {
        return fs::rename(from, to);
    }
    // A link never replaces what came meanwhile.
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

/// Makes new entries durable: every folder from the one that holds `on_disk` up to `root`.
fn sync_up(on_disk: &Path, root: &Path) -> io::Result<()> {
    for folder in on_disk.ancestors().skip(1).take_while(|path| path.starts_with(root)) {
        match fs::File::open(folder) {
            Ok(directory) => directory.sync_all()?,
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn failed(action: &'static str, path: &FilePath, error: &io::Error) -> BlobError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlobError::DiskFull { path: path.to_string() },
        ErrorKind::NotFound => BlobError::NotFound { path: path.to_string() },
        _ => BlobError::Io { action, path: path.to_string(), detail: error.to_string() },
    }
}

fn info(name: &str, metadata: &fs::Metadata) -> FileInfo {
    let is_folder = metadata.is_dir();
    FileInfo {
        name: name.to_owned(),
        is_folder,
        size: (!is_folder).then_some(metadata.len()),
        created_at: metadata.created().ok().map(Into::into),
        updated_at: metadata.modified().ok().map(Into::into),
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    path: &FilePath,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let ended = |error: tokio::task::JoinError| BlobError::Io {
        action,
        path: path.to_string(),
        detail: error.to_string(),
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(ended(error)))
}

#[async_trait]
impl Backend for Local {
    async fn stat(&self, room: RoomId, path: &FilePath) -> Result<Option<FileInfo>, BlobError> {
        let (place, own) = (self.place(room), path.clone());
        blocking("look at", path, move || match place.look(&own)? {
            Some(there) => Ok(Some(info(own.name(), &there))),
            None if own.is_root() => Ok(Some(empty_root())),
            None => Ok(None),
        })
        .await
    }

    async fn list(&self, room: RoomId, path: &FilePath) -> Result<Vec<FileInfo>, BlobError> {
        let (place, own) = (self.place(room), path.clone());
        blocking("list", path, move || list(&place, &own)).await
    }

    async fn delete(&self, room: RoomId, path: &FilePath, recursive: bool) -> Result<(), BlobError> {
        let (place, own) = (self.place(room), path.clone());
        let trash = self.fresh(&place);
        blocking("delete", path, move || delete(&place, &own, &trash, recursive)).await
    }

    async fn rename(
        &self,
        room: RoomId,
        from: &FilePath,
        to: &FilePath,
        overwrite: bool,
    ) -> Result<(), BlobError> {
        let (place, own_from, own_to) = (self.place(room), from.clone(), to.clone());
        blocking("move", from, move || {
            let missing = || BlobError::NotFound { path: own_from.to_string() };
            place.look(&own_from)?.ok_or_else(missing)?;
            let (_held, source) = place.hold(&own_from)?.ok_or_else(missing)?;
            place.put(&source, &own_to, overwrite)?;
            let on_disk = place.on_disk(&own_from);
            place.prune(&on_disk);
            sync_up(&on_disk, &place.files).map_err(|error| failed("move", &own_from, &error))
        })
        .await
    }

    async fn open_write(
        &self,
        room: RoomId,
        path: &FilePath,
        overwrite: bool,
    ) -> Result<Box<dyn UploadSink>, BlobError> {
        let (place, own) = (self.place(room), path.clone());
        let temporary = self.fresh(&place);
        blocking("write", path, move || {
            match place.look(&own)? {
                Some(there) if !overwrite || there.is_dir() => {
                    return Err(BlobError::AlreadyExists { path: own.to_string() });
                }
                _ => {}
            }
            fs::create_dir_all(&place.uploads).map_err(|error| failed("write", &own, &error))?;
            let options = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
            let file = options.map_err(|error| failed("write", &own, &error))?;
            let file = tokio::fs::File::from_std(file);
            Ok(Box::new(LocalUpload { file, temporary: Temporary(temporary), place, path: own, overwrite })
                as Box<_>)
        })
        .await
    }

    async fn open_read(
        &self,
        room: RoomId,
        path: &FilePath,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError> {
        let (place, own) = (self.place(room), path.clone());
        blocking("read", path, move || {
            // Without waiting for whoever writes to a named pipe.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let opened = beneath::open(&place.files, own.as_str(), flags).map_err(|error| {
                if gone(&error) {
                    BlobError::NotFound { path: own.to_string() }
                } else {
                    refused("read", &own, &error)
                }
            })?;
            let mut file = fs::File::from(opened);
            let metadata = file.metadata().map_err(|error| failed("read", &own, &error))?;
            if !metadata.is_file() {
                return Err(BlobError::invalid(own.as_str(), "it is a folder, not a file"));
            }
            let range = cut(range, metadata.len());
            file.seek(io::SeekFrom::Start(range.start)).map_err(|error| failed("read", &own, &error))?;
            let info = info(own.name(), &metadata);
            let source = Box::new(LocalDownload { file: tokio::fs::File::from_std(file), path: own });
            Ok(Download { info, left: range.end - range.start, source })
        })
        .await
    }

    async fn make_folder(&self, room: RoomId, path: &FilePath) -> Result<(), BlobError> {
        let (place, own) = (self.place(room), path.clone());
        blocking("make the folder", path, move || {
            let held = place.make_parents(&own, own.as_str())?;
            let made =
                fs::File::create_new(held.join(HIDDEN_DIRECTORY_MARK)).and_then(|file| file.sync_all());
            made.and_then(|()| sync_up(&place.on_disk(&own).join(HIDDEN_DIRECTORY_MARK), &place.top))
                .map_err(|error| failed("make the folder", &own, &error))
        })
        .await
    }

    async fn delete_room(&self, room: RoomId) -> Result<(), BlobError> {
        let path = FilePath::parse("")?;
        let place = self.place(room);
        let own = path.clone();
        blocking("delete", &path, move || {
            let base = place.files.parent().unwrap_or(&place.files);
            match fs::remove_dir_all(base) {
                Err(error) if !gone(&error) => Err(failed("delete", &own, &error)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        let rooms = self.volume.rooms().to_owned();
        let path = FilePath::parse("")?;
        blocking("sweep", &path, move || Ok(sweep(&rooms))).await
    }

    fn describe(&self) -> String {
        format!("local directory {}", self.volume.rooms().display())
    }
}

fn empty_root() -> FileInfo {
    FileInfo { name: String::new(), is_folder: true, size: None, created_at: None, updated_at: None }
}

fn list(place: &Place, path: &FilePath) -> Result<Vec<FileInfo>, BlobError> {
    // A file is no folder, and so no folder is there.
    let Some(held) = place.held(path, path.as_str())? else {
        return match place.look(path)? {
            Some(there) if there.is_file() => {
                Err(BlobError::invalid(path.as_str(), "it is a file, not a folder"))
            }
            _ if path.is_root() => Ok(Vec::new()),
            _ => Err(BlobError::NotFound { path: path.to_string() }),
        };
    };
    let entries = fs::read_dir(held.path()).map_err(|error| failed("list", path, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", path, &error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // What went away meanwhile, and links, are not listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let hidden =
            name.starts_with(UPLOAD_PREFIX) || name == HIDDEN_DIRECTORY_MARK || metadata.is_symlink();
        if hidden {
            continue;
        }
        if files.len() == LIST_MAX {
            return Err(BlobError::TooMany { path: path.to_string(), limit: LIST_MAX });
        }
        files.push(info(&name, &metadata));
    }
    Ok(files)
}

fn delete(place: &Place, path: &FilePath, trash: &Path, recursive: bool) -> Result<(), BlobError> {
    let missing = || BlobError::NotFound { path: path.to_string() };
    let metadata = place.look(path)?.ok_or_else(missing)?;
    let (_held, way) = place.hold(path)?.ok_or_else(missing)?;
    let on_disk = place.on_disk(path);
    let removed = match (metadata.is_dir(), recursive) {
        (false, _) => fs::remove_file(&way),
        (true, false) => remove_bare(&way),
        // Out of sight at once, then removed piece by piece.
        (true, true) => fs::create_dir_all(&place.uploads).and_then(|()| fs::rename(&way, trash)),
    };
    removed.map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty => BlobError::RecursiveRequired { path: path.to_string() },
        _ => failed("delete", path, &error),
    })?;
    place.prune(&on_disk);
    sync_up(&on_disk, &place.files).map_err(|error| failed("delete", path, &error))?;
    if metadata.is_dir() && recursive {
        fs::remove_dir_all(trash).map_err(|error| failed("delete", path, &error))?;
    }
    Ok(())
}

/// Removes a folder that holds nothing, or nothing but its mark.
fn remove_bare(folder: &Path) -> io::Result<()> {
    let mark = folder.join(HIDDEN_DIRECTORY_MARK);
    if mark.exists() && fs::read_dir(folder)?.take(2).count() == 1 {
        fs::remove_file(&mark)?;
    }
    fs::remove_dir(folder)
}

/// Empties all upload directories. Number of entries removed.
fn sweep(rooms: &Path) -> u64 {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let uploads = entries(rooms).flat_map(|project| entries(&project).collect::<Vec<_>>());
    let mut removed = 0;
    for left in uploads.flat_map(|room| entries(&room.join("uploads")).collect::<Vec<_>>()) {
        let gone = if left.is_dir() { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
        removed += u64::from(gone.is_ok());
    }
    removed
}

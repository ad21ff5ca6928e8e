//! The files that an agent's tools work on: folders of the room and of this machine, each at a place of its own. Without
//! any, the room's files as they are.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, patch, spec};
use crate::agent::config::{MountConfig, MountPlace};
use crate::agent::path::room_path;
use crate::client::room::RoomClient;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file that is read or patched, bytes.
pub(super) const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Entries of one folder of this machine that are listed.
const ENTRIES_MAX: usize = 10_000;
/// Permissions of a new file of this machine, less the umask.
const FILE_MODE: u32 = 0o666;
/// The room's code for a file that is there already.
const EXISTS: u16 = 3005;

/// Where the tools' files are.
#[derive(Clone, Debug)]
pub struct Files {
    client: RoomClient,
    /// The longest path first.
    mounts: Arc<Vec<MountConfig>>,
}

/// One entry of a folder.
pub(super) struct Entry {
    pub name: String,
    pub is_folder: bool,
    pub size: Option<u64>,
}

/// A path where it is.
enum Real {
    Room(String),
    Local { root: PathBuf, rest: String },
}

impl Files {
    #[must_use]
    pub fn new(client: &RoomClient, mounts: &[MountConfig]) -> Self {
        let mut mounts = mounts.to_vec();
        if mounts.is_empty() {
            let place = MountPlace::Room(String::new());
            mounts.push(MountConfig { path: String::new(), place, read_only: false });
        }
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
        Self { client: client.clone(), mounts: Arc::new(mounts) }
    }

    /// Where a path is; the top too, where `top`.
    fn real(&self, path: &str, write: bool, top: bool) -> Result<Real, ToolError> {
        let path = match path.trim_matches('/') {
            "" | "." if top => String::new(),
            _ => room_path(path).ok_or_else(|| {
                format!("`{path}` is no path in the room; want for example reports/today.md")
            })?,
        };
        let below = |mount: &&MountConfig| {
            let rest = path.strip_prefix(mount.path.as_str());
            mount.path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let Some(mount) = self.mounts.iter().find(below) else {
            let all: Vec<_> = self.mounts.iter().map(|mount| format!("/{}", mount.path)).collect();
            return Err(format!("nothing is at `{path}`; the folders are {}", all.join(", ")).into());
        };
        if write && mount.read_only {
            return Err(format!("`{path}` can only be read").into());
        }
        let rest = path.get(mount.path.len()..).unwrap_or_default().trim_start_matches('/');
        Ok(match &mount.place {
            MountPlace::Room(folder) if folder.is_empty() => Real::Room(rest.to_owned()),
            MountPlace::Room(folder) => {
                Real::Room(format!("{folder}/{rest}").trim_end_matches('/').to_owned())
            }
            MountPlace::Local(root) => Real::Local { root: root.clone(), rest: rest.to_owned() },
        })
    }

    /// A file's content and media type.
    pub(super) async fn read(&self, path: &str) -> Result<(Bytes, String), ToolError> {
        match self.real(path, false, false)? {
            Real::Room(path) => Ok(self.client.storage().read(&path, FILE_BYTES_MAX).await?),
            Real::Local { root, rest } => {
                let mime_type = mime_guess::from_path(&rest).first_or_octet_stream().to_string();
                let data = blocking(move || read_local(&root, &rest)).await?;
                Ok((data.into(), mime_type))
            }
        }
    }

    /// A file's text.
    pub(super) async fn text(&self, path: &str) -> Result<String, ToolError> {
        let (data, mime_type) = self.read(path).await?;
        let size = data.len();
        String::from_utf8(data.into()).map_err(|_| {
            format!("{path} is a binary file ({mime_type}, {size} bytes) and cannot be shown").into()
        })
    }

    pub(super) async fn write(&self, path: &str, data: Vec<u8>, overwrite: bool) -> Result<(), ToolError> {
        let there = || format!("{path} exists; pass overwrite: true to replace it");
        match self.real(path, true, false)? {
            Real::Room(real) => match self.client.storage().write(&real, overwrite, &data).await {
                Err(error) if error.code() == Some(EXISTS) => Err(there().into()),
                done => Ok(done?),
            },
            Real::Local { root, rest } => blocking(move || write_local(&root, &rest, &data, overwrite))
                .await
                .map_err(|error| if error == "exists" { there().into() } else { error.into() }),
        }
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), ToolError> {
        match self.real(path, true, false)? {
            Real::Room(path) => Ok(self.client.storage().delete(&path, false).await?),
            Real::Local { root, rest } => {
                let remove = move || {
                    let path = within(&root, &rest)?;
                    std::fs::remove_file(&path).map_err(|error| format!("{rest}: {error}"))
                };
                Ok(blocking(remove).await?)
            }
        }
    }

    pub(super) async fn list(&self, path: &str) -> Result<Vec<Entry>, ToolError> {
        let inside = path.trim_matches('/').trim_matches('.');
        let mut all = match self.real(path, false, true) {
            Ok(Real::Room(path)) => {
                let entries = self.client.storage().list(&path).await?;
                let entry = |e: crate::client::room::FileEntry| Entry {
                    name: e.name,
                    is_folder: e.is_folder,
                    size: e.size,
                };
                entries.into_iter().map(entry).collect()
            }
            Ok(Real::Local { root, rest }) => blocking(move || list_local(&root, &rest)).await?,
            Err(_) if inside.is_empty() => Vec::new(),
            Err(error) => return Err(error),
        };
        // Folders that are put at a place below this one.
        for mount in self.mounts.iter().filter(|mount| !mount.path.is_empty()) {
            let below = match inside {
                "" => Some(mount.path.as_str()),
                inside => mount.path.strip_prefix(inside).and_then(|rest| rest.strip_prefix('/')),
            };
            let first = below.and_then(|rest| rest.split('/').next()).filter(|name| !name.is_empty());
            if let Some(name) = first.filter(|name| !all.iter().any(|entry| entry.name == *name)) {
                all.push(Entry { name: name.to_owned(), is_folder: true, size: None });
            }
        }
        Ok(all)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err("the work on the file was cut off".into()))
}

/// A path below a folder of this machine. Links that lead out of the folder are refused.
fn within(root: &Path, rest: &str) -> Result<PathBuf, String> {
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    let path = root.join(rest);
    let mut there = path.as_path();
    while there.symlink_metadata().is_err() {
        there = there.parent().unwrap_or(&root);
    }
    let real = there.canonicalize().map_err(|error| format!("{rest}: {error}"))?;
    if real.starts_with(&root) { Ok(path) } else { Err(format!("{rest} leads out of its folder")) }
}

fn read_local(root: &Path, rest: &str) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let path = within(root, rest)?;
    let failed = |error: std::io::Error| format!("{rest}: {error}");
    let about = path.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(format!("{rest} is no file"));
    }
    let mut data = Vec::new();
    let limit = FILE_BYTES_MAX as u64;
    let read = std::fs::File::open(&path).and_then(|file| file.take(limit + 1).read_to_end(&mut data));
    read.map_err(failed)?;
    if data.len() > FILE_BYTES_MAX {
        Err(format!("{rest} has more than {FILE_BYTES_MAX} bytes"))
    } else {
        Ok(data)
    }
}

fn write_local(root: &Path, rest: &str, data: &[u8], overwrite: bool) -> Result<(), String> {
    use std::io::Write;
    let path = within(root, rest)?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => "exists".to_owned(),
        _ => format!("{rest}: {error}"),
    };
    // A link within the folder stays one.
    let path = path.canonicalize().unwrap_or(path);
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let about = path.metadata().ok();
    if about.as_ref().is_some_and(|about| !about.is_file()) {
        return Err(format!("{rest} is no file"));
    }
    // Whoever reads it, or is there after a crash, finds the old file or the new one.
    let permissions = Permissions::from_mode(FILE_MODE);
    let new = tempfile::Builder::new().prefix(".").permissions(permissions).tempfile_in(folder);
    let mut new = new.map_err(failed)?;
    if let Some(about) = about {
        new.as_file().set_permissions(about.permissions()).map_err(failed)?;
    }
    new.write_all(data).and_then(|()| new.as_file().sync_all()).map_err(failed)?;
    let put = if overwrite { new.persist(&path) } else { new.persist_noclobber(&path) };
    put.map(drop).map_err(|error| failed(error.error))
}

fn list_local(root: &Path, rest: &str) -> Result<Vec<Entry>, String> {
    let path = within(root, rest)?;
    let entries = std::fs::read_dir(&path).map_err(|error| format!("{rest}: {error}"))?;
    let mut all: Vec<Entry> = entries
        .flatten()
        .take(ENTRIES_MAX)
        .map(|entry| {
            let about = entry.metadata().ok();
            let is_folder = about.as_ref().is_some_and(std::fs::Metadata::is_dir);
            let size = about.filter(|_| !is_folder).map(|about| about.len());
            Entry { name: entry.file_name().to_string_lossy().into_owned(), is_folder, size }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The tool of `--apply-patch`.
pub fn apply_patch(files: Files) -> Arc<dyn Tool> {
    let about = "Creates, changes or deletes one text file by a patch. Lines of `diff` begin with a space (stays), - (goes) or + \
                 (comes); `@@ LINE` before a block says after which line it is; in a new file every line begins with +.";
    let properties = json!({
        "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
        "path": {"type": "string", "description": "path of the file"},
        "diff": {"type": ["string", "null"], "description": "the patch; null to delete"},
    });
    Arc::new(ApplyPatch { spec: spec("apply_patch", "apply_patch", about, properties), files })
}

struct ApplyPatch {
    spec: ToolSpec,
    files: Files,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Operation {
    CreateFile { path: String, diff: String },
    UpdateFile { path: String, diff: String },
    DeleteFile { path: String },
}

#[async_trait::async_trait]
impl Tool for ApplyPatch {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        match arguments(given)? {
            Operation::CreateFile { path, diff } => {
                let text = patch::create(&diff)?;
                let size = text.len();
                match self.files.write(&path, text.into_bytes(), false).await {
                    Err(ToolError::Told(text)) if text.contains("overwrite: true") => {
                        Err(format!("{path} exists; update it").into())
                    }
                    done => done.map(|()| format!("Created file: {path} ({size} bytes)").into()),
                }
            }
            Operation::UpdateFile { path, diff } => {
                let text = patch::update(&self.files.text(&path).await?, &diff)?;
                let size = text.len();
                self.files.write(&path, text.into_bytes(), true).await?;
                Ok(format!("Updated file: {path} ({size} bytes)").into())
            }
            Operation::DeleteFile { path } => {
                self.files.delete(&path).await?;
                Ok(format!("Deleted file: {path}").into())
            }
        }
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;

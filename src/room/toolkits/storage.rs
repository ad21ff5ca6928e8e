//! `storage`: the room's files (room protocol §3.6). Transfers are pulled: the receiver asks for each block.

mod transfer;

use crate::blob::{BlobError, Blobs, FileInfo, FilePath, RoomFiles};
use crate::room::guard;
use crate::room::session::LiveSession;
use crate::room::toolkit::{Call, Takes, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::room::world::FileLinks;
use crate::wire::{Content, pack};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// The toolkit.
pub struct Storage {
    blobs: Blobs,
    links: Option<Arc<dyn FileLinks>>,
    info: ToolkitInfo,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("blobs", &self.blobs).finish_non_exhaustive()
    }
}

/// A change of a file, for everybody in the room who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEvent {
    Updated { path: String, by: String },
    Deleted { path: String, by: String },
    Moved { from: String, to: String, by: String },
}

#[derive(Deserialize, JsonSchema)]
struct At {
    path: String,
}

#[derive(Deserialize, JsonSchema)]
struct Delete {
    path: String,
    /// A folder with all below it.
    #[serde(default)]
    recursive: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
struct Move {
    source_path: String,
    destination_path: String,
    #[serde(default)]
    overwrite: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
struct DownloadUrl {
    path: String,
    /// The browser saves the file instead of showing it.
    #[serde(default)]
    download: Option<bool>,
}

impl Storage {
    /// `links` makes the URLs of `download_url`, which is refused without it.
    pub fn new(blobs: Blobs, links: Option<Arc<dyn FileLinks>>) -> Self {
        let json = ["json"];
        let tools = vec![
            ToolInfo::unary::<At>("exists", &json, "Tells whether a file or folder is there."),
            ToolInfo::unary::<At>("stat", &json, "Tells what is known of a file or folder."),
            ToolInfo::unary::<At>("list", &json, "Lists one level of a folder."),
            ToolInfo::unary::<Delete>("delete", &["empty"], "Deletes a file, or a folder with all below it."),
            ToolInfo::unary::<Move>("move", &["empty"], "Moves or renames a file or folder."),
            ToolInfo::unary::<DownloadUrl>(
                "download_url",
                &json,
                "Makes a URL that reads one file for a while.",
            ),
            ToolInfo::stream("upload", Takes::Stream, "Writes a file; it appears whole when its data ended."),
            ToolInfo::stream("download", Takes::Stream, "Reads a file block by block."),
        ];
        let info =
            ToolkitInfo { name: "storage", title: "Storage", description: "The files of this room.", tools };
        Self { blobs, links, info }
    }

    async fn list(&self, call: &Call, files: &RoomFiles) -> Result<Content, ToolError> {
        let at: At = call.args()?;
        let folder = FilePath::parse(&at.path)?;
        // As where folders are but the beginnings of names: the public agent lists `.schemas` before it is there.
        let entries = match files.list(&at.path).await {
            Err(BlobError::NotFound { .. }) => Vec::new(),
            listed => listed?,
        };
        let visible = entries.iter().filter(|entry| {
            let path = if folder.is_root() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
            guard::storage::can_list(&call.caller.api, &path)
        });
        let files: Vec<Value> = visible.map(entry).collect();
        Ok(Content::Json(json!({"files": files})))
    }

    async fn stat(&self, call: &Call, files: &RoomFiles) -> Result<Content, ToolError> {
        let at: At = call.args()?;
        let found = match files.stat(&at.path).await? {
            Some(info) => {
                let mut found = entry(&info);
                found["exists"] = true.into();
                found
            }
            None => json!({
                "exists": false, "name": null, "is_folder": null, "size": null, "created_at": null, "updated_at": null,
            }),
        };
        Ok(Content::Json(found))
    }

    async fn delete(&self, call: &Call, files: &RoomFiles) -> Result<Content, ToolError> {
        let args: Delete = call.args()?;
        files.delete(&args.path, args.recursive.unwrap_or(false)).await?;
        let path = FilePath::parse(&args.path)?.to_string();
        FileEvent::Deleted { path, by: call.caller.id.clone() }.send(&call.session);
        Ok(Content::Empty)
    }

    async fn rename(&self, call: &Call, files: &RoomFiles) -> Result<Content, ToolError> {
        let args: Move = call.args()?;
        files.rename(&args.source_path, &args.destination_path, args.overwrite.unwrap_or(false)).await?;
        let from = FilePath::parse(&args.source_path)?.to_string();
        let to = FilePath::parse(&args.destination_path)?.to_string();
        FileEvent::Moved { from, to, by: call.caller.id.clone() }.send(&call.session);
        Ok(Content::Empty)
    }

    async fn download_url(&self, call: &Call, files: &RoomFiles) -> Result<Content, ToolError> {
        let args: DownloadUrl = call.args()?;
        let Some(links) = &self.links else {
            return Err(ToolError::missing_dependency(
                "this server makes no download URLs; use storage.download",
            ));
        };
        let path = FilePath::parse(&args.path)?;
        if files.stat(path.as_str()).await?.is_none_or(|info| info.is_folder) {
            return Err(BlobError::NotFound { path: path.to_string() }.into());
        }
        let url = links.url(&call.session.room, path.as_str(), args.download.unwrap_or(false));
        url.map(|url| Content::Json(json!({"url": url}))).map_err(ToolError::failed)
    }
}

#[async_trait]
impl Toolkit for Storage {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        let files = self.blobs.room(call.session.room.id);
        match call.tool {
            "exists" => {
                let at: At = call.args()?;
                Ok(Content::Json(json!({"exists": files.exists(&at.path).await?})))
            }
            "stat" => self.stat(call, &files).await,
            "list" => self.list(call, &files).await,
            "delete" => self.delete(call, &files).await,
            "move" => self.rename(call, &files).await,
            "download_url" => self.download_url(call, &files).await,
            "upload" => transfer::upload(call, &files).await,
            _ => transfer::download(call, &files).await,
        }
    }
}

fn entry(info: &FileInfo) -> Value {
    json!({
        "name": info.name,
        "is_folder": info.is_folder,
        "size": info.size,
        "created_at": info.created_at.map(|at| at.to_rfc3339()),
        "updated_at": info.updated_at.map(|at| at.to_rfc3339()),
    })
}

impl FileEvent {
    /// Pushes the event to the participants that may read the file. The clients accept exactly these keys.
    pub fn send(&self, session: &LiveSession) {
        let (kind, header, paths) = match self {
            Self::Updated { path, by } => {
                ("storage.file.updated", json!({"path": path, "participant_id": by}), [path, path])
            }
            Self::Deleted { path, by } => {
                ("storage.file.deleted", json!({"path": path, "participant_id": by}), [path, path])
            }
            Self::Moved { from, to, by } => (
                "storage.file.moved",
                json!({"source_path": from, "destination_path": to, "participant_id": by}),
                [from, to],
            ),
        };
        let payload = pack(&header, b"");
        session.push_all(kind, &payload, |peer| {
            paths.iter().any(|path| guard::storage::can_read(&peer.api, path))
        });
    }
}

impl From<BlobError> for ToolError {
    fn from(error: BlobError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

//! Toolkit `image-generation` (`--image-generation MODEL`): images are made by the models' provider and kept in the room's
//! table `images`, where the official agent keeps them.

mod kept;
mod made;

use super::{CallContext, Files, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::config::EndpointConfig;
use crate::agent::history::Part;
use crate::client::room::RoomClient;
use crate::clock::{Clock, IdSource};
use bytes::Bytes;
pub(super) use kept::Kept;
use made::Maker;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const KIT: &str = "image-generation";
/// Images that one call may build upon.
const REFERENCES_MAX: usize = 16;

/// What the tools share.
pub struct Images {
    kept: Kept,
    maker: Maker,
    files: Files,
    agent_name: String,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").field("maker", &self.maker).finish_non_exhaustive()
    }
}

impl Images {
    pub fn new(
        model: &str,
        endpoint: EndpointConfig,
        client: &RoomClient,
        files: Files,
        agent_name: &str,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>),
    ) -> Self {
        let kept = Kept::new(client.clone(), clock, ids);
        let maker = Maker::new(model, endpoint);
        Self { kept, maker, files, agent_name: agent_name.to_owned() }
    }

    pub fn tools(self: &Arc<Self>) -> Vec<Arc<dyn Tool>> {
        let text = |what: &str| json!({"type": "string", "description": what});
        let id = || json!({"id": text("id of a kept image")});
        let references = json!({"type": ["array", "null"], "items": {"type": "string"},
            "description": "ids of kept images to build upon; empty for a new image"});
        let all = [
            (
                Op::Make,
                "imagegen",
                "Makes an image, or changes kept ones, and keeps it.",
                json!({"prompt": text("what it shows"), "referenced_image_ids": references}),
            ),
            (Op::Read, "read_image", "Shows a kept image.", id()),
            (Op::Delete, "delete_image", "Deletes a kept image.", id()),
            (
                Op::Export,
                "export_image",
                "Writes a kept image into a file.",
                json!({"id": text("id of a kept image"), "destination_path": text("path of the file")}),
            ),
            (
                Op::Import,
                "import_image",
                "Keeps the image of a file.",
                json!({"source_path": text("path of the file")}),
            ),
        ];
        let tool = |(op, name, about, properties)| {
            let spec = spec(KIT, name, about, properties);
            Arc::new(ImageTool { op, spec, images: self.clone() }) as Arc<dyn Tool>
        };
        all.into_iter().map(tool).collect()
    }
}

#[derive(Clone, Copy)]
enum Op {
    Make,
    Read,
    Delete,
    Export,
    Import,
}

struct ImageTool {
    op: Op,
    spec: ToolSpec,
    images: Arc<Images>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Make {
    prompt: String,
    referenced_image_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    id: String,
    destination_path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    source_path: String,
}

#[async_trait::async_trait]
impl Tool for ImageTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let Images { kept, maker, files, agent_name } = self.images.as_ref();
        let answer = match self.op {
            Op::Make => {
                let Make { prompt, referenced_image_ids } = arguments(given)?;
                let mut references = Vec::new();
                for id in referenced_image_ids.unwrap_or_default().iter().take(REFERENCES_MAX) {
                    references.push(kept.read(id).await?);
                }
                let data = maker.make(&prompt, &references).await?;
                let mime_type = kind(&data)?;
                let id = kept.save(data, mime_type, agent_name, &[("prompt", prompt.as_str())]).await?;
                json!({"saved_image_id": id, "mime_type": mime_type})
            }
            Op::Read => {
                let Which { id } = arguments(given)?;
                let (data, mime_type) = kept.read(&id).await?;
                let name = format!("{id}{}", ending(&mime_type));
                let text = json!({"id": id, "mime_type": mime_type}).to_string();
                return Ok(ToolOutput { text, files: vec![Part::File { name, mime_type, data }] });
            }
            Op::Delete => {
                let Which { id } = arguments(given)?;
                kept.delete(&id).await?;
                json!({"deleted_image_id": id})
            }
            Op::Export => {
                let Export { id, destination_path } = arguments(given)?;
                let (data, mime_type) = kept.read(&id).await?;
                let path = with_ending(&destination_path, ending(&mime_type));
                files.write(&path, data.to_vec(), true).await?;
                json!({"exported_image_id": id, "destination_path": path, "mime_type": mime_type})
            }
            Op::Import => {
                let Import { source_path } = arguments(given)?;
                let (data, _) = files.read(&source_path).await?;
                let mime_type = kind(&data)?;
                let id =
                    kept.save(data, mime_type, agent_name, &[("source_path", source_path.as_str())]).await?;
                json!({"saved_image_id": id, "source_path": source_path, "mime_type": mime_type})
            }
        };
        Ok(answer.to_string().into())
    }
}

/// The media type of an image, by its first bytes.
fn kind(data: &Bytes) -> Result<&'static str, String> {
    match data.as_ref() {
        [0x89, b'P', b'N', b'G', ..] => Ok("image/png"),
        [0xff, 0xd8, 0xff, ..] => Ok("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Ok("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok("image/webp"),
        _ => Err("this is no PNG, JPEG, GIF or WebP image".into()),
    }
}

fn ending(mime_type: &str) -> &'static str {
    match mime_type {
        "image/jpeg" => ".jpg",
        "image/gif" => ".gif",
        "image/webp" => ".webp",
        _ => ".png",
    }
}

/// The path, with the ending of what the file will hold.
fn with_ending(path: &str, ending: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or((None, path), |(folder, name)| (Some(folder), name));
    let lower = name.to_lowercase();
    if lower.ends_with(ending) || (ending == ".jpg" && lower.ends_with(".jpeg")) {
        return path.to_owned();
    }
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    folder.map_or_else(|| format!("{stem}{ending}"), |folder| format!("{folder}/{stem}{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_first_bytes_and_files_end_as_they_are() {
        assert_eq!(kind(&Bytes::from_static(b"\x89PNG\r\n")), Ok("image/png"));
        assert_eq!(kind(&Bytes::from_static(b"\xff\xd8\xff\xe0")), Ok("image/jpeg"));
        assert!(kind(&Bytes::from_static(b"<svg>")).is_err());
        assert_eq!(with_ending("a/b.png", ".png"), "a/b.png");
        assert_eq!(with_ending("a/b.JPEG", ".jpg"), "a/b.JPEG");
        assert_eq!(with_ending("a/b.gif", ".png"), "a/b.png");
        assert_eq!(with_ending("b", ".png"), "b.png");
    }
}

//! `mounts`: the volumes of the room beside its storage (room protocol §3.14).

use crate::room::toolkit::{Call, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::wire::Content;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// The toolkit.
#[derive(Debug)]
pub struct Mounts {
    info: ToolkitInfo,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

impl Default for Mounts {
    fn default() -> Self {
        let description = "Lists the volumes mounted in this room.";
        Self {
            info: ToolkitInfo {
                name: "mounts",
                title: "Mounts",
                description: "The volumes of this room, beside its storage.",
                tools: vec![ToolInfo::unary::<Nothing>("list", &["json"], description)],
            },
        }
    }
}

#[async_trait]
impl Toolkit for Mounts {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    /// This server has no volumes of its own kind: a room's storage is the `storage` toolkit's, a container's
    /// mounts are the container's.
    async fn invoke(&self, _call: &mut Call) -> Result<Content, ToolError> {
        Ok(Content::Json(json!({"volumes": []})))
    }
}

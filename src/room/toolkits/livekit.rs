//! `livekit`: how to join the room's call on a LiveKit server that the operator runs (room protocol §3.14).

use crate::room::toolkit::{Call, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::room::world::Calls;
use crate::wire::Content;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::sync::Arc;

/// The toolkit.
pub struct LiveKit {
    calls: Option<Arc<dyn Calls>>,
    info: ToolkitInfo,
}

impl fmt::Debug for LiveKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveKit").field("configured", &self.calls.is_some()).finish_non_exhaustive()
    }
}

#[derive(Deserialize, JsonSchema)]
struct Connect {
    /// A smaller call beside the room's own.
    #[serde(default)]
    breakout_room: Option<String>,
}

impl LiveKit {
    /// `calls`: `None` where no LiveKit server is configured; every call then says how to.
    pub fn new(calls: Option<Arc<dyn Calls>>) -> Self {
        let description = "Tells where the room's call is and gives a token for it.";
        let info = ToolkitInfo {
            name: "livekit",
            title: "LiveKit",
            description: "Voice and video of this room.",
            tools: vec![ToolInfo::unary::<Connect>("connect", &["json"], description)],
        };
        Self { calls, info }
    }
}

#[async_trait]
impl Toolkit for LiveKit {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        let args: Connect = call.args()?;
        let Some(calls) = &self.calls else {
            return Err(ToolError::missing_dependency(
                "this server has no LiveKit server for calls; start it with `meshagent up --livekit-url wss://…` and LIVEKIT_API_KEY and LIVEKIT_API_SECRET in its environment",
            ));
        };
        let access = calls
            .join(&call.session.room, &call.caller.name, args.breakout_room.as_deref())
            .map_err(ToolError::failed)?;
        Ok(Content::Json(json!({"url": access.url, "token": access.token})))
    }
}
